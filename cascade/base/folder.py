"""Whose a folder is: a run's own, known by the record it left there, or somebody else's, which nothing here touches.

Needs only the standard library, as the kernel's image has no more.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.base import atomic
from cascade.base.errors import StageError

FILE = "run.json"
LOCK = "run.lock"
PREVIOUS = "previous"
DIGEST = re.compile(r"[0-9a-f]{64}")
# What a run leaves whatever its config; its record is not among them.
RESULT = "result.json"  # how a run ended
ALWAYS = ("submission.csv", "submission-zero.csv", "ledger.jsonl", "report.html", "submission-last.csv", RESULT)
LOGS, NOTEBOOKS, CACHE = "logs", "notebooks", "cache"
HEAD = 1 << 20  # bytes in which a file's mark is looked for
PARTS = ".parts"  # the suffix of a folder of chunks
BESIDE_STAGES = ("conductor", "page", "embed")  # what else has a log


def read(run: Path) -> dict[str, Any] | None:
    """The record in the folder; None where there is none, or one that no run wrote."""
    try:
        found = json.loads((run / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("identity"), dict) and isinstance(found.get("stages"), dict):
        return found
    # Before there were stages in it, it was the identity alone.
    if "config" in found and all(isinstance(value, str) and DIGEST.fullmatch(value) for value in found.values()):
        return {"identity": found, "stages": {}}
    return None


def update(run: Path, **facts: Any) -> None:
    """Writes the record with these facts in place of its own, whole."""
    told = {"identity": {}, "stages": {}} | (read(run) or {}) | facts
    atomic.write_text(run / FILE, json.dumps(told, indent=1) + "\n")


def check(run: Path) -> None:
    """StageError where `run` is neither new, nor empty, nor a run's, or what is to be kept in it has no place."""
    if run.exists() and not run.is_dir():
        raise StageError("is a file", path=run, mend="pass --out with a folder")
    if read(run) is None:
        _refuse_strange(run, [LOCK], f"no run made it ({FILE} is missing, or not a run's)")
    if (run / PREVIOUS).exists() and read(run / PREVIOUS) is None:
        _refuse_strange(run / PREVIOUS, [], "is where a run keeps the previous one, and no run made it")


def claim(run: Path) -> None:
    """Makes the folder a run's, as `check` lets it; one that is already stays as it is."""
    check(run)
    if read(run) is None:
        update(run)


def check_replaceable(folder: Path, names: Iterable[str], option: str = "--out") -> None:
    """StageError where `folder`, which is about to be replaced, has anything but files of these names."""
    if folder.exists() and not folder.is_dir():
        raise StageError("is a file", path=folder, mend=f"pass {option} with a folder")
    _refuse_strange(folder, list(names), "it would be replaced", option)


def mark(command: str) -> str:
    """What a file has near its beginning that this command made, so that it may make it anew."""
    return f"made by python -m cascade {command}"


def check_file(path: Path, command: str, option: str = "--out") -> None:
    """StageError where `path`, which the command is about to write, is a folder or a file that it did not make."""
    if path.is_dir():
        raise StageError("is a folder", path=path, mend=f"pass {option} with a file")
    if path.exists():
        with path.open("rb") as file:
            if mark(command).encode() not in file.read(HEAD):
                raise StageError(
                    f"exists, and {command} did not make it",
                    path=path,
                    mend=f"pass {option} with another path, or move it away",
                )


def _refuse_strange(folder: Path, known: Collection[str], why: str, option: str = "--out") -> None:
    strange = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    if strange:
        raise StageError(
            f"contains {strange[0]}, and {why}", path=folder, mend=f"pass {option} with a new or empty folder"
        )


def made(run: Path, record: dict[str, Any]) -> Iterator[Path]:
    """Yields the files, by exact names, that the run of this record has made and that are there.

    Its record is not among them, nor are its embeddings, which are known by what they were made of.
    """
    stages = {name: told for name, told in record["stages"].items() if isinstance(told, dict) and _is_plain(name)}
    yield from _there(run / name for name in ALWAYS)
    for told in stages.values():
        if _is_plain(table := str(told.get("table", ""))):
            yield from table_files(run / table)
    for name in (*stages, *BESIDE_STAGES):
        own = re.compile(rf"{re.escape(name)}(-\d+)?\.log")
        yield from _there(sorted(path for path in (run / LOGS).glob("*.log") if own.fullmatch(path.name)))
        yield from _there([run / NOTEBOOKS / f"{name}.ipynb"])


def table_files(table: Path) -> Iterator[Path]:
    """A stage's table and the chunks it is made of, as far as they are there."""
    yield from _there([table])
    yield from chunk_files(table)


def chunk_files(table: Path) -> Iterator[Path]:
    """The finished chunks of a stage's table."""
    yield from _there(sorted(table.with_suffix(PARTS).glob("[0-9][0-9][0-9][0-9][0-9].parquet")))


def embeddings(run: Path) -> Iterator[Path]:
    """What the run keeps of its encoders' work."""
    yield from _there(sorted(path for path in (run / CACHE).glob("*.npy") if DIGEST.fullmatch(path.stem)))


def _there(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.is_file() or path.is_symlink())


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None


def remove(paths: Iterable[Path]) -> None:
    """Removes files, and the folders that are empty without them."""
    gone = list(paths)
    for path in gone:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in gone}:
        if folder.suffix == PARTS or folder.name in (LOGS, NOTEBOOKS):
            _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def set_aside(run: Path, planned: Mapping[str, str]) -> None:
    """Moves what the run's record says it made into `previous/`, in place of what is there.

    submission.csv is copied, so that there is one at every moment. `planned`: the tables of the stages to come, by
    stage: one that lies there without a record must not pass for theirs.
    """
    record = read(run)
    if record is None:
        return
    began = bool(record["stages"])
    record["stages"] = {name: {"table": table} for name, table in planned.items()} | record["stages"]
    files = list(made(run, record))
    if not began:  # submission zero alone, which the kernel has written before the conductor
        files = [path for path in files if path.name not in ALWAYS[:2]]
    if not files:
        return
    previous = run / PREVIOUS
    older = read(previous)
    if older is not None:
        remove([*made(previous, older), previous / FILE])
    for path in files:
        kept = previous / path.relative_to(run)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if path.name == ALWAYS[0]:
            shutil.copyfile(path, kept)
        else:
            path.replace(kept)
    remove(path for path in files if path.name != ALWAYS[0])  # the folders that are empty now
    atomic.write_text(previous / FILE, json.dumps(record, indent=1) + "\n")
