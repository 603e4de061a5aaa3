"""An audit hook in every Python of the room (PEP 578), where there is no strace. Compiled code passes by unseen.

It is a sitecustomize.py among the standard library's files, over which its folder is laid: so it is in the image's
Python and in the environment's, which the bundle alone makes.
"""

from __future__ import annotations

import ast
from pathlib import Path

from packer.rehearsal import audit_hook
from packer.rehearsal.violations import LOG, WRITABLE, Attempt, Processes, is_stray_read, is_stray_write

FILE = "audit.log"


def make(folder: Path) -> Path:
    """The folder, with the hook in it, to be laid over the standard library's."""
    folder.mkdir()
    source = Path(audit_hook.__file__).read_text(encoding="utf-8")
    call = f"watch({f'{LOG}/{FILE}'!r}, {WRITABLE!r})"
    (folder / "sitecustomize.py").write_text(f"{source}\n\n{call}\n", encoding="utf-8")
    return folder


def read(folder: Path) -> list[Attempt]:
    """What was tried, by the hook's record."""
    path, processes, found = folder / FILE, Processes(), []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            process, kind, told = ast.literal_eval(line)
        except (SyntaxError, ValueError):  # cut off by a full disk
            continue
        if kind == audit_hook.START:
            processes.parents[process], processes.arguments[process] = told
        elif kind == "network" or (is_stray_write if kind == "write" else is_stray_read)(told):
            found.append((process, kind, told))
    return [Attempt(kind, told, processes.name(process)) for process, kind, told in found]
