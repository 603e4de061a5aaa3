"""strace's record of a room, read for what must not be tried in it. Sees every program, compiled ones too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from packer.rehearsal.violations import DNS, Attempt, Processes, is_loopback, is_stray_read, is_stray_write

OPENS = ("open", "openat", "openat2", "creat")
CHANGES = (
    "mkdir", "mkdirat", "mknod", "mknodat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "symlink",
    "symlinkat", "link", "linkat", "truncate", "chmod", "fchmodat", "chown", "lchown", "fchownat",
)  # fmt: skip
REMOVALS = ("rmdir", "unlink", "unlinkat")
LINKS = ("symlink", "symlinkat", "link", "linkat")  # what they lead to is not written to
SENDS = ("connect", "sendto", "sendmsg", "sendmmsg")
STARTS = ("clone", "clone3", "fork", "vfork")
# -y: what file a descriptor is; with its own filter in the kernel, all other calls run at full speed.
COMMAND = (
    "strace", "--follow-forks", "--seccomp-bpf", "-qq", "-y", "--string-limit=256", "--signal=none",
    f"--trace={','.join((*OPENS, *CHANGES, *SENDS, *STARTS, 'execve'))}",
)  # fmt: skip
LINE = re.compile(r"(\d+) +(?:<\.\.\. \w+ resumed>)?(.*)")
CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<([^>]*)>)?(?: ([A-Z]+))?", re.DOTALL)
# A path, behind the folder that it is relative to: a descriptor's, where the call has one.
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"(?:\.\.\.)?')
ADDRESS = re.compile(
    r"sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\""
)
SOCKET = re.compile(r"\w+\(\d+<(\w+:\[\d+\])>")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-f]{2})|(.))")
NAMED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}


def read(path: Path, root: str) -> list[Attempt]:
    """What was tried in the room whose root was mounted at `root`."""
    processes, found, lookups = Processes(), [], set[str]()
    for process, call in _calls(path):
        match = CALL.match(call)
        if match is None:
            continue
        name, arguments, result, _, error = match.groups()
        if name in STARTS:
            if result.isdigit():
                processes.parents[int(result)] = process
        elif name == "execve":
            program, *words = (_text(word) for word in WORD.findall(arguments.rpartition("]")[0]))
            if result == "0":
                processes.arguments[process] = words or [program]
            elif error == "ENOENT" and is_stray_read(program):
                found.append((process, "read", program))
        elif name in SENDS:
            found += [(process, "network", target) for target in _addresses(call, lookups)]
        else:
            found += [(process, kind, target) for kind, target in _files(name, arguments, error, root)]
    return [Attempt(kind, target, processes.name(process)) for process, kind, target in found]


def _calls(path: Path) -> Iterator[tuple[int, str]]:
    """Each whole call; one that another process's line has cut in two is joined again."""
    begun: dict[int, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = LINE.match(line)
            if match is None:
                continue
            process, text = int(match[1]), match[2]
            if text.endswith("<unfinished ...>"):
                begun[process] = text.removesuffix("<unfinished ...>").rstrip()
            else:
                yield process, begun.pop(process, "") + text


def _addresses(call: str, lookups: set[str]) -> Iterator[str]:
    """Addresses beyond loopback. A name that is looked up counts, though the room's own address is asked for it.

    `lookups`: the sockets that are connected to where names are looked up.
    """
    named = ADDRESS.search(call)
    socket = SOCKET.match(call)
    if named is not None:
        port, address = int(named[1]), named[2]
        if port == DNS and socket is not None and is_loopback(address):
            lookups.add(socket[1])
        elif not is_loopback(address):
            yield f"{address}:{port}"
    if not call.startswith("connect") and socket is not None and socket[1] in lookups:
        yield f"the address of {_asked(call)}"


def _asked(call: str) -> str:
    """The name in a question to DNS (RFC 1035, 4.1.2): labels behind their lengths, after a header of 12 bytes."""
    data = next(iter(WORD.findall(call)), "")
    rest, labels = _bytes(data)[12:], []
    while rest and 0 < rest[0] < len(rest):
        labels.append(rest[1 : 1 + rest[0]].decode("ascii", "replace"))
        rest = rest[1 + rest[0] :]
    return ".".join(labels) or "a name"


def _files(name: str, arguments: str, error: str | None, root: str) -> Iterator[tuple[str, str]]:
    writes = name in CHANGES or name == "creat" or bool(re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", arguments))
    if writes and (error == "EEXIST" or (error == "ENOENT" and name in REMOVALS)):
        return
    if not writes and error != "ENOENT":  # what can be read is in the room
        return
    paths = PATH.findall(arguments)
    for folder, text in paths[-1:] if name in LINKS else paths:
        path = os.path.normpath(PurePosixPath(_inside(folder, root), _text(text)))
        if (is_stray_write if writes else is_stray_read)(path):
            yield "write" if writes else "read", path


def _inside(folder: str, root: str) -> str:
    """What the room calls a folder of this machine."""
    return folder.removeprefix(root) or "/"


def _text(escaped: str) -> str:
    return _bytes(escaped).decode("utf-8", "replace")


def _bytes(escaped: str) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        octal, hexadecimal, letter = match.groups()
        if octal is not None:
            return bytes([int(octal, 8) & 255])
        return bytes([int(hexadecimal, 16)]) if hexadecimal is not None else NAMED.get(letter, letter)

    return ESCAPE.sub(plain, escaped.encode("utf-8", "replace"))
