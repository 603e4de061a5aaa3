"""Requirements files as people's editors and tools write them: the proofs ask for what uv locks, or one error says why.

Packages on an index or in a folder that only the requirements or the environment name are locked and fetched alike.
"""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from packer.proofs.subject import Subject
from packer.wheels import fetch, images, indexes, requirements, resolve
from packer.wheels.images import Image
from packer.wheels.locks import LockError
from packer.wheels.pip import WheelsError
from packer.wheels.requirements import RequirementsError
from tests.wheelmaker import make_image, make_wheel

SIX = "six==1.15.0\n"


def roots(image: Image) -> list[str]:
    bundle = Subject(image, {}, [], [], [], image.path.parent)
    return [f"{each.chain[-1]}: {each.requirement}" for each in bundle.roots()]


@pytest.mark.parametrize("text", [
    SIX.encode("utf-8-sig"), SIX.encode("utf-16"), b"\xfe\xff" + SIX.encode("utf-16-be"), SIX.encode(),
    b"six==1.15.0\t# a comment after a tab\n", b"# none\r\n\r\n  six==1.15.0 # one\r\n", b"six==1.15.0",
    b"six==1.15.0\nidna; python_version < '3'\n",
])  # fmt: skip
def test_however_it_is_written_the_requirement_is_the_same(tmp_path: Path, text: bytes) -> None:
    image = make_image(tmp_path, [])
    image.requirements.write_bytes(text)
    assert roots(image) == ["tiny.in: six==1.15.0"]


def test_included_requirements_are_asked_for_and_constraints_are_not(tmp_path: Path) -> None:
    image = make_image(tmp_path, [])
    image.requirements.write_text("--requirement=more/base.in\n-c ../limits.txt\nrich[jupyter]>=13\n")
    (tmp_path / "wheels" / "more").mkdir()
    (tmp_path / "wheels" / "more" / "base.in").write_text("six\n")
    (tmp_path / "limits.txt").write_text("idna==3.10\n-r wheels/more/limits.txt\n")
    (tmp_path / "wheels" / "more" / "limits.txt").write_text("attrs==25.1.0\n")
    assert roots(image) == ["tiny.in: rich[jupyter]>=13", "base.in: six"]
    assert [line.text for line in requirements.read(image.requirements) if not line.option] == [
        "rich[jupyter]>=13", "six", "idna==3.10", "attrs==25.1.0",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [
    (b"s\0i\0x\0\n\0", "line 1: contains a zero byte; save the file as UTF-8"),
    (b"# x\n# caf\xe9\nsix\n", "line 2: is not UTF-8; save it as UTF-8"),
    (b"\xff\xfes\0i", "line 1: is not UTF-16"),
    (b"six==1.15.0 \\\n    --hash=sha256:00\n", r"line 1: ends with a backslash; write the requirement on one line"),
    (b"\nsix==1.15.0 --hash=sha256:00\n", "line 2: --hash: the lock already has the hashes of every package; remove"),
    (b"six\\\n==1.15.0\n", r"line 1: ends with a backslash"),
    (b"-e .\n", "line 1: -e .: a folder is not a wheel; put its wheel into a folder, and write --find-links FOLDER"),
    (b"--editable=../x\n", "line 1: --editable=../x: a folder is not a wheel"),
    (b"./six.whl\n", "line 1: './six.whl' is not a package's name; put the file into a folder"),
    (b"six-1.15.0-py2.py3-none-any.whl\n", "line 1: 'six-1.15.0-py2.py3-none-any.whl' is not a package's name"),
    (b"git+https://example.org/six.git\n", "line 1: 'git.https://example.org/six.git' is not a package's name"),
    (b"six @ https://example.org/six-1.0.whl\n", "line 1: six @ …: the lock contains versions, not addresses"),
    (b"--pre\nsix\n", "line 1: the option --pre is not supported here, only -r, -c, --index-url, --extra-index-url"),
    (b"--trusted-host example.org\n", "line 1: the option --trusted-host is not supported here"),
    (b"-rmore.in\n", "line 1: '-rmore.in' is not a requirement"),
    (b"-r more.in\n", "line 1: -r more.in: no such file; correct it"),
    (b"-r https://example.org/r.txt\n", "line 1: -r https://example.org/r.txt: what is at an address may change"),
    (b"six\n-r tiny.in\n", "line 2: -r tiny.in includes this file again; remove the line"),
    (b"--find-links nowhere\n", "line 1: --find-links nowhere: no such folder; correct it"),
    (b"--index-url\n", "line 1: --index-url: --index-url takes one value"),
    (b"--extra-index-url https://${NOT_SET_HERE}@example.org\n", r"line 1: \$\{NOT_SET_HERE\} is not set; set that"),
])  # fmt: skip
def test_what_cannot_be_proved_is_one_error_with_its_line(tmp_path: Path, text: bytes, said: str) -> None:
    image = make_image(tmp_path, [])
    image.requirements.write_bytes(text)
    for reader in (resolve.lock, roots):
        with pytest.raises(RequirementsError, match=rf"tiny\.in: {said}") as error:
            reader(image)
        assert (error.value.path, error.value.key) == (image.requirements, said.partition(":")[0])
        assert error.value.mend and "\n" not in str(error.value)
    assert not image.lock.exists()


