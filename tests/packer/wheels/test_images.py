"""An image's facts are checked, and tell which wheels fit it."""

from __future__ import annotations

import pytest
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename

from cascade.config.schema import load
from packer.wheels import images, locks
from packer.wheels.images import ImageError
from tests.toy import project, replace


@pytest.fixture
def image(tmp_path):
    return project(tmp_path)


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp312-cp312-manylinux_2_35_x86_64", True),
        ("cp312-cp312-manylinux_2_39_x86_64", False),  # a newer glibc
        ("cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64", True),
        ("cp312-cp312-manylinux1_x86_64", True),
        ("cp312-cp312-linux_x86_64", True),
        ("cp312-cp312-manylinux_2_28_aarch64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp312-cp312-win_amd64", False),
        ("cp311-cp311-manylinux_2_28_x86_64", False),
        ("cp312-cp312t-manylinux_2_28_x86_64", False),  # free-threaded
        ("cp38-abi3-manylinux_2_31_x86_64", True),
        ("cp313-abi3-manylinux_2_28_x86_64", False),  # of a newer Python
        ("py3-none-manylinux_2_27_x86_64", True),
        ("py2.py3-none-any", True),
        ("py313-none-any", False),
        ("py2-none-any", False),
    ],
)
def test_a_wheel_fits_or_not_by_its_tags(image, tag, fits):
    assert parse_tag(tag).isdisjoint(image.tags()) is not fits


def test_the_best_tag_comes_first(image):
    tags = [str(tag) for tag in image.tags()]
    order = ["cp312-cp312-manylinux_2_35_x86_64", "cp312-abi3-manylinux_2_35_x86_64", "py3-none-any"]
    assert [tags.index(tag) for tag in order] == sorted(tags.index(tag) for tag in order)
    assert len(tags) == len(set(tags))


@pytest.mark.parametrize("name", sorted(path.stem for path in images.FOLDER.glob("*.toml")))
def test_the_projects_images_are_known_and_what_they_lock_fits(name):
    image = images.load(name, images.FOLDER)
    pins, tags = locks.read(image.lock), set(image.tags())
    for path in image.wheels.glob("*.whl"):  # where they were fetched
        package, version, _, of_wheel = parse_wheel_filename(path.name)
        assert pins[package].version == version
        assert not of_wheel.isdisjoint(tags), path.name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('python = "3.12.13"', 'python = "3.12"', "python is '3.12'"),
        ('python = "3.12.13"', "python = 3.12", "python is 3.12; it should be a valid string"),
        ('abi = "cp312"', 'abi = "3.12"', "abi is '3.12'"),
        ('glibc = "2.35"', 'glibc = "35"', "glibc is '35'"),
        ('glibc = "2.35"', "", "'glibc' is missing; add it"),
        ('glibc = "2.35"', 'glbc = "2.35"', r"unknown key 'glbc' \(did you mean 'glibc'\?\)"),
        ('glibc = "2.35"', 'glibc = "2.35"\ngpus = -1', "gpus is -1"),
        ('glibc = "2.35"', 'glibc = "2.35"\ncapability = "75"', "capability is '75'"),
        ('"2021-01-01"', '"1 January 2021"', "exclude_newer is '1 January 2021'"),
        ('"2021-01-01"', "2021-01-01", "exclude_newer is .*it should be a valid string"),
        ('"2026-01-01"', '"soon"', "markupsafe is 'soon'"),
        ('"2026-01-01"', '"2026-01-01', "not TOML"),
    ],
)
def test_facts_that_cannot_be_used_are_refused(image, old, new, message):
    replace(image.path, old, new)
    with pytest.raises(ImageError, match=rf"^{image.path}: .*{message}"):
        images.load("small", image.path.parent)


def test_what_the_projects_images_pin_is_written_down():
    """The names in each vLLM that an image pins, by which a config is checked where the wheel is not at hand."""
    for path in images.FOLDER.glob("*.toml"):
        pin = locks.read(images.load(path.stem).lock).get("vllm")
        assert pin is None or (images.FOLDER / f"vllm-{pin.version}.json").is_file()


def test_a_run_with_a_model_is_refused_where_there_is_no_torch():
    runs = [load(images.FOLDER.parent / "configs" / f"{name}.toml") for name in ("cpu", "sample")]
    for run in runs:
        images.require_models(images.load("kaggle-t4x2"), run)
    images.require_models(images.load("kaggle-cpu"), runs[0])
    with pytest.raises(
        ImageError, match=r"have no torch, which 'package:gt-all.*' of stage 'r1 \(dense\)' requires; use"
    ):
        images.require_models(images.load("kaggle-cpu"), runs[1])


def test_an_unknown_image_is_refused_with_the_nearest_known_one(image, tmp_path):
    with pytest.raises(ImageError, match=r"no such image \(did you mean 'small'\?\); use one of small$"):
        images.load("smal", image.path.parent)
    with pytest.raises(ImageError, match=r"create it$"):
        images.load("small", tmp_path / "nowhere")


def shared(image, **other):
    """A second image that has the wheels of the first, whose facts are the same but for its cards."""
    path = image.path.with_name("cards.toml")
    facts = {"python": "3.12.13", "abi": "cp312", "machine": "x86_64", "glibc": "2.35", "seen": "nowhere"} | other
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in facts.items()) + "gpus = 1\n")
    return path


def test_an_image_of_other_cards_has_the_wheels_of_another(image):
    shared(image, wheels_of="small", capability="9.0")
    cards = images.load("cards", image.path.parent)
    assert (cards.requirements, cards.lock, cards.wheels) == (image.requirements, image.lock, image.wheels)
    assert (cards.extras, cards.exclude_newer, cards.newer) == (image.extras, image.exclude_newer, image.newer)
    assert (cards.gpus, cards.compute_capability, image.gpus) == (1, (9, 0), 0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"wheels_of": "smal"}, r"smal\.toml: no such image \(did you mean 'small'\?\)"),
        ({"wheels_of": "cards"}, "cards has another image's wheels itself"),
        ({"wheels_of": "small", "python": "3.13.5"}, "has python_minor 3.13, and the wheels of small are for 3.12"),
        ({"wheels_of": "small", "glibc": "2.31"}, "has glibc 2.31, and the wheels of small are for 2.35"),
        ({"wheels_of": "small", "exclude_newer": "2026-01-01"}, r"exclude_newer is said by .*small\.toml"),
    ],
)
def test_wheels_of_another_machine_are_refused(image, other, message):
    shared(image, **other)
    with pytest.raises(ImageError, match=message):
        images.load("cards", image.path.parent)
