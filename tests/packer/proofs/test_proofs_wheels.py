"""Hashes, closure, uv's resolution and tags, on sets in which one thing is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from packer.proofs import closure, hashes, resolution, tags
from packer.proofs.subject import BundleError, Finding, Subject
from packer.proofs.wheel_metadata import gather
from packer.wheels.images import Image
from packer.wheels.locks import read
from packer.wheels.requirements import RequirementsError
from tests.wheelmaker import lock, make_image, make_wheel, unlock


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """torchy is the platform wheel; the project asks for app with its extra, which asks for torchy."""
    image = make_image(tmp_path, ["app[fast]"])
    make_wheel(image.wheels, "app", requires=["leaf", "torchy>=2; extra == 'fast'", "gone; python_version < '3.12'"])
    make_wheel(image.wheels, "leaf", python=">=3.8")
    make_wheel(image.wheels, "torchy", "2.1+cu128", tag="cp312-abi3-manylinux_2_28_x86_64")
    lock(image)
    return image


def bundle(image: Image) -> Subject:
    memory = image.project.parent / "memory"
    others = [path for path in image.wheels.iterdir() if path.suffix != ".whl"]
    return Subject(image, read(image.lock), gather(image.wheels, memory), others, [], memory)


Proof = Callable[[Subject], list[Finding]]


def findings(image: Image, prove: Proof) -> list[Finding]:
    return prove(bundle(image))


PROOFS = (hashes.prove, closure.prove, resolution.prove, tags.prove)


def test_a_sound_set_has_no_findings(image: Image) -> None:
    assert [found for prove in PROOFS for found in findings(image, prove)] == []


def test_what_the_kernel_itself_needs_is_asked_for_though_nothing_requires_it(image: Image) -> None:
    (image.project.parent / "notebooks").mkdir()
    for name in ("papermill", "ipykernel"):
        make_wheel(image.wheels, name)
    lock(image)
    found = {each.package: each for each in findings(image, closure.prove)}
    assert found.keys() == {"uv", "wrapt"}
    assert found["uv"].wants == "uv has no wheel in " + str(image.wheels)
    assert found["uv"].asked_by == ("the kernel → uv",) and found["uv"].status == "failed"


def test_a_second_wheel_of_a_package_is_to_be_removed_though_the_lock_knows_it(image: Image) -> None:
    """As uv's for another libc: the kernel wants exactly one."""
    second = make_wheel(image.wheels, "leaf", tag="cp312-abi3-musllinux_1_2_x86_64")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in image.wheels.glob("leaf-*")]
    unlock(image, "leaf")
    with image.lock.open("a") as file:
        file.write("leaf==1.0 " + " ".join(f"--hash=sha256:{each}" for each in digests) + "\n")
    [found] = findings(image, hashes.prove)
    assert second.name in found.wants and "remove" in found.mend


def wheel(image: Image, name: str) -> Path:
    return next(image.wheels.glob(f"{name}-*.whl"))


def test_a_requirement_of_an_extra_that_is_missing_is_named_with_who_asked(image: Image) -> None:
    wheel(image, "torchy").unlink()
    unlock(image, "torchy")
    [found] = findings(image, closure.prove)
    assert found.package == "torchy" and "torchy>=2 has no wheel" in found.wants
    assert found.asked_by == ("toy → app[fast] 1.0 → torchy",)
    [second] = findings(image, resolution.prove)
    assert "torchy was not found in the provided package locations" in second.wants


def test_a_lock_line_without_its_wheel_is_named_with_who_asked(image: Image) -> None:
    wheel(image, "leaf").unlink()
    [found] = findings(image, hashes.prove)
    assert found.package == "leaf" and found.wants.startswith("leaf==1.0 is in")
    assert found.asked_by == ("toy → app 1.0 → leaf",)


def test_a_wheel_without_its_lock_line_is_named_with_who_asked(image: Image) -> None:
    unlock(image, "leaf")
    [found] = findings(image, hashes.prove)
    assert found.package == "leaf" and "is not in" in found.wants and found.mend.startswith("lock again")
    assert found.asked_by == ("toy → app 1.0 → leaf",)
    assert [found.package for found in findings(image, closure.prove)] == ["leaf"]


def test_a_truncated_wheel_is_named_with_who_asked(image: Image) -> None:
    path = wheel(image, "leaf")
    path.write_bytes(path.read_bytes()[:-30])
    [found] = findings(image, hashes.prove)
    assert found.package == "leaf" and f"{path.name}: cannot be read as a wheel" in found.wants
    assert found.asked_by == ("toy → app 1.0 → leaf",) and found.mend.startswith("fetch it")


def test_a_wheel_of_another_hash_is_named(image: Image) -> None:
    make_wheel(image.wheels, "leaf", files={"leaf.py": "changed = 1"})
    [found] = findings(image, hashes.prove)
    assert found.package == "leaf" and "is not in the lock for leaf==1.0" in found.wants


def test_what_the_installer_refuses_in_a_publishers_file_is_named_and_fetching_again_is_no_help(image: Image) -> None:
    make_wheel(image.wheels, "leaf", info={"entry_points.txt": "[console_scripts]\nleaf = leaf\n"})
    lock(image)
    [found] = findings(image, hashes.prove)
    assert found.status == "failed" and found.asked_by == ("toy → app 1.0 → leaf",)
    assert "leaf-1.0-py3-none-any.whl" in found.wants and "'leaf = leaf' names no callable" in found.wants
    assert found.mend.startswith(f"pin another version in {image.requirements}")


