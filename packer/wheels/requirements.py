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

    def error(self, what: str, mend: str) -> RequirementsError:
        return RequirementsError(what, path=self.path, key=f"line {self.number}", mend=mend)


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
                raise line.error(f"{line.option} {line.value}: no such file", mend="correct it")
            if included.resolve() in (path.resolve(), *above):
                raise line.error(f"{line.option} {line.value} includes this file again", mend="remove the line")
            yield from _read(included, constrains or line.option == "-c", (*above, path.resolve()))


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        mend = "create it, empty if the project's own requirements are enough"
        raise RequirementsError("no such file", path=path, mend=mend) from None
    except OSError as error:
        raise RequirementsError(
            f"cannot be read ({error.strerror})", path=path, mend="correct its permissions"
        ) from error
    try:
        text = raw.decode("utf-16" if raw.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RequirementsError(
            f"is not {error.encoding.upper()}", path=path, key=f"line {line}", mend="save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise RequirementsError("contains a zero byte", path=path, key=f"line {line}", mend="save the file as UTF-8")
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
        raise line.error(f"{text}: a folder is not a wheel", mend=_instead("its wheel"))
    if name is None:
        known = ", ".join(dict.fromkeys([*INCLUDES.values(), *INDEXES.values()]))
        raise line.error(f"the option {option[1]} is not supported here, only {known} are", mend="remove the line")
    if (not value) is not (name == "--no-index") or len(value.split()) > 1:
        raise line.error(
            f"{text[:80]}: {name} takes {'no value' if name == '--no-index' else 'one value without spaces'}",
            mend="correct it",
        )
    if name in ("-r", "-c") and "://" in value:
        raise line.error(f"{text[:80]}: what is at an address may change unnoticed", mend="keep a copy here")
    if name == "--find-links" and "://" not in value and not (path.parent / value).is_dir():
        raise line.error(f"--find-links {value}: no such folder", mend="correct it")
    return Line(path, number, text, name, value, constrains)


def _check(line: Line) -> None:
    """A requirement that has a version and no address, as the lock has of each."""
    text = line.text
    if re.search(r"\s--hash\b", text) or text.startswith("--hash"):
        raise line.error("--hash: the lock already has the hashes of every package", mend="remove it here")
    if text.endswith("\\"):
        raise line.error("ends with a backslash", mend="write the requirement on one line, without --hash")
    if re.match(r"[\w.+-]+://|[./~]", text) or re.fullmatch(r"\S+\.(?:whl|zip|tar\.gz)", text):
        raise line.error(f"'{without_logins(text)[:80]}' is not a package's name", mend=_instead("the file"))
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise line.error(f"'{text[:80]}' is not a requirement ({why})", mend="correct it") from error
    if requirement.url is not None:
        told = f"{requirement.name} @ …: the lock contains versions, not addresses"
        raise line.error(told, mend=_instead("the file"))


def _instead(what: str) -> str:
    return f"put {what} into a folder, and write --find-links FOLDER and NAME==VERSION"


def _check_logins(line: Line) -> None:
    for login in LOGIN.findall(line.text):
        if not re.fullmatch(r"(?:[^:]*:)?\$\{[A-Z0-9_]+\}", login):
            raise line.error("an address contains a login", mend="write ${NAME} in its place, and set that variable")
    for name in VARIABLE.findall(line.text):
        if name not in os.environ:
            raise line.error(f"${{{name}}} is not set", mend="set that variable")


def without_logins(text: str) -> str:
    """What others said, to be shown: addresses in it keep no user and no password."""
    return LOGIN.sub("…", text)
