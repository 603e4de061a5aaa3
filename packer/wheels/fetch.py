"""`make wheels`: the lock's wheels in the image's folder, each fetched once, whole or not at all."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cascade.base.manifest import sha256
from packer.wheels import locks, pip
from packer.wheels.hash_cache import Hashes
from packer.wheels.images import Image
from packer.wheels.locks import Pin
from packer.wheels.pip import NoRoomError, NoWheelError, WheelsError

PART = ".part"  # the folder, in the image's, of what has not arrived yet
NOT_IN_LOCK = (
    "not-in-lock"  # the folder, beside the images', of wheels that were in the way: some may be the user's own
)
LOOK = 0.5  # seconds between two looks at the bytes that have arrived


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: names of wheels.

    moved: where those lie now that the lock does not list; size: bytes of all that it lists.
    """

    kept: list[str]
    fetched: list[str]
    built: list[str]
    moved: list[Path]
    size: int


def fetch(image: Image, jobs: int = 8, console: Console | None = None) -> Fetched:
    """Brings the wheels of `image.lock` into `image.wheels`; moves those that it does not list to `NOT_IN_LOCK`.

    A wheel that is there and has a hash of the lock stays. A package without a fitting wheel is built of its source
    when that is pure Python, and the wheel's hash is added to the lock. WheelsError says what cannot be had; what has
    arrived by then stays.
    """
    pins = locks.read(image.lock)
    image.wheels.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(image.wheels / PART, ignore_errors=True)
    with Hashes(image.project.parent / "build" / "wheels.json") as hashes:
        kept, others = _look(image, pins, hashes)
        moved = [_move_away(path) for path in others]
        missing = [pin for name, pin in pins.items() if name not in kept]
        arrived = _Arrivals(image, hashes)
        if missing:
            try:
                arrived.fetch(missing, jobs, console or Console(stderr=True))
            finally:
                shutil.rmtree(image.wheels / PART, ignore_errors=True)
    there = [*kept.values(), *arrived.fetched, *arrived.built]
    return Fetched(
        kept=_names(kept.values()),
        fetched=_names(arrived.fetched),
        built=_names(arrived.built),
        moved=moved,
        size=sum(path.stat().st_size for path in there),
    )


def _move_away(path: Path) -> Path:
    """Where the wheel lies then; what lies there already stays."""
    folder = path.parent.parent / NOT_IN_LOCK / path.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    endings = itertools.chain([""], (f".{number}" for number in itertools.count(2)))
    place = next(place for ending in endings if not (place := folder / f"{path.name}{ending}").exists())
    return path.rename(place)


def _names(paths: Iterable[Path]) -> list[str]:
    return sorted(path.name for path in paths)


def _look(image: Image, pins: dict[str, Pin], hashes: Hashes) -> tuple[dict[str, Path], list[Path]]:
    """The folder's wheels that the lock lists, by package, and the others: not in it, torn, for another machine."""
    fitting = frozenset(image.tags())
    wanted: dict[str, Path] = {}
    others = []
    for path in sorted(image.wheels.glob("*.whl")):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            others.append(path)
            continue
        pin = pins.get(canonicalize_name(name))
        fits = pin is not None and pin.version == version and not tags.isdisjoint(fitting) and name not in wanted
        if pin is not None and fits and hashes.of(path) in pin.hashes:
            wanted[pin.name] = path
        else:
            others.append(path)
    return wanted, others


class _Arrivals:
    """Wheels that are on their way; used once."""

    def __init__(self, image: Image, hashes: Hashes) -> None:
        self.image, self.hashes = image, hashes
        self.fetched: list[Path] = []
        self.built: list[Path] = []
        self.size = 0
        self._stop, self._lock = Event(), Lock()

    def fetch(self, pins: list[Pin], jobs: int, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}")
        with (
            Progress(*columns, TimeElapsedColumn(), console=console) as progress,
            ThreadPoolExecutor(max(1, jobs)) as pool,
        ):
            task = progress.add_task(str(self.image.wheels), total=len(pins), size="")
            pending = {pool.submit(self._one, pin) for pin in pins}
            done: list[Future[None]] = []
            try:
                while pending:
                    finished, pending = wait(pending, timeout=LOOK, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
                    done += finished
                    progress.update(task, completed=len(done), size=decimal(self.size + self._under_way()))
            except BaseException as error:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                if isinstance(error, NoRoomError):
                    raise self._full(error, len(pins)) from error
                raise

    def _one(self, pin: Pin) -> None:
        folder = self.image.wheels / PART / pin.name
        folder.mkdir(parents=True)
        try:
            built = False
            try:
                wheel = pip.download(pin, self.image, folder, self._stop)
            except NoWheelError:
                shutil.rmtree(folder)
                folder.mkdir()
                wheel, built = pip.build(pin, self.image, folder, self._stop), True
            self._keep(pin, wheel, built)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise NoRoomError(str(pin)) from error
            raise WheelsError(
                str(error), key=str(pin), mend="fix this and run again: what has arrived is kept"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, pin: Pin, wheel: Path, built: bool) -> None:
        """Moves the wheel into its place, whole; the next run looks for its hash."""
        digest = sha256(wheel)
        path = self.image.wheels / wheel.name
        with self._lock:
            if built:
                locks.add_hash(self.image.lock, pin, digest)
            wheel.replace(path)
            self.hashes.set(path, digest)
            (self.built if built else self.fetched).append(path)
            self.size += path.stat().st_size

    def _under_way(self) -> int:
        """Bytes of the files that are still being written."""
        size = 0
        for folder, _, names in os.walk(self.image.wheels / PART):
            for name in names:
                try:
                    size += (Path(folder) / name).stat().st_size
                except OSError:  # gone in the meantime
                    continue
        return size

    def _full(self, error: NoRoomError, wanted: int) -> NoRoomError:
        left = wanted - len(self.fetched) - len(self.built)
        free = decimal(shutil.disk_usage(self.image.wheels).free)
        return NoRoomError(
            f"the disk is full: {free} free, no room for {error}, {left} of {wanted} packages missing",
            path=self.image.wheels,
            mend="free some space and run again: what has arrived is kept",
        )
