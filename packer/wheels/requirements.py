"""An image's requirements file, as uv and the proofs both read it: what uv would pass over unsaid is refused here."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from cascade.base.errors import CascadeError

# uv's names of options, short ones too, and what each is called here.
INCLUDES = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
INDEXES = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-index": "--no-index",
}
OPTION = re.compile(r"(--?[A-Za-z][\w-]*)(?:\s*=\s*|\s+|$)(.*)")
COMMENT = re.compile(r"(?:^|\s+)#.*")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # pip and uv both put its value there
LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class RequirementsError(CascadeError):
    """Requirements that cannot be read; names the file, the line and the fix."""


@dataclass(frozen=True)
class Line:
    """A line without its comment. `option` is empty for a requirement, else `text` is `value` behind the option.

    `constrains`: it stands in a file that `-c` names, and asks for nothing.
    """

    path: Path
    number: int
    text: str
    option: str = ""
    value: str = ""
    constrains: bool = False

    @property
    def where(self) -> str:
        return f"{self.path}: line {self.number}"


def read(path: Path) -> list[Line]:
    """The file's lines, then those of the files that it includes; RequirementsError for the first that is not proved.

    UTF-16 and UTF-8 are read by their byte-order marks, UTF-8 without one too.
    """
    return list(_read(path, False, ()))


def wanted(lines: list[Line]) -> list[Line]:
    """Those that ask for a package."""
    return [line for line in lines if not line.option and not line.constrains]


def _read(path: Path, constrains: bool, above: tuple[Path, ...]) -> Iterator[Line]:
    lines = []
    for number, raw in enumerate(_text(path).splitlines(), 1):
        text = COMMENT.sub("", raw).strip()
        if text:
            lines.append(_line(path, number, text, constrains))
    yield from lines
    for line in lines:
        if line.option in ("-r", "-c"):
            included = path.parent / line.value
            if not included.is_file():
                raise RequirementsError(f"{line.where}: {line.option} {line.value} is no file; correct it")
            if included.resolve() in (path.resolve(), *above):
                raise RequirementsError(f"{line.where}: {line.option} {line.value} leads back here; remove the line")
            yield from _read(included, constrains or line.option == "-c", (*above, path.resolve()))


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        mend = "make it, empty if the project's own requirements are enough"
        raise RequirementsError(f"{path}: no such file; {mend}") from None
    except OSError as error:
        raise RequirementsError(f"{path}: cannot be read ({error.strerror}); correct its access") from error
    try:
        text = raw.decode("utf-16" if raw.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RequirementsError(f"{path}: line {line}: is not {error.encoding.upper()}; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise RequirementsError(f"{path}: line {line}: has a zero byte; save the file as UTF-8")
    return text


def _line(path: Path, number: int, text: str, constrains: bool) -> Line:
    line = Line(path, number, text, constrains=constrains)
    option = OPTION.fullmatch(text)
    _check_logins(line)
    if option is None:
        _check(line)
        return line
    name, value = INCLUDES.get(option[1]) or INDEXES.get(option[1]), option[2]
    if option[1] in ("-e", "--editable"):
        raise RequirementsError(f"{line.where}: {text}: a folder is no wheel; {_instead('its wheel')}")
    if name is None:
        known = ", ".join(dict.fromkeys([*INCLUDES.values(), *INDEXES.values()]))
        raise RequirementsError(
            f"{line.where}: the option {option[1]} is not obeyed here, only {known} are; remove the line"
        )
    if (not value) is not (name == "--no-index") or len(value.split()) > 1:
        raise RequirementsError(f"{line.where}: {text[:80]}: {name} has one value, without spaces; correct it")
    if name in ("-r", "-c") and "://" in value:
        raise RequirementsError(f"{line.where}: {text[:80]}: what an address holds may change unseen; keep a copy here")
    if name == "--find-links" and "://" not in value and not (path.parent / value).is_dir():
        raise RequirementsError(f"{line.where}: --find-links {value}: no such folder; correct it")
    return Line(path, number, text, name, value, constrains)


def _check(line: Line) -> None:
    """A requirement that has a version and no address, as the lock has of each."""
    text, where = line.text, line.where
    if re.search(r"\s--hash\b", text) or text.startswith("--hash"):
        raise RequirementsError(f"{where}: --hash: the lock has the hashes of every package; remove it here")
    if text.endswith("\\"):
        raise RequirementsError(f"{where}: \\ at its end: write the requirement on one line, without --hash")
    if re.match(r"[\w.+-]+://|[./~]", text) or re.fullmatch(r"\S+\.(?:whl|zip|tar\.gz)", text):
        raise RequirementsError(f"{where}: '{without_logins(text)[:80]}' is no package's name; {_instead('the file')}")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise RequirementsError(f"{where}: '{text[:80]}' is no requirement ({why}); correct it") from error
    if requirement.url is not None:
        told = f"{requirement.name} @ …: the lock names versions, no addresses"
        raise RequirementsError(f"{where}: {told}; {_instead('the file')}")


def _instead(what: str) -> str:
    return f"put {what} into a folder, and write --find-links FOLDER and NAME==VERSION"


def _check_logins(line: Line) -> None:
    for login in LOGIN.findall(line.text):
        if not re.fullmatch(r"(?:[^:]*:)?\$\{[A-Z0-9_]+\}", login):
            raise RequirementsError(f"{line.where}: a login stands in an address; write ${{NAME}} in its place, and "
                                    f"set that variable")  # fmt: skip
    for name in VARIABLE.findall(line.text):
        if name not in os.environ:
            raise RequirementsError(f"{line.where}: ${{{name}}} is not set; set that variable")


def without_logins(text: str) -> str:
    """What others said, to be shown: addresses in it keep no user and no password."""
    return LOGIN.sub("…", text)
