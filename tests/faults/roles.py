"""Which process of a run is what: the conductor, and each stage's papermill, kernel, workers and engines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import psutil

RUN = "run"  # stands where a stage would, for what is the whole run's
Key = tuple[str, str]  # stage, role
Seen = Mapping[Key, list[psutil.Process]]


def seen(tree: list[psutil.Process]) -> dict[Key, list[psutil.Process]]:
    """The processes of each stage and role, oldest first."""
    said = {process: words(process) for process in tree}
    found: dict[Key, list[psutil.Process]] = {}
    known: dict[int, Key] = {}  # the key of a process's id
    for process in sorted(tree, key=_made):
        key = _key(process, said[process], known)
        if key is not None:
            found.setdefault(key, []).append(process)
            known[process.pid] = key
    return found


def words(process: psutil.Process) -> list[str]:
    """Its command; nothing of one that is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _made(process: psutil.Process) -> float:
    try:
        return float(process.create_time())
    except psutil.Error:
        return time.time()


def _key(process: psutil.Process, command: list[str], known: Mapping[int, Key]) -> Key | None:
    if not command:
        return None
    if command[1:4] == ["-m", "cascade", "run"]:
        return (RUN, "conductor")
    if "cascade.processes.die_with_parent" in command:
        notebook = next((word for word in reversed(command) if word.endswith(".ipynb")), "")
        return (Path(notebook).stem, "papermill")
    try:
        stage, parent = known.get(process.ppid(), (RUN, ""))
    except psutil.Error:
        return None
    if parent == "papermill" and "ipykernel_launcher" in command:
        return (stage, "kernel")
    forked = "--multiprocessing-fork" in command
    if parent == "kernel" and forked:
        return (stage, "worker")
    if parent == "worker" and (forked or command[0].startswith("VLLM::")):
        return (stage, "engine")
    return None
