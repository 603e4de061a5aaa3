"""What a run left behind, fetched: page by page, each file whole or as `.part`, from where it was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cascade.base.printable import printable
from packer.kaggle import runs
from packer.kaggle.runs import Run, RunError
from packer.kaggle.session import Session
from packer.kaggle.state import write_whole

PAGES = 5000  # of 200 files each
OF = ".output-of"  # the file that says whose output a folder has
CHUNK = 1 << 14  # bytes; what has come of one is lost with its connection
TIMEOUT = (10.0, 60.0)  # seconds, to connect and between two pieces


def names(session: Session, run: Run) -> Iterator[str]:
    """Lists the names of all files of the run's output, as Kaggle gives them."""
    for page in _pages(session, run):
        yield from (file.file_name for file in page.files)


def fetch(session: Session, run: Run, folder: Path, said: Callable[[str, int, int], None]) -> list[Path]:
    """The run's output and log in `folder`, each file that is not there yet; returns those that came.

    What a run left never changes, so a whole file is not asked for again. `said` is told a file's name, the bytes of it
    that are here and its size. RunError for a run that has not ended, for a folder that holds anything else, for a file
    name that leads out of it and for a full disk.
    """
    state = runs.status(session, run)
    if not state.ended:
        raise RunError(
            f"is {state.name}, and its output exists only once it has ended",
            key=str(run),
            mend="wait for it: make status WAIT=1",
        )
    try:
        return _fetch(session, run, folder, said)
    except OSError as error:  # of this machine: the network's has become a KaggleError
        raise RunError(
            f"its output cannot be written to {folder} ({error.strerror})",
            key=str(run),
            mend="free some space and fetch it again",
        ) from error


def _fetch(session: Session, run: Run, folder: Path, said: Callable[[str, int, int], None]) -> list[Path]:
    _claim(folder, run)
    came = []
    for page in _pages(session, run):
        for file in page.files:  # at once: the addresses are good for minutes only
            path = folder / _safe(file.file_name, run)
            if not path.exists():
                session.call(f"{file.file_name} of {run}", partial(_download, file.url, path, said))
                came.append(path)
    write_whole(folder / f"{run.slug}.log", "".join(f"{line}\n" for line in runs.readable(runs.log(session, run))))
    return came


def _claim(folder: Path, run: Run) -> None:
    """Makes the folder this run's; RunError for one that holds anything else: a file there would pass for the run's."""
    if folder.exists() and not folder.is_dir():
        raise RunError("is a file", path=folder, mend="pass --out with a folder")
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / OF
    if mark.is_file():
        if (of := mark.read_text(encoding="utf-8", errors="replace").strip()) != str(run):
            raise RunError(
                f"contains the output of {of}, not of {run}", path=folder, mend="pass --out with another folder"
            )
    elif strange := sorted(path.name for path in folder.iterdir()):
        raise RunError(
            f"contains {strange[0]}, which may not be of {run}",
            path=folder,
            mend="pass --out with a new or empty folder",
        )
    else:
        write_whole(mark, f"{run}\n")


def _pages(session: Session, run: Run) -> Iterator[Any]:
    token, seen, read = "", {""}, 0
    while read < PAGES:
        page = runs.page(session, run, token)
        yield page
        read += 1
        token = page.next_page_token
        if not token:
            return
        if token in seen:
            break
        seen.add(token)
    raise RunError(
        f"Kaggle's list of its output does not end after {read} pages", key=str(run), mend="try again, or fetch by hand"
    )


def _safe(name: str, run: Run) -> PurePosixPath:
    path = PurePosixPath(name or "..")
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise RunError(
            f"its output has a file called '{name}', which leads outside the folder",
            key=str(run),
            mend="fetch it by hand",
        )
    return path


def _download(url: str, path: Path, said: Callable[[str, int, int], None]) -> None:
    """One file, from the end of its `.part` where the server takes a Range. Signed addresses want no login."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    while not _comes(url, part, path.name, said):
        pass
    part.replace(path)


def _comes(url: str, part: Path, name: str, said: Callable[[str, int, int], None]) -> bool:
    """Whether the part is the whole file after one more answer; ConnectionError where that cannot be told.

    An answer without a length may have been cut: what is asked for after its end then tells whether it was the end.
    """
    import requests

    begun = part.exists()
    before = have = part.stat().st_size if begun else 0
    # Compressed, a range would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if begun else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        spread = answer.headers.get("Content-Range", "")
        if answer.status_code == 416:  # the part is the whole, or no beginning of it
            if spread == f"bytes */{have}":
                return True
            part.unlink(missing_ok=True)
            raise requests.ConnectionError(f"{name}: the part received does not match; starting again")
        answer.raise_for_status()
        if answer.status_code == 206 and not spread.startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError(f"{name}: another range than the requested one arrived; starting again")
        have = have if answer.status_code == 206 else 0
        told = spread.rpartition("/")[2] if answer.status_code == 206 else answer.headers.get("Content-Length", "")
        size = int(told) if told.isdigit() else None
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            for piece in answer.iter_content(CHUNK):
                file.write(piece)
                have += len(piece)
                said(name, have, size or have)
        if size is None and answer.status_code == 200 and answer.headers.get("Transfer-Encoding") == "chunked":
            return True  # a cut of it is an error of its own
    if size is None or before >= have < size:
        raise requests.ConnectionError(f"{name}: arrived without its length, or stopped arriving")
    if have > size:
        part.unlink()
        raise requests.ConnectionError(f"{name}: is longer than announced; starting again")
    return have == size


@contextmanager
def downloading() -> Iterator[Callable[[str, int, int], None]]:
    """A bar of the file that is coming."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("output")
        yield lambda name, have, size: progress.update(task, description=printable(name), completed=have, total=size)
