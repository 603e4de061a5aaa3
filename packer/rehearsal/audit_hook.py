"""What `hook` puts into every Python of the room, where nothing of this project is: the standard library alone."""

from __future__ import annotations

import os
import sys
from typing import Any

START = "start"


def watch(log: str, writable: tuple[str, ...]) -> None:
    """Installs the hook, which appends a line to `log` for each event of these kinds.

    They are a start, a connection beyond loopback, a write outside `writable`, and a read of what is not there.
    """
    words = sys.orig_argv[:]
    changes = {
        "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod",
        "os.chown", "os.listdir", "os.scandir",
    }  # fmt: skip
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def note(kind: str, told: Any) -> None:
        try:
            file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.write(file, f"{(os.getpid(), kind, told)!r}\n".encode("utf-8", "replace"))
            os.close(file)
        except OSError:
            pass

    def files(event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if arguments else None
        if path is None or isinstance(path, int):  # a descriptor, or the current folder
            return
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - every start would import pathlib
        if path == log:
            return
        looks = event in ("os.listdir", "os.scandir") or (event == "open" and not (arguments[2] or 0) & writes)
        inside = any(path == folder or path.startswith(f"{folder}/") for folder in writable)
        if not looks and not inside and not (event == "os.mkdir" and os.path.isdir(path)):  # noqa: PTH112
            note("write", path)
        elif looks and not os.path.lexists(path):
            note("read", path)

    def local(host: Any) -> bool:
        text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
        return text in ("", "localhost", "::1", "0.0.0.0", "::") or text.startswith("127.")

    def network(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            numeric = set(str(arguments[0])) <= set("0123456789abcdef.:")  # nothing to look up
            if not numeric and not local(arguments[0]):
                note("network", f"the address of {arguments[0]}")
        elif isinstance(arguments[1], tuple) and not local(arguments[1][0]):
            note("network", f"{arguments[1][0]}:{arguments[1][1]}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        try:
            if event == "open" or event in changes:
                files(event, arguments)
            elif event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
                network(event, arguments)
        except Exception:  # a hook that raises would stop what it watches
            pass

    note(START, (os.getppid(), words))
    sys.addaudithook(hook)
