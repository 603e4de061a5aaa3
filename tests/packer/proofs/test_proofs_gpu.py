"""CUDA's version, its libraries and the driver; and for which cards the libraries hold code."""

from __future__ import annotations

from pathlib import Path

import pytest

from packer.proofs import cuda, gpu_code
from packer.proofs.elf import architectures, read_library, runs_on
from packer.proofs.subject import Finding, Subject
from packer.proofs.wheel_metadata import gather
from packer.wheels import images
from packer.wheels.images import Image
from packer.wheels.locks import read
from tests.wheelmaker import CARDS, fat_binary, lock, make_image, make_wheel, shared_library

PTX, SASS = 1, 2
RUNTIME = "nvidia/cuda_runtime/lib/libcudart.so.12"
TORCH = shared_library(["libc.so.6", "libcudart.so.12", "libcuda.so.1"], fat_binary((SASS, 70), (SASS, 90)))

NEWEST = shared_library(["libcudart.so.12"], fat_binary((SASS, 100)))


@pytest.fixture
def image(tmp_path: Path) -> Image:
    image = make_image(tmp_path, ["torch"], facts=CARDS)
    make_wheel(image.wheels, "torch", "2.10.0", files={"torch/lib/libtorch_cuda.so": TORCH},
               requires=["nvidia-cuda-runtime-cu12"])  # fmt: skip
    make_wheel(image.wheels, "nvidia-cuda-runtime-cu12", "12.8.90", files={RUNTIME: b""})
    return image


def bundle(image: Image) -> Subject:
    lock(image)
    memory = image.project.parent / "memory"
    return Subject(image, read(image.lock), gather(image.wheels, memory), [], [], memory)


def with_facts(image: Image, old: str, new: str) -> Image:
    image.path.write_text(image.path.read_text().replace(old, new))
    return images.load("tiny", image.path.parent)


def named(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(found.package, found.wants.partition(";")[0]) for found in findings]


def test_without_a_library_to_look_into_gpu_code_is_not_proved(image: Image) -> None:
    next(image.wheels.glob("torch-*")).unlink()
    [found] = gpu_code.prove(bundle(image))
    assert found.status == "not proved" and "none of bitsandbytes, torch, vllm" in found.wants


def test_a_sound_set_has_no_findings(image: Image) -> None:
    assert cuda.prove(bundle(image)) == gpu_code.prove(bundle(image)) == []


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("nvidia-cublas-cu13", "13.1"),
        ("nvidia-cuda-runtime", "13.0.48"),
        ("cupy-cuda11x", "13.6"),
        ("torch", "2.11.0+cu130"),
        ("cuda-bindings", "13.0"),
    ],
)
def test_a_build_for_another_cuda_is_named(image: Image, name: str, version: str) -> None:
    if name == "torch":
        next(image.wheels.glob("torch-*")).unlink()
    path = make_wheel(image.wheels, name, version, files={"torch/lib/libtorch_cuda.so": TORCH})
    other = 11 if "11" in name else 13
    assert named(cuda.prove(bundle(image))) == [(name, f"{path.name} is built for CUDA {other}")]


def test_a_package_that_is_there_for_each_cuda_is_a_note_where_one_asks_for_both(image: Image) -> None:
    make_wheel(image.wheels, "dsl", "4.8", requires=["nvidia-libs-cu12; extra == 'cu12'", "nvidia-libs-cu13"])
    for name in ("nvidia-libs-cu12", "nvidia-libs-cu13"):
        make_wheel(image.wheels, name, "4.8")
    image.requirements.write_text("torch\ndsl[cu12]\n")
    [found] = cuda.prove(bundle(image))
    assert (found.package, found.status) == ("nvidia-libs-cu13", "note")
    image.requirements.write_text("torch\ndsl[cu12]\nnvidia-libs-cu13\n")
    [found] = cuda.prove(bundle(image))
    assert found.status == "failed" and "is built for CUDA 13" in found.wants


def test_a_library_of_another_cuda_that_no_wheel_has_is_named_with_who_asked(image: Image) -> None:
    """Its name and version say nothing: the library does."""
    make_wheel(image.wheels, "torch", "2.10.0", files={
        "torch/lib/libtorch_cuda.so": shared_library(["libcudart.so.13", "libcuda.so.1"], fat_binary((SASS, 75))),
    })  # fmt: skip
    [found] = cuda.prove(bundle(image))
    wants = "torch/lib/libtorch_cuda.so requires libcudart.so.13, which no wheel has; the image has CUDA 12.8"
    assert found == Finding("torch", wants, found.mend, ("toy → torch",))


def test_of_a_library_for_every_cuda_only_the_images_counts(image: Image) -> None:
    files = {
        "bitsandbytes/libbitsandbytes_cuda128.so": shared_library(["libcudart.so.12"], fat_binary((SASS, 75))),
        "bitsandbytes/libbitsandbytes_cuda130.so": shared_library(["libcudart.so.13"], fat_binary((SASS, 80))),
    }
    make_wheel(image.wheels, "bitsandbytes", files=files)
    assert cuda.prove(bundle(image)) == gpu_code.prove(bundle(image)) == []
    del files["bitsandbytes/libbitsandbytes_cuda128.so"]
    make_wheel(image.wheels, "bitsandbytes", files=files)
    [(package, wants)] = named(gpu_code.prove(bundle(image)))
    assert package == "bitsandbytes" and "has no bitsandbytes/libbitsandbytes_cuda128.so with GPU code" in wants


