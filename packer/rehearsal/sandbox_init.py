"""`python -m packer.rehearsal.sandbox_init RECORD`: the first process of a room, which furnishes it, runs and measures.

Runs in namespaces of its own but still sees this machine's files; only what it starts is shut into the room.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from packer.rehearsal.violations import LOG, SCRATCH, WORKING

LOOK = 0.25  # seconds between two looks at the kept folder
FAILED = "\n✗ ".encode()  # how the kernel's line of a failed check or stage begins
LAST_WORDS = 2.0  # seconds after it that the run still has to say more
MEMORY_EVERY = 1.0  # seconds between two looks at memory
SHARE = 0.03  # of the time, spent on counting what lies in scratch: tens of thousands of files
BLOCK = 4096  # bytes: a tmpfs that has not so many left is full
SHOWN = 3  # of the largest files
LARGEST = 10**8  # bytes of a file that is copied out of the room: tables, notebooks, the ledger
FLAGS = {os.ST_NOSUID: "nosuid", os.ST_NODEV: "nodev", os.ST_NOEXEC: "noexec"}


def furnish(asked: dict[str, Any], root: Path) -> None:
    """Mounts all that the room shows, and makes its root itself read-only."""
    folder = root.parent
    _mount("-t", "proc", "proc", "/proc")
    _run("ip", "link", "set", "lo", "up")
    _mount("-t", "tmpfs", "-o", "mode=755,size=16m", "room", root)
    scratch = root / SCRATCH.lstrip("/")
    scratch.mkdir(parents=True)
    _mount("--bind", folder / "scratch", scratch)  # first: what is shown may itself lie below it
    for place, source in asked["shown"].items():
        _show(Path(source), root / place.lstrip("/"))
    for place, source in asked["laid"].items():
        below = root / place.lstrip("/")
        _mount("-t", "overlay", "-o", f"lowerdir={source}:{below}", "laid", below)
    names = root / "etc" / "resolv.conf"
    if names.is_file() and not names.is_symlink():  # a link leads out of the room, and loopback is asked without it
        (folder / "record" / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="utf-8")
        _mount("--bind", folder / "record" / "resolv.conf", names)
    for name in ("proc", "sys", "dev", "tmp", "kaggle/working", LOG.lstrip("/")):
        (root / name).mkdir(parents=True, exist_ok=True)
    _mount("-t", "proc", "proc", root / "proc")
    for name in ("sys", "dev"):
        _mount("--rbind", f"/{name}", root / name)
    if (root / "dev/shm").is_dir():
        _mount("-t", "tmpfs", "shm", root / "dev/shm")
    _mount("-t", "tmpfs", "-o", f"mode=755,size={asked['working']}", "working", root / WORKING.lstrip("/"))
    _mount("--bind", folder / "record", root / LOG.lstrip("/"))
    _mount("-o", "remount,bind,ro", root)


def _show(source: Path, place: Path) -> None:
    if os.path.lexists(place) and place.is_dir():  # with what is shown of the system
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() and source.resolve().is_relative_to("/usr"):
        place.symlink_to(source.readlink())  # /bin, which is usr/bin
        return
    if source.is_dir():
        place.mkdir(exist_ok=True)
    elif not place.exists():
        place.touch()
    _mount("--bind", source, place)
    # What a mount forbids must go on being forbidden in a copy of it, or Linux refuses.
    kept = [name for flag, name in FLAGS.items() if os.statvfs(place).f_flag & flag]
    _mount("-o", ",".join(["remount", "bind", "ro", *kept]), place)


def _mount(*arguments: str | Path) -> None:
    _run("mount", *map(str, arguments))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")


def run(asked: dict[str, Any], root: Path) -> dict[str, Any]:
    """Runs the command and watches it until it ends or has to be ended.

    It is ended when it is too slow, takes more memory than Kaggle has, or says that something has failed: what is red
    already need not be waited for.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])
    chroot = shutil.which("chroot") or "chroot"  # the command's own PATH need not have it
    command = [*asked["tracer"], chroot, str(root), "env", f"--chdir={WORKING}", *asked["command"]]
    start = time.time()
    watch, said, over = Watch(root), root.parent / "record" / "output", float("inf")
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=asked["variables"]
        )
        while process.poll() is None:
            watch.look()
            if over == float("inf") and FAILED in said.read_bytes():
                over = time.time() + LAST_WORDS
            if time.time() > min(over, start + asked["limit"]) or watch.memory > asked["memory"]:
                break
            if select.select([sys.stdin], [], [], LOOK)[0]:
                raise SystemExit("the process that began the rehearsal has ended")
    code = process.poll()
    with contextlib.suppress(ProcessLookupError):  # all of the room's have ended
        os.kill(-1, signal.SIGKILL)  # this is its first process, so no others: nothing writes while it is copied
    watch.look(last=True)
    return {
        "code": code, "failed": code is None and over < float("inf"), "start": start, "end": time.time(),
        "full": watch.full, "samples": watch.samples, "largest": _largest(watch.working),
    }  # fmt: skip


class Watch:
    """What the room holds, look after look: (time, working, scratch, memory)."""

    def __init__(self, root: Path) -> None:
        self.working, self.scratch = root / WORKING.lstrip("/"), root / SCRATCH.lstrip("/")
        self.samples: list[tuple[float, int, int, int]] = []
        self.full = False
        self.memory = self.counted = 0
        self.memory_at = self.count_at = 0.0

    def look(self, last: bool = False) -> None:
        now = time.time()
        disk = os.statvfs(self.working)
        self.full = self.full or disk.f_bavail * disk.f_frsize < BLOCK
        if now >= self.memory_at or last:
            self.memory, self.memory_at = _memory(), now + MEMORY_EVERY
        if now >= self.count_at or last:
            self.counted = _size(self.scratch)
            self.count_at = time.time() + max(MEMORY_EVERY, (time.time() - now) / SHARE)
        self.samples.append((now, (disk.f_blocks - disk.f_bfree) * disk.f_frsize, self.counted, self.memory))


def _memory() -> int:
    total = 0
    for process in psutil.process_iter():
        try:
            total += process.memory_info().rss if process.pid != os.getpid() else 0
        except psutil.Error:
            continue
    return total


def _size(folder: Path) -> int:
    """Bytes on the disk below a folder; a file with several names counts once."""
    seen: dict[int, int] = {}
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        stat = entry.stat(follow_symlinks=False)
                        seen[stat.st_ino] = stat.st_blocks * 512
        except OSError:  # it is being written to
            continue
    return sum(seen.values())


def _largest(folder: Path) -> list[tuple[str, int]]:
    sizes = [(str(path.relative_to(folder)), path.lstat().st_size) for path in folder.rglob("*") if path.is_file()]
    return sorted(sizes, key=lambda named: -named[1])[:SHOWN]


def _too_large(folder: str, names: list[str]) -> list[str]:
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if not path.is_dir() and path.lstat().st_size > LARGEST]


def main(record: Path) -> None:
    if os.getpid() != 1:
        raise SystemExit("only packer.rehearsal.sandbox starts this, in a namespace of its own")
    asked, root = json.loads((record / "asked.json").read_text(encoding="utf-8")), record.parent / "root"
    furnish(asked, root)
    result = run(asked, root)
    shutil.copytree(root / WORKING.lstrip("/"), record.parent / "working", symlinks=True, ignore=_too_large)
    (record / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
