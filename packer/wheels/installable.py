"""What uv refuses in a wheel, told before it does, and what it passes over: by its versions 0.11.7 and 0.13.9.

What either refuses is refused: the kernel takes the lock's, which a newer lock replaces.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from configparser import ConfigParser, Error

SCHEMES = {"purelib", "platlib", "scripts", "headers", "data"}  # of NAME-VERSION.data/
SCRIPT = re.compile(r"[\w.-]+[ \t]*:[ \t]*[\w.-]+([ \t]*\[[^\]\n]*\])?[ \t]*")  # module:callable [extras]
RESERVED = re.compile(r"python[\d.]*w?")  # no script may take the interpreter's place
LARGEST_SIZE = 2**64
SHOWN = 80  # characters of a bad row
FEW = 3  # files that a note names


def check(archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The wheel's .dist-info, and notes on what the installer passes over; ValueError with what it refuses."""
    sizes = _entries(archive)
    folders = sorted({file.partition("/")[0] for file in sizes if "/" in file})
    infos = [folder for folder in folders if folder.endswith(".dist-info")]
    if len(infos) != 1:
        raise ValueError(f"it has {' and '.join(infos)}, not one .dist-info" if infos else "it has no .dist-info")
    [info] = infos
    texts = {name: _text(archive, f"{info}/{name}") for name in ("RECORD", "WHEEL")}
    _version(texts["WHEEL"])
    _data(sizes, f"{info.removesuffix('.dist-info')}.data/")
    if f"{info}/entry_points.txt" in sizes:
        _scripts(_text(archive, f"{info}/entry_points.txt"))
    return info, _notes(_record(texts["RECORD"]), sizes)


def _entries(archive: zipfile.ZipFile) -> dict[str, int]:
    """The size of each file; two entries of one name must be the same bytes."""
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        first = found.setdefault(entry.filename, entry)
        if (first.CRC, first.file_size) != (entry.CRC, entry.file_size):
            raise ValueError(f"it contains {entry.filename} twice, with different contents")
    for file in found:
        if not file.isprintable():
            raise ValueError(f"it contains a file with a control character in its name: {file!r}")
        for end in (at for at, letter in enumerate(file) if letter == "/"):
            if file[:end] in found:
                raise ValueError(f"{file[:end]} is a file and a folder in it")
    return {file: entry.file_size for file, entry in found.items()}


def _text(archive: zipfile.ZipFile, name: str) -> str:
    short = name.rpartition("/")[2]
    try:
        return archive.read(name).decode("utf-8")
    except KeyError:
        raise ValueError(f"it has no {short}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{short}, line {line}: is not UTF-8") from None


def _record(text: str) -> list[tuple[str, str]]:
    """(file, size) of every row."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    found = []
    for row in rows:
        if not row:
            continue
        where = f"RECORD, line {rows.line_num}: '{' '.join(','.join(row).split())[:SHOWN]}'"
        if len(row) != 3:
            why = "; a file's name with a comma requires quotes" if len(row) > 3 else ""
            raise ValueError(f"{where} has {len(row)} fields, not 3{why}")
        digits = row[2].removeprefix("+")
        if row[2] and not (digits.isascii() and digits.isdigit() and int(digits) < LARGEST_SIZE):
            raise ValueError(f"{where}: its third field is not a size; a file's name with a comma requires quotes")
        found.append((row[0], digits))
    return found


def _version(text: str) -> None:
    head = text.partition("\n\n")[0].splitlines()
    told = next((line.partition(":")[2].strip() for line in head if line.startswith("Wheel-Version:")), None)
    if told is None:
        raise ValueError("WHEEL has no Wheel-Version")
    major, dot, _ = told.partition(".")
    if not dot or major not in ("0", "1"):
        raise ValueError(f"WHEEL: Wheel-Version is '{told}', and the installer supports 1.x")


def _data(sizes: dict[str, int], data: str) -> None:
    for file in sizes:
        scheme = file.removeprefix(data).partition("/")[0]
        if file.startswith(data) and scheme and scheme not in SCHEMES:
            raise ValueError(f"{file} is in no folder that a wheel may have ({', '.join(sorted(SCHEMES))})")


def _scripts(text: str) -> None:
    parser = ConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None, default_section="", strict=True
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text, "entry_points.txt")
    except Error as error:
        raise ValueError(f"entry_points.txt cannot be read: {' '.join(str(error).split())[:200]}") from None
    for group in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(group) if parser.has_section(group) else ():
            row = f"entry_points.txt: '{name} = {' '.join(value.split())}'"
            if not SCRIPT.fullmatch(value):
                raise ValueError(f"{row} names no callable as module:callable")
            if "/" in name or name in (".", "..") or RESERVED.fullmatch(name):
                raise ValueError(f"{row} makes a script with an invalid name")


def _notes(record: list[tuple[str, str]], sizes: dict[str, int]) -> list[str]:
    """What uv installs all the same: it goes by the archive, not by RECORD."""
    named = {file if file in sizes else file.replace("\\", "/").removeprefix("/"): size for file, size in record}
    kinds = {
        "paths that begin with /": [file for file, _ in record if file.startswith("/") and file not in sizes],
        "paths with a backslash": [file for file, _ in record if "\\" in file and file not in sizes],
        "files that are not in the wheel": [file for file in named if file not in sizes and not file.endswith("/")],
        "a wrong size": [file for file, size in named.items() if size and sizes.get(file, int(size)) != int(size)],
    }
    return [
        f"its RECORD has {kind}: {', '.join(files[:FEW])}{f' and {len(files) - FEW} more' if len(files) > FEW else ''}"
        for kind, files in kinds.items()
        if files
    ]
