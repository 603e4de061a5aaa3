"""A lock is read as uv writes it; one that would let in something unchecked is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packer.wheels import locks
from packer.wheels.locks import LockError

A, B = "a" * 64, "b" * 64
LOCK = f"""# Made by a tool
Jinja2==3.1.6 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via
    #   -c constraints.txt
    #   toy (pyproject.toml)
    #   torch
torch==2.13.0+cpu \\
    --hash=sha256:{A}
    # via -r wheels/small.in
six==1.15.0 ; python_version > "3" --hash=sha256:{B}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.lock"
    path.write_text(LOCK)
    return path


def test_packages_versions_hashes_and_who_asked_are_read(path):
    pins = locks.read(path)
    assert list(pins) == ["jinja2", "torch", "six"]
    assert [str(pin) for pin in pins.values()] == ["jinja2==3.1.6", "torch==2.13.0+cpu", "six==1.15.0"]
    assert pins["jinja2"].hashes == {A, B}
    assert pins["six"].hashes == {B}
    assert pins["jinja2"].asked_by == ("toy (pyproject.toml)", "torch")  # a constraint asks for nothing
    assert pins["torch"].asked_by == ("-r wheels/small.in",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("idna==3.1", "line 13: idna has no sha256 hash"),
        ("idna==3.1 --hash=md5:abc", "line 13: idna has no sha256 hash"),
        (f"idna==3.1 --hash=sha256:{A[1:]}", "line 13: idna has no sha256 hash"),
        (f"idna --hash=sha256:{A}", "line 13: idna is not pinned to one version"),
        (f"idna>=3.1 --hash=sha256:{A}", "line 13: idna is not pinned to one version"),
        (f"idna==3.* --hash=sha256:{A}", "line 13: idna is not pinned to one version"),
        (f"JINJA2==3.1.5 --hash=sha256:{A}", "line 13: jinja2 occurs twice"),
        (f"-e . --hash=sha256:{A}", "line 13: '-e .* is not a pinned package"),
        ("--index-url somewhere", "line 13: '--index-url somewhere' is not a pinned package"),
        ("<<<<<<< ours", "line 13: '<<<<<<< ours' is not a pinned package"),
    ],
)
def test_a_line_that_pins_nothing_is_refused(path, line, message):
    path.write_text(f"{LOCK}{line}\n")
    with pytest.raises(LockError, match=f"^{path}: {message}") as error:
        locks.read(path)
    assert (error.value.path, error.value.key) == (path, message.partition(":")[0])
    assert error.value.mend.startswith("lock again")


def test_a_lock_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(LockError, match=r"no such lock; run: make wheels IMAGE=small$"):
        locks.read(tmp_path / "small.lock")


def test_the_hash_of_a_built_wheel_is_added_to_its_pin_alone(path):
    before = locks.read(path)
    locks.add_hash(path, before["torch"], B)
    assert locks.read(path) == {**before, "torch": replace(before["torch"], hashes=frozenset({A, B}))}
    text = path.read_text()
    locks.add_hash(path, locks.read(path)["torch"], B)
    assert path.read_text() == text


def test_a_hash_finds_no_place_in_a_lock_that_uv_did_not_write(path):
    with pytest.raises(LockError, match=r"six==1.15.0 is not written as uv writes it; lock again"):
        locks.add_hash(path, locks.read(path)["six"], A)
    assert path.read_text() == LOCK
