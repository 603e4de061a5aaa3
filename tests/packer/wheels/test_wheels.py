"""The lock's wheels, and only they, lie in the folder: whole, fetched once, whatever the network and the disk do."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.base.manifest import sha256
from cascade.base.runtime import ROOT
from packer.wheels import fetch, images, locks, pip, resolve
from packer.wheels.images import Image
from packer.wheels.pip import WheelsError
from tests.toy import project, replace

DOCOPT, SIX = "docopt-0.6.2-py2.py3-none-any.whl", "six-1.15.0-py2.py3-none-any.whl"
MARKUPSAFE = "markupsafe-3.0.3-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A locked image whose wheels were fetched, and what the fetch said."""
    image = project(tmp_path_factory.mktemp("fetched"))
    resolve.lock(image)
    return image, fetch.fetch(image)


@pytest.fixture
def image(first, tmp_path):
    """A copy of it; what it is to remember of the files is where they are now."""
    copy = project(tmp_path)
    shutil.copy(first[0].lock, copy.lock)
    shutil.copytree(first[0].wheels, copy.wheels)
    assert len(fetch.fetch(copy).kept) == 3
    return copy


@pytest.fixture
def alone(image: Image, monkeypatch: pytest.MonkeyPatch) -> Image:
    """pip knows no registry and no folder but those that a test tells it, and tries once."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # where nobody answers
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(pip, "PAUSES", (0,))
    return image


@pytest.fixture
def registry(alone: Image, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Registry((alone.wheels / SIX).read_bytes())
        server.registry = found
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        yield found
        server.shutdown()


class Registry:
    """A registry with one wheel of six. `cuts`: after how many bytes each of the first answers breaks off."""

    def __init__(self, wheel: bytes) -> None:
        self.wheel, self.cuts, self.asked = wheel, [], 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        registry = self.server.registry
        if self.path.endswith(".whl"):
            registry.asked += 1
            cut = registry.cuts.pop(0) if registry.cuts else len(registry.wheel)
            self.answer("application/zip", registry.wheel, cut)
        else:
            page = f'<a href="/{SIX}">{SIX}</a>'.encode()
            self.answer("text/html", page, len(page))

    def answer(self, kind, content, cut):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut])

    def log_message(self, *_):
        """Says nothing."""


def names(image):
    return sorted(path.name for path in image.wheels.iterdir())


def test_each_package_has_its_wheel_for_the_image_and_not_for_this_machine(first):
    image, done = first
    assert names(image) == [DOCOPT, MARKUPSAFE, SIX]
    assert (done.fetched, done.built) == ([MARKUPSAFE, SIX], [DOCOPT])
    assert done.size == sum(path.stat().st_size for path in image.wheels.iterdir())


def test_a_wheel_built_of_its_source_is_in_the_lock_like_any_other(first):
    image, _ = first
    pin = locks.read(image.lock)["docopt"]
    assert sha256(image.wheels / DOCOPT) in pin.hashes
    assert len(pin.hashes) == 2  # the source's too, which was checked
    assert resolve.answers(image)


def test_the_same_source_gives_the_same_wheel(image):
    built = (image.wheels / DOCOPT).read_bytes()
    (image.wheels / DOCOPT).unlink()
    lock = image.lock.read_text()
    assert fetch.fetch(image).built == [DOCOPT]
    assert (image.wheels / DOCOPT).read_bytes() == built
    assert image.lock.read_text() == lock


def test_a_second_fetch_asks_nobody_and_touches_nothing(alone):
    before = {path: path.stat() for path in alone.wheels.iterdir()}
    done = fetch.fetch(alone)
    assert (done.kept, done.fetched, done.built, done.moved) == ([DOCOPT, MARKUPSAFE, SIX], [], [], [])
    assert {path: path.stat() for path in alone.wheels.iterdir()} == before


def test_hashes_are_remembered(alone):
    path = alone.project.parent / "build" / "wheels.json"
    text = path.read_text()
    path.write_text(text[:50])  # torn: all is read again
    assert len(fetch.fetch(alone).kept) == 3
    assert path.read_text() == text
    known = json.loads(text)
    known[str(alone.wheels / SIX)][-1] = "0" * 64
    path.write_text(json.dumps(known))
    with pytest.raises(WheelsError):  # so the file was not read again
        fetch.fetch(alone)


def test_a_torn_wheel_is_fetched_again_and_others_are_moved_away_and_never_removed(image):
    content = (image.wheels / SIX).read_bytes()
    (image.wheels / SIX).write_bytes(content[:-1000])
    others = ["six-1.14.0-py2.py3-none-any.whl", "toy-1-py3-none-any.whl", "no-wheel's-name.whl"]
    for name in others:
        (image.wheels / name).write_bytes(content)
    (image.wheels / "notes.txt").touch()
    done = fetch.fetch(image)
    folder = image.wheels.parent / "not-in-lock" / image.wheels.name
    assert (done.fetched, done.moved) == ([SIX], [folder / name for name in sorted([SIX, *others])])
    assert (folder / SIX).read_bytes() == content[:-1000]
    assert (image.wheels / SIX).read_bytes() == content
    assert names(image) == [DOCOPT, MARKUPSAFE, "notes.txt", SIX]
    (image.wheels / others[0]).write_bytes(b"another")
    assert fetch.fetch(image).moved == [folder / f"{others[0]}.2"]
    assert (folder / others[0]).read_bytes() == content


def test_a_wheel_for_another_python_does_not_stay(image):
    replace(image.path, "cp312", "cp313")
    replace(image.path, "3.12.13", "3.13.1")
    done = fetch.fetch(images.load("small", image.path.parent))
    assert [path.name for path in done.moved] == [MARKUPSAFE]
    assert done.fetched == [MARKUPSAFE.replace("cp312", "cp313")]


def test_a_source_that_is_not_pure_python_is_refused(image):
    image.requirements.write_text("six\ncrcmod==1.7  # C\n")
    resolve.lock(image)
    with pytest.raises(WheelsError, match=r"^crcmod==1.7 \(required by -r wheels/small.in\): no wheel matches.*choose"):
        fetch.fetch(image)
    assert names(image) == [DOCOPT, MARKUPSAFE, SIX]


def test_a_cut_download_is_tried_again(alone, registry, monkeypatch):
    monkeypatch.setattr(pip, "PAUSES", (0, 0, 0))
    (alone.wheels / SIX).unlink()
    registry.cuts = [5000, 0]
    assert fetch.fetch(alone).fetched == [SIX]
    assert registry.asked == 3


def test_a_file_that_is_not_the_locks_never_arrives(alone, registry):
    (alone.wheels / SIX).unlink()
    registry.wheel += b"more"
    with pytest.raises(WheelsError, match=r"six==1.15.0 .*the registry's file is not the one in the lock.*UPGRADE=1"):
        fetch.fetch(alone)
    assert names(alone) == [DOCOPT, MARKUPSAFE]


def test_without_a_network_what_is_missing_is_named_and_the_rest_stays(alone):
    (alone.wheels / SIX).unlink()
    with pytest.raises(WheelsError, match=r"^six==1.15.0 .*the registry cannot be reached; run again"):
        fetch.fetch(alone)
    assert names(alone) == [DOCOPT, MARKUPSAFE]


def packer(folder: Path, *arguments: str, shell: str = 'exec "$@"', launcher: tuple[str, ...] = ()):
    command = [*launcher, "sh", "-c", shell, "sh", sys.executable, "-m", "packer", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_on_a_full_disk_nothing_is_half_written(image, tmp_path):
    hashes = {sha256(path) for path in image.wheels.iterdir()}
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = (
        f"mount -t tmpfs -o size=200k tmpfs {disk} && cp -r pyproject.toml wheels {disk} && cd {disk} && "
        f'rm wheels/small/*.whl && dd if=/dev/zero of=fill bs=1k count=140 2>&1 && "$@"; code=$?; '
        f"sha256sum wheels/small/*.whl; ls -A wheels/small; exit $code"
    )
    unshare = ("unshare", "--user", "--map-root-user", "--mount")
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"]).returncode:
        pytest.skip("this host lets no user mount a small disk")
    run = packer(tmp_path, "wheels", "--image", "small", "--jobs", "1", shell=mount, launcher=unshare)
    assert run.returncode == 2, run.stderr
    assert "the disk is full" in run.stderr
    assert "of 3 packages missing" in run.stderr
    assert ".part" not in run.stdout
    assert {line.split()[0] for line in run.stdout.splitlines() if line.endswith(".whl") and " " in line} < hashes


def test_the_command_says_what_it_did(image):
    (image.wheels / SIX).unlink()
    (image.wheels / "toy-1-py3-none-any.whl").touch()
    run = packer(image.project.parent, "wheels", "--image", "small")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "wheels/small.lock: 3 packages, still what is asked for",
        "  not in the lock, or torn: moved to wheels/not-in-lock/small/toy-1-py3-none-any.whl",
        f"wheels/small: 3 wheels, {fetch.decimal(fetch.fetch(image).size)}; 1 new, 2 were there",
    ]


def test_an_unknown_image_is_an_error_with_the_nearest_known_one(image):
    run = packer(image.project.parent, "wheels", "--image", "smal")
    assert run.returncode == 2
    assert run.stderr == "error: wheels/smal.toml: no such image (did you mean 'small'?); use one of small\n"
