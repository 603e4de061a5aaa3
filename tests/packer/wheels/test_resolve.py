"""A lock holds the whole closure for another machine, and is made anew only when something else is asked."""

from __future__ import annotations

import pytest

from cascade.base.errors import CascadeError
from packer.wheels import images, locks, resolve
from packer.wheels.images import ImageError
from packer.wheels.requirements import RequirementsError
from tests.toy import project, replace


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    image = project(tmp_path_factory.mktemp("locked"))
    assert resolve.lock(image)
    return image


@pytest.fixture
def image(locked, tmp_path):
    copy = project(tmp_path)
    copy.lock.write_bytes(locked.lock.read_bytes())
    return copy


def versions(image):
    return {name: str(pin.version) for name, pin in locks.read(image.lock).items()}


def test_the_projects_requirements_its_extras_and_the_images_own_are_locked(image):
    assert versions(image) == {"docopt": "0.6.2", "markupsafe": "3.0.3", "six": "1.15.0"}  # six of before 2021
    pins = locks.read(image.lock)
    assert pins["markupsafe"].asked_by == ("toy (pyproject.toml)",)
    assert pins["six"].asked_by == ("-r wheels/small.in",)


def test_a_lock_is_the_same_text_wherever_it_is_made(image):
    text = image.lock.read_text()
    image.lock.unlink()
    assert resolve.lock(image)
    assert image.lock.read_text() == text
    assert str(image.project.parent) not in text


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("wheels/small.in", "# Beside", "# In addition to"),
        ("wheels/small.toml", "nowhere", "elsewhere"),
        ("pyproject.toml", "nobody-asks-for-this==1", "nobody-asks-for-this==2"),
    ],
)
def test_a_lock_that_still_answers_is_kept(image, file, old, new):
    replace(image.project.parent / file, old, new)
    before = image.lock.stat()
    assert not resolve.lock(images.load("small", image.path.parent))
    assert image.lock.stat() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("wheels/small.in", "six", "six\nidna"),
        ("wheels/small.toml", "2021-01-01", "2022-01-01"),
        ("wheels/small.toml", "cp312", "cp313"),
        ("wheels/small.toml", "2.35", "2.28"),
        ("wheels/small.toml", '"words"', ""),
        ("pyproject.toml", "docopt==0.6.2", "docopt==0.6.1"),
    ],
)
def test_a_lock_of_what_was_asked_before_is_not_kept(image, file, old, new):
    if old == "cp312":
        replace(image.path, "3.12.13", "3.13.1")
    replace(image.project.parent / file, old, new)
    assert not resolve.answers(images.load("small", image.path.parent))


def test_constraints_count_too(image):
    constraints = image.project.parent / "constraints.txt"
    constraints.write_text("six==1.14.0\n")
    image.requirements.write_text("-c ../constraints.txt\nsix\n")
    assert resolve.lock(image)
    assert versions(image)["six"] == "1.14.0"
    assert locks.read(image.lock)["six"].asked_by == ("-r wheels/small.in",)
    constraints.write_text("six==1.15.0\n")
    assert not resolve.answers(image)


def test_a_version_stays_until_a_newer_one_is_asked_for(image):
    replace(image.path, "2021-01-01", "2026-01-01")
    image = images.load("small", image.path.parent)
    assert resolve.lock(image)
    assert versions(image)["six"] == "1.15.0"
    assert resolve.lock(image, upgrade=True)
    assert versions(image)["six"] == "1.17.0"


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        ("six==1.15.0\nsix==1.14.0\n", "uv finds no set of packages.*six"),
        ("six==99\n", "uv finds no set of packages.*six"),
        ("six == one two\n", "small.in: line 1: 'six == one two' is not a requirement"),
    ],
)
def test_requirements_that_cannot_be_met_leave_the_lock_as_it_was(image, requirements, message):
    image.requirements.write_text(requirements)
    before, files = image.lock.read_text(), sorted(image.path.parent.iterdir())
    with pytest.raises(CascadeError, match=message) as error:
        resolve.lock(image)
    assert "\n" not in str(error.value)
    assert image.lock.read_text() == before
    assert sorted(image.path.parent.iterdir()) == files


def test_an_image_without_its_requirements_or_its_project_is_refused(image):
    image.requirements.unlink()
    with pytest.raises(RequirementsError, match=r"small.in: no such file; create it, empty if"):
        resolve.lock(image)
    image.project.unlink()
    with pytest.raises(ImageError, match=r"pyproject.toml: not a project's file"):
        resolve.lock(image)


@pytest.mark.parametrize("name", ["kaggle-t4x2", "kaggle-cpu", "cpu-linux"])
def test_the_committed_locks_answer_what_the_project_asks(name):
    image = images.load(name, images.FOLDER)
    assert resolve.answers(image), "lock again: make wheels"
    text = image.lock.read_text()
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("--")]