def test_what_the_installer_passes_over_is_a_note_and_the_files_are_those_of_the_wheel(image: Image) -> None:
    """As selenium's RECORD, whose paths begin with a slash."""
    make_wheel(image.wheels, "leaf", info={"RECORD": "/leaf.py,,\nleaf-1.0.dist-info/RECORD,,\n"})
    lock(image)
    [found] = findings(image, hashes.prove)
    assert found.status == "note" and not found.mend
    assert "leaf-1.0-py3-none-any.whl: its RECORD has paths that begin with /: /leaf.py" in found.wants
    assert "leaf.py" in bundle(image).wheels["leaf"].files
    assert [found for prove in PROOFS[1:] for found in findings(image, prove)] == []


def test_an_older_version_beside_the_locks_is_to_be_removed(image: Image) -> None:
    make_wheel(image.wheels, "leaf", "0.9")
    [found] = findings(image, hashes.prove)
    assert found.mend == "remove it" and "leaf-0.9-py3-none-any.whl is beside" in found.wants
    assert findings(image, closure.prove) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("leaf-1.0.tar.gz", "is an sdist"), ("leaf-1.0.zip", "is an sdist"), ("notes.txt", "not a wheel")],
)
def test_what_is_no_wheel_is_refused(image: Image, name: str, told: str) -> None:
    (image.wheels / name).touch()
    [found] = findings(image, hashes.prove)
    assert told in found.wants and "remove it" in found.mend


def test_a_version_that_nobody_wants_is_named_with_who_does_not(image: Image) -> None:
    wheel(image, "torchy").unlink()
    make_wheel(image.wheels, "torchy", "1.9")
    lock(image)
    [found] = findings(image, closure.prove)
    assert found.wants == "torchy>=2 is required, but the wheel is 1.9"
    assert found.asked_by == ("toy → app[fast] 1.0 → torchy",)
    assert len(findings(image, resolution.prove)) == 1


def test_uv_that_resolves_something_else_than_the_lock_is_a_finding(image: Image) -> None:
    make_wheel(image.wheels, "leaf", "2.0")
    [found] = findings(image, resolution.prove)
    assert found.wants == "uv resolves leaf==2.0, but the lock has leaf==1.0"


@pytest.mark.parametrize(
    "tag",
    [
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp313-abi3-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_39_x86_64",
        "cp312-cp312-manylinux_2_28_aarch64",
        "cp312-cp312-musllinux_1_2_x86_64",
    ],
)
def test_a_wheel_for_another_machine_is_named_with_who_asked(image: Image, tag: str) -> None:
    wheel(image, "torchy").unlink()
    make_wheel(image.wheels, "torchy", "2.1", tag=tag)
    lock(image)
    [found] = findings(image, tags.prove)
    assert found.wants == f"torchy-2.1-{tag}.whl does not match cp312 on x86_64 with glibc 2.35"
    assert found.asked_by == ("toy → app[fast] 1.0 → torchy",)
    assert len(findings(image, resolution.prove)) == 1


def test_a_wheel_for_another_python_is_named(image: Image) -> None:
    make_wheel(image.wheels, "leaf", python="<3.12")
    lock(image)
    [found] = findings(image, tags.prove)
    assert found.wants == "leaf-1.0-py3-none-any.whl requires Python <3.12, but the image has 3.12.13"


def test_a_wheel_that_says_it_is_another_is_broken(image: Image) -> None:
    wheel(image, "leaf").rename(image.wheels / "leaf-1.1-py3-none-any.whl")
    lock(image)
    [found] = findings(image, hashes.prove)
    assert "its METADATA belongs to leaf 1.0" in found.wants


def test_a_line_of_the_requirements_that_is_none_is_an_error(image: Image) -> None:
    image.requirements.write_text("leaf >>> 2\n")
    with pytest.raises(RequirementsError, match=r"tiny.in: line 1: 'leaf >>> 2' is not a requirement"):
        findings(image, closure.prove)


@pytest.mark.parametrize(
    ("line", "status", "uv"),
    [
        ("leaf (>=0.1.*)", "not proved", []),
        ("leaf (>dev)", "not proved", []),
        ("leaf>=1.0 <3", "not proved", ["not proved"]),
        ("leaf !! 1; extra == 'fast'", "not proved", ["not proved"]),
        ("leaf (>dev); extra == 'slow'", "note", []),
        ("leaf (>dev); python_version < '3'", "note", []),
    ],
)
def test_a_wheels_requirement_that_is_none_is_told_and_the_rest_is_proved(
    image: Image, line: str, status: str, uv: list[str]
) -> None:
    """As in omegaconf 2.0.6 and celery 4.2."""
    make_wheel(image.wheels, "app", requires=[line, "gone>=2"])
    lock(image)
    gone, found = findings(image, closure.prove)
    assert gone.package == "gone" and gone.status == "failed"
    assert (found.package, found.status) == ("app", status)
    assert f"'{line}' in the METADATA of app 1.0" in found.wants
    make_wheel(image.wheels, "app", requires=[line])
    lock(image)
    assert [each.status for each in findings(image, resolution.prove)] == uv


def test_an_extra_that_the_project_lacks_is_an_error(image: Image) -> None:
    image.path.write_text(image.path.read_text().replace("models", "modles"))
    from packer.wheels import images

    with pytest.raises(BundleError, match=r"contains no requirements.*modles.*correct it, or the extras of"):
        findings(images.load("tiny", image.path.parent), closure.prove)
