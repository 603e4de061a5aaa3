"""What a commit run saw is held against an image's facts, and becomes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cascade.base.command_line import run_command_line
from packer.__main__ import app
from packer.wheels import images, seen
from packer.wheels.images import Image, ImageError
from tests.refusals import refused

COMPETITION = "eedi-mining-misconceptions-in-mathematics"
FACTS = """# Two cards.
python = "3.12.13"
abi = "cp312"
machine = "x86_64"
glibc = "2.35"          # Ubuntu 22.04
gpus = 2
card = "not seen"
capability = "7.5"
cuda = "12.8"
driver = "580.159.04"
accelerator = "NvidiaTeslaT4"
memory = 31.0
limits = { session = "12h" }
extras = ["models"]
seen = "by hand"
"""
SAME: dict[str, Any] = {
    "image": "t4", "competition": COMPETITION, "at": "2026-12-01", "python": "3.12.13", "abi": "cp312",
    "machine": "x86_64", "glibc": "2.35", "gpus": 2, "card": None, "capability": "7.5", "gpu_memory": None,
    "driver": "580.159.04", "docker_image": None, "cores": None, "memory": 31.4, "working": None, "scratch": None,
    "mounts": {}, "limits": {},
}  # fmt: skip


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """The image t4 of a project, which is the current folder, and t4-py313 beside it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "wheels"
    folder.mkdir()
    newer = FACTS.replace("3.12.13", "3.13.5").replace("cp312", "cp313").replace("12.8", "13.0")
    for name, facts in (("t4", FACTS), ("t4-py313", newer)):
        (folder / f"{name}.toml").write_text(facts)
        (folder / f"{name}.lock").write_text("")
    (tmp_path / "kernel-metadata.json").write_text(json.dumps({"competition_sources": [COMPETITION]}))
    return images.load("t4", Path("wheels"))


def left(**other: Any) -> Path:
    path = Path("image.json")
    path.write_text(json.dumps(SAME | other))
    return path


def read(**other: Any) -> seen.Seen:
    return seen.read(left(**other), COMPETITION)


def test_a_machine_as_it_was_is_one_line(image: Image) -> None:
    """31.4 GB are those 31: a size is never quite the same."""
    assert seen.compared(left(), COMPETITION) == ["wheels/t4.toml: as the run saw it"]
    assert seen.compared(Path("no-image.json"), COMPETITION) == []


def test_a_new_python_breaks_one_set_of_wheels_and_not_the_other(image: Image) -> None:
    path = left(python="3.13.5", abi="cp313", cores=4)
    assert seen.compared(path, COMPETITION) == [
        "wheels/t4.toml: python was 3.12.13, and is 3.13.5",
        "wheels/t4.toml: abi was cp312, and is cp313",
        "wheels/t4.toml: cores was not seen, and is 4",
        "wheels/t4: broken: built for cp312 on x86_64, and it is cp313 on x86_64",
        "wheels/t4-py313: its wheels still run there",
        "to update the facts: python -m packer image --from image.json",
    ]


def test_a_machine_without_an_accelerator_is_compared_with_its_own_image_alone(image: Image) -> None:
    """Any other image without one may be no machine of Kaggle's."""
    for name, python in (("cpu", "3.12.13"), ("mine", "3.11.2")):
        facts = f'python = "{python}"\nabi = "cp{python[0]}{python[2:4]}"\nmachine = "x86_64"\nglibc = "2.35"\n'
        Path(f"wheels/{name}.toml").write_text(f'{facts}extras = []\nseen = "by hand"\n')
        Path(f"wheels/{name}.lock").write_text("")
    path = left(image="cpu", gpus=0, capability=None, driver=None, memory=None, cores=4)
    assert seen.compared(path, COMPETITION) == [
        "wheels/cpu.toml: cores was not seen, and is 4",
        "wheels/cpu: its wheels still run there",
        "to update the facts: python -m packer image --from image.json",
    ]


@pytest.mark.parametrize(
    ("other", "old", "new"),
    [
        ({"driver": "570.1.2"}, None, "CUDA 13.0 requires a driver of 580.65.06 or later, and it is 570.1.2"),
        ({"driver": "520.1"}, "CUDA 12.8 requires a driver of 525.60.13 or later, and it is 520.1", "580.65.06"),
        ({"glibc": "2.31"}, "may require glibc 2.35, and it is 2.31", "may require glibc 2.35"),
        ({"glibc": "2.39"}, None, None),
        ({"gpus": 1}, "for 2 GPUs, and there are 1", "for 2 GPUs"),
        ({"capability": "8.9"}, "proved for GPUs of capability 7.5, and theirs is 8.9", "capability 7.5"),
        ({"machine": "aarch64"}, "it is cp312 on aarch64", "it is cp312 on aarch64"),
        ({"memory": 16.0}, None, None),
    ],
)
def test_what_breaks_a_set_of_wheels_is_said(image: Image, other: dict[str, Any], old: str, new: str) -> None:
    python = {"python": "3.13.5", "abi": "cp313"} if "machine" not in other else {}
    lines = {line.partition(": ")[0]: line for line in seen.report(image, read(**other)) if ".toml" not in line}
    newer = images.load("t4-py313", Path("wheels"))
    told = "; ".join(seen.broken(newer, read(**python, **other)))
    assert (old in lines["wheels/t4"]) if old else lines["wheels/t4"] == "wheels/t4: its wheels still run there"
    assert (new in told) if new else told == ""