@pytest.mark.parametrize(
    ("driver", "found"),
    [
        ("525.60.13", []),
        ("525.60.12", [("driver", "CUDA 12 requires a driver of 525.60.13 or later, not 525.60.12")]),
        ("470.256.02", [("driver", "CUDA 12 requires a driver of 525.60.13 or later, not 470.256.02")]),
    ],
)
def test_the_driver_has_to_be_new_enough(image: Image, driver: str, found: list[tuple[str, str]]) -> None:
    assert named(cuda.prove(bundle(with_facts(image, "580.159.04", driver)))) == found


def test_a_driver_that_is_not_known_is_not_proved(image: Image) -> None:
    [found] = cuda.prove(bundle(with_facts(image, 'driver = "580.159.04"', "")))
    assert found.status == "not proved"


def test_code_for_newer_cards_alone_is_named(image: Image) -> None:
    files = {"vllm/_C.abi3.so": shared_library([], fat_binary((SASS, 80), (PTX, 80))),
             "vllm/_moe_C.abi3.so": shared_library([], fat_binary((SASS, 75)) + fat_binary((SASS, 90))),
             "vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so": shared_library([], fat_binary((SASS, 90)))}  # fmt: skip
    make_wheel(image.wheels, "vllm", "0.19.1", files=files)
    wants = "vllm/_C.abi3.so has code for compute_80 sm_80, none for 7.5"
    assert named(gpu_code.prove(bundle(image))) == [("vllm", wants)]


@pytest.mark.parametrize("name", ["_C.abi3.so", "_C_stable_libtorch.abi3.so"])
def test_vllm_s_library_is_found_under_its_newer_name_too(image: Image, name: str) -> None:
    found = {"vllm/_moe_C.abi3.so": TORCH, f"vllm/{name}": TORCH, "vllm/_qutlass_C.abi3.so": NEWEST}
    make_wheel(image.wheels, "vllm", "0.33.0", files=found)
    assert gpu_code.prove(bundle(image)) == []
    found[f"vllm/{name}"] = NEWEST
    make_wheel(image.wheels, "vllm", "0.33.0", files=found)
    [told] = gpu_code.prove(bundle(image))
    assert f"vllm/{name} has code for sm_100, none for 7.5" in told.wants


def test_a_capability_that_no_wheel_has_is_named(image: Image) -> None:
    [found] = gpu_code.prove(bundle(with_facts(image, 'capability = "7.5"', 'capability = "6.1"')))
    assert "none for 6.1" in found.wants and f"correct capability in {image.path}" in found.mend


def test_a_build_for_the_cpu_is_named(image: Image) -> None:
    make_wheel(image.wheels, "torch", "2.10.0", files={"torch/lib/libtorch_cpu.so": shared_library(["libc.so.6"])})
    [(package, wants)] = named(gpu_code.prove(bundle(image)))
    assert package == "torch" and "has no torch/lib/libtorch_cuda.so with GPU code" in wants


def test_an_image_without_a_card_asks_for_no_code(image: Image) -> None:
    make_wheel(image.wheels, "torch", "2.10.0", files={"torch/lib/libtorch_cpu.so": shared_library()})
    assert cuda.prove(bundle(with_facts(image, CARDS, ""))) == []
    assert gpu_code.prove(bundle(with_facts(image, CARDS, ""))) == []


@pytest.mark.parametrize(
    ("code", "capability", "runs"),
    [
        (("sm_75",), "7.5", True),
        (("sm_70",), "7.5", True),  # the same major, an earlier minor
        (("sm_80",), "7.5", False),
        (("sm_60",), "7.5", False),
        (("compute_60",), "7.5", True),  # PTX is compiled for any later card
        (("compute_80",), "7.5", False),
        (("sm_100", "sm_120"), "12.0", True),
        (("sm_100",), "12.0", False),
        ((), "7.5", False),
    ],
)
def test_which_code_runs_on_a_card(code: tuple[str, ...], capability: str, runs: bool) -> None:
    assert runs_on(code, capability) is runs


def test_containers_are_found_past_their_padding_and_a_torn_one_ends_quietly() -> None:
    section = fat_binary((SASS, 70)) + b"\0" * 24 + fat_binary((PTX, 90), (64, 1))
    assert list(architectures(section)) == ["sm_70", "compute_90"]
    assert list(architectures(section[:40])) == []
    assert list(architectures(fat_binary((SASS, 75), (SASS, 80))[:100])) == ["sm_75"]


def test_what_has_nothing_to_do_with_cuda_or_is_no_library_is_passed_over() -> None:
    assert read_library("a.so", shared_library(["libc.so.6"]).replace(b".nv_fatbin", b".xx_xxxxxx")) is None
    assert read_library("a.so", b"INPUT(libcudart.so.12)") is None
    assert read_library("a.so", TORCH[:100] + b"libcudart.so.12") is None
    library = read_library("a.so", TORCH)
    assert library is not None and library.needed == ("libc.so.6", "libcuda.so.1", "libcudart.so.12")
    assert library.code == ("sm_70", "sm_90")
