"""What the installer refuses in a wheel, the proof refuses; what it installs passes. The installer is asked too."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from packer.proofs.wheel_metadata import read
from tests.wheelmaker import make_wheel

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
RECORD = "leaf.py,,0\nleaf-1.0.dist-info/RECORD,,\n"


def installs(path: Path) -> bool:
    """Whether uv installs it, as the kernel has it installed."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lock = path.parent / "lock.txt"
    lock.write_text(f"leaf==1.0 --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--offline", "--no-config"]
    command += ["--no-index", "--no-deps", "--find-links", str(path.parent), "--require-hashes", "--requirement"]
    command += [str(lock), "--target", str(path.parent / "there"), "--cache-dir", str(path.parent / "cache")]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({"RECORD": f"a,b.txt,,0\n{RECORD}"}, "RECORD, line 1: 'a,b.txt,,0' has 4 fields, not 3; a file's name"),
        ({"RECORD": f"leaf.py,\n{RECORD}"}, "RECORD, line 1: 'leaf.py,' has 2 fields, not 3"),
        ({"RECORD": "leaf.py,,many\n"}, "RECORD, line 1: 'leaf.py,,many': its third field is not a size"),
        ({"RECORD": b"leaf\xff.py,,0\n"}, "RECORD, line 1: is not UTF-8"),
        ({"RECORD": None}, "it has no RECORD"),
        ({"WHEEL": None}, "it has no WHEEL"),
        ({"WHEEL": WHEEL.partition("\n")[2]}, "WHEEL has no Wheel-Version"),
        ({"WHEEL": WHEEL.lower()}, "WHEEL has no Wheel-Version"),
        ({"WHEEL": WHEEL.replace("1.0", "2.0")}, "WHEEL: Wheel-Version is '2.0'"),
        ({"WHEEL": WHEEL.replace("1.0", "one")}, "WHEEL: Wheel-Version is 'one'"),
        ({"WHEEL": WHEEL.encode() + b"Generator: \xff\n"}, "WHEEL, line 4: is not UTF-8"),
        ({"METADATA": None}, "METADATA"),
        ({"entry_points.txt": "[console_scripts]\nrun = leaf\n"}, "entry_points.txt: 'run = leaf' names no callable"),
        ({"entry_points.txt": "[gui_scripts]\nrun = leaf:\n"}, "entry_points.txt: 'run = leaf:' names no callable"),
        ({"entry_points.txt": "[console_scripts]\nrun\n"}, "entry_points.txt cannot be read.*line *2"),
        ({"entry_points.txt": "[console_scripts]\npython = leaf:a\n"}, "with an invalid name"),
        ({"entry_points.txt": "[console_scripts]\nbin/run = leaf:a\n"}, "with an invalid name"),
        ({"entry_points.txt": b"[console_scripts]\n# \xff\nrun = leaf:a\n"}, "entry_points.txt, line 2: is not UTF-8"),
    ],
)
def test_what_the_installer_refuses_is_refused(tmp_path: Path, info: dict[str, str | bytes | None], told: str) -> None:
    path = make_wheel(tmp_path, "leaf", info=info)
    assert not installs(path)
    assert re.search(told, read(path).broken)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"leaf-1.0.data/lib/a": ""}, "leaf-1.0.data/lib/a is in no folder that a wheel may have"),
        ({"part": "", "part/a.py": ""}, "part is a file and a folder in it"),
        ({"a\x0cb": ""}, "a control character"),
        ({"leaf-2.0.dist-info/METADATA": ""}, "leaf-1.0.dist-info and leaf-2.0.dist-info, not one .dist-info"),
    ],
)
def test_files_that_cannot_be_put_in_place_are_refused(tmp_path: Path, files: dict[str, str], told: str) -> None:
    path = make_wheel(tmp_path, "leaf", files={"leaf.py": "", **files})
    assert not installs(path)
    assert told in read(path).broken


@pytest.mark.parametrize(("second", "refused"), [("x = 1", False), ("x = 2", True)])
def test_two_entries_of_one_name_must_be_the_same(tmp_path: Path, second: str, refused: bool) -> None:
    path = make_wheel(tmp_path, "leaf", files={"leaf.py": "x = 1"})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("leaf.py", second)
    assert installs(path) is not refused
    assert ("it contains leaf.py twice, with different contents" in read(path).broken) is refused


@pytest.mark.parametrize(
    ("info", "note"),
    [
        ({}, None),
        ({"RECORD": f'"a,b.txt",,\r\n{RECORD}'}, "its RECORD has files that are not in the wheel: a,b.txt"),
        ({"RECORD": f"\ufeff\n{RECORD}"}, None),
        ({"RECORD": "/leaf.py,,0\n"}, "its RECORD has paths that begin with /: /leaf.py"),
        ({"RECORD": "gone.py,,4\n"}, "its RECORD has files that are not in the wheel: gone.py"),
        ({"RECORD": "leaf.py,,99\n"}, "its RECORD has a wrong size: leaf.py"),
        ({"RECORD": ".\\leaf-1.0.dist-info\\WHEEL,,\n"}, "its RECORD has paths with a backslash"),
        ({"RECORD": ""}, None),
        ({"WHEEL": WHEEL.replace("1.0", "1.9")}, None),
        ({"entry_points.txt": "# c\n[console_scripts]\n  Run = a.b : c.d [e,f]\n\n[others]\nx = anything\n"}, None),
    ],
)
def test_what_the_installer_passes_over_is_a_note(tmp_path: Path, info: dict[str, str], note: str | None) -> None:
    path = make_wheel(tmp_path, "leaf", info=info)
    assert installs(path)
    facts = read(path)
    assert not facts.broken and "leaf.py" in facts.files
    assert (note is None and facts.notes == ()) or any(str(note) in each for each in facts.notes)