def test_the_facts_file_takes_what_was_seen_and_keeps_its_other_lines(image: Image) -> None:
    digest = "gcr.io/kaggle-gpu-images/python@sha256:0123"
    found = read(glibc="2.39", card="Tesla T4", docker_image=digest, limits={"files": "1048576"}, working=20.9)
    seen.update(image, found)
    assert image.path.read_text() == (
        FACTS.replace('glibc = "2.35"          # Ubuntu 22.04', 'glibc = "2.39"  # a commit run, 2026-12-01')
        .replace('card = "not seen"', 'card = "Tesla T4"  # a commit run, 2026-12-01')
        .replace(
            'limits = { session = "12h" }',
            'limits = { "session" = "12h", "files" = "1048576" }  # a commit run, 2026-12-01',
        )
        .replace(
            'seen = "by hand"\n',
            f'docker_image = "{digest}"  # a commit run, 2026-12-01\nworking = 20.9  # a commit run, 2026-12-01\n'
            'seen = "2026-12-01, by a commit run, where a line says so; by hand"\n',
        )
    )
    assert seen.report(images.load("t4", Path("wheels")), found) == ["wheels/t4.toml: as the run saw it"]


def test_the_command_updates_the_run_s_image_or_the_named_one(image: Image) -> None:
    path = left(python="3.13.7", abi="cp313")
    done = CliRunner().invoke(app, ["image", "--from", str(path), "--image", "t4-py313"])
    assert done.exit_code == 0
    assert "wheels/t4-py313.toml: python was 3.13.5, and is 3.13.7" in done.stdout.splitlines()
    assert images.load("t4-py313", Path("wheels")).python == "3.13.7" and image.path.read_text() == FACTS
    assert CliRunner().invoke(app, ["image", "--from", str(path)]).exit_code == 0
    assert images.load("t4", Path("wheels")).abi == "cp313"


@pytest.mark.parametrize("of", ["t4", "l4"])
def test_images_with_the_same_wheels_get_a_new_python_together(image: Image, of: str) -> None:
    own = FACTS.replace('extras = ["models"]\n', "").replace('cuda = "12.8"\n', "")
    for name in ("l4", "h100"):
        Path("wheels", f"{name}.toml").write_text('wheels_of = "t4"\n' + own)
    newer = Path("wheels", "t4-py313.toml").read_text()
    found = read(python="3.13.7", abi="cp313", memory=60.0)
    for day in ("2026-12-01", "2026-12-02"):
        seen.update(images.load(of, Path("wheels")), found.model_copy(update={"at": day, "cores": int(day[-1])}))
    for name in ("t4", "l4", "h100"):
        told = images.load(name, Path("wheels"))
        assert (told.python, told.abi, told.memory) == ("3.13.7", "cp313", 60.0 if name == of else 31.0)
        assert told.seen.count("by a commit run") == 1
    assert Path("wheels", "t4-py313.toml").read_text() == newer


def test_an_image_that_cannot_be_read_costs_its_own_line(image: Image) -> None:
    Path("wheels", "t4-py313.toml").write_text("abi = 3\n")
    lines = seen.report(image, read(gpus=1))
    assert [line for line in lines if line.startswith("wheels/t4-py313.toml: not compared: ")]
    assert "wheels/t4: broken: for 2 GPUs, and there are 1" in lines


def test_a_number_of_gpus_that_nobody_saw_is_none(image: Image) -> None:
    path = left()
    path.write_text(json.dumps({key: value for key, value in SAME.items() if key != "gpus"}))
    assert seen.report(image, seen.read(path, COMPETITION)) == ["wheels/t4.toml: as the run saw it"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"competition": "another"}, "is of a run for another, not for eedi"),
        ({"image": "t4-py31"}, r"there is no image called 't4-py31' \(did you mean 't4-py313'\?\); name the image"),
        ({"glibc": ""}, "glibc is ''"),
        ({"gpus": "2"}, "gpus is '2'"),
        ({"drivr": "1.2"}, r"unknown key 'drivr' \(did you mean 'driver'\?\)"),
    ],
)
def test_a_record_that_is_not_this_project_s_is_refused_and_nothing_is_written(
    image: Image, other: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = left(python="3.13.5", **other)
    with pytest.raises(ImageError, match=message):
        seen.compared(path, COMPETITION)
    with pytest.raises(SystemExit):
        run_command_line(lambda: app(["image", "--from", str(path)], standalone_mode=False))
    assert image.path.read_text() == FACTS


@pytest.mark.parametrize("text", [None, b"", b"[]", b'"t4"', b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_one_error(image: Image, text: bytes | None) -> None:
    path = Path("image.json")
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ImageError) as error:
        seen.read(path, COMPETITION)
    assert error.value.path == path and error.value.mend


def test_facts_that_no_image_has_leave_the_file_as_it_is(image: Image) -> None:
    found = read(card="x", limits={"a\nb": "c"}).model_copy(update={"driver": "not one"})
    with refused(ImageError, "driver is 'not one'"):
        seen.update(image, found)
    assert image.path.read_text() == FACTS