@pytest.mark.parametrize("login", ["user:hunter22", "hunter22", "${USER}:hunter22"])
def test_a_login_in_an_address_is_refused_and_not_shown(tmp_path: Path, login: str) -> None:
    image = make_image(tmp_path, [])
    image.requirements.write_text(f"--extra-index-url https://{login}@example.org/simple\nsix\n")
    with pytest.raises(RequirementsError, match=r"line 1: an address contains a login; write \$\{NAME\}") as error:
        resolve.lock(image)
    assert "hunter22" not in str(error.value)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, list[str | None]]]:
    """An index on loopback that has one package, only-here; what it was asked with."""
    served = tmp_path / "served" / "simple" / "only-here"
    wheel = make_wheel(served, "only-here")
    (served / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/simple", server.seen  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """No index is known but what a test names; what a test names elsewhere is empty."""
    for name in (*indexes.ONE, *indexes.SEVERAL, *(each for known in indexes.SEVERAL.values() for each in known)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    (tmp_path / "empty").mkdir()
    return make_image(tmp_path / "project", [])


def is_had(image: Image, package: str) -> bool:
    resolve.lock(image)
    assert "://" not in image.lock.read_text()
    return fetch.fetch(image).fetched == [f"{package}-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("option", ["--extra-index-url http://{}", "-i http://{} # here"])
def test_an_index_of_the_requirements_is_asked_by_lock_and_fetch(
    image: Image, index: tuple[str, list[str | None]], option: str
) -> None:
    image.requirements.write_text(f"{option.format(index[0])}\nonly-here\n")
    assert is_had(image, "only_here")
    assert roots(image) == ["tiny.in: only-here"]


@pytest.mark.parametrize("name", ["PIP_EXTRA_INDEX_URL", "UV_INDEX"])
def test_an_index_of_one_tools_environment_is_known_to_both(
    image: Image, index: tuple[str, list[str | None]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, ("named=" if name == "UV_INDEX" else "") + f"http://{index[0]}")
    image.requirements.write_text("only-here\n")
    assert is_had(image, "only_here")


def test_a_login_comes_from_the_environment_and_stays_there(
    image: Image, index: tuple[str, list[str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "hunter22")
    image.requirements.write_text(f"--extra-index-url http://user:${{INDEX_TOKEN}}@{index[0]}\nonly-here\n")
    assert is_had(image, "only_here")
    assert "Basic dXNlcjpodW50ZXIyMg==" in index[1]  # user:hunter22
    kept = [path for path in image.project.parent.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"hunter22" in path.read_bytes()]
    image.requirements.write_text(f"--extra-index-url http://${{INDEX_TOKEN}}@{index[0]}\nnot-there\n")
    with pytest.raises(LockError, match="not-there") as error:
        resolve.lock(image)
    assert "hunter22" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_folder_of_wheels_is_looked_into_by_lock_and_fetch(image: Image, encoding: str) -> None:
    make_wheel(image.path.parent / "more" / "links", "only-there")
    image.requirements.write_text("-r more/base.in\n")
    (image.path.parent / "more" / "base.in").write_text("-f links\t# beside it\nonly-there\n", encoding=encoding)
    assert is_had(image, "only_there")
    assert roots(image) == ["base.in: only-there"]


def test_a_folder_that_uv_alone_is_told_is_known_to_pip(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", str(make_wheel(tmp_path / "links", "only-there").parent))
    image.requirements.write_text("only-there\n")
    assert is_had(image, "only_there")


def test_a_package_that_no_index_has_is_told_where_to_name_one(image: Image) -> None:
    image.requirements.write_text("only-here\n")
    with pytest.raises(LockError, match=r"tiny.in: uv finds .*only-here.*name where it is in .*tiny.in: --extra-index"):
        resolve.lock(image)
    image.lock.write_text(f"only-here==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(WheelsError, match=r"only-here==1.0: .*name where it is in .*tiny.in: --extra-index-url URL"):
        fetch.fetch(image)


def test_an_index_without_dates_is_told_how_to_be_taken(image: Image, index: tuple[str, list[str | None]]) -> None:
    facts = image.path.read_text()
    image.path.write_text(f'exclude_newer = "2024-01-01"\n{facts}')
    image.requirements.write_text(f"--extra-index-url http://{index[0]}\nonly-here\n")
    with pytest.raises(LockError, match=r"where an index gives no dates, write newer = \{ NAME = 'any' \} in .*tiny"):
        resolve.lock(images.load("tiny", image.path.parent))
    image.path.write_text(f'exclude_newer = "2024-01-01"\nnewer = {{ only-here = "any" }}\n{facts}')
    assert is_had(images.load("tiny", image.path.parent), "only_here")
