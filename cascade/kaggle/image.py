"""What a commit run sees of Kaggle's image and machine, left as image.json, by which a stale image is noticed.

Runs in the image's own Python: the standard library, and psutil, which whatever runs a notebook has.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from cascade.base import atomic
from cascade.processes import gpu

FILE = "image.json"
GB = 1e9
MOUNTS, CGROUP = Path("/proc/mounts"), Path("/sys/fs/cgroup")
# Where Kaggle mounts a kernel's folders, and what an environment and the engines' processes write to.
PLACES = ("/", "/tmp", "/dev/shm", "/kaggle/input", "/kaggle/working", "/kaggle/lib")
# What an engine of several processes runs into first.
LIMITS = {"files": resource.RLIMIT_NOFILE, "processes": resource.RLIMIT_NPROC, "locked memory": resource.RLIMIT_MEMLOCK}


def write(folder: Path, scratch: Path, about: dict[str, Any], competition: str) -> None:
    """Writes `folder`/image.json: the facts that a target image has, as they are here, under the same names.

    scratch: where the environment is to lie; about: what the wheels dataset tells of the image that it is for.
    """
    found = {
        "image": str(about.get("image", "")),
        "competition": competition,
        "at": datetime.now(UTC).date().isoformat(),
        **_system(),
        **_cards(),
        "working": round(shutil.disk_usage(folder).free / GB, 1),
        "scratch": round(shutil.disk_usage(_there(scratch)).free / GB, 1),
        "mounts": _mounts(),
        "limits": _limits(),
    }
    atomic.write_text(folder / FILE, json.dumps(found, indent=1) + "\n")


def _there(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _system() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "abi": f"cp{sys.version_info.major}{sys.version_info.minor}",
        "machine": platform.machine(),
        "glibc": platform.libc_ver()[1],
        "docker_image": os.environ.get("KAGGLE_DOCKER_IMAGE") or None,
        "cores": psutil.cpu_count(),
        "memory": round(psutil.virtual_memory().total / GB, 1),
    }


def _cards() -> dict[str, Any]:
    """Of several cards that differ, the least of each: it is what a run can rely on."""
    memories = [int(line) for line in gpu.nvidia_smi("memory.total") if line.isdigit()]
    capability = ".".join(map(str, gpu.gpu_capability()))
    count = gpu.gpu_count()
    return {
        # nvidia-smi that is there and says nothing has seen no number.
        **({} if not count and shutil.which("nvidia-smi") else {"gpus": count}),
        "card": ", ".join(dict.fromkeys(gpu.nvidia_smi("name"))) or None,
        "capability": capability or None,
        "gpu_memory": min(memories, default=None),
        "driver": next(iter(gpu.nvidia_smi("driver_version")), None),
    }


def _mounts() -> dict[str, str]:
    """The type of each place's file system, and whether it can be written to: `overlay rw`."""
    found = {}
    for line in MOUNTS.read_text(encoding="utf-8").splitlines() if MOUNTS.is_file() else []:
        _, place, kind, options, *_ = line.split()
        if place in PLACES:
            found[place] = f"{kind} {options.partition(',')[0]}"
    return found


def _limits() -> dict[str, str]:
    found = {name: _limit(resource.getrlimit(which)[0]) for name, which in LIMITS.items()}
    for name, file in (("memory", "memory.max"), ("cpu", "cpu.max")):
        path = CGROUP / file
        if path.is_file():
            found[name] = path.read_text(encoding="utf-8").strip()
    if Path("/dev/shm").is_dir():
        found["shared memory"] = str(shutil.disk_usage("/dev/shm").total)
    return found


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)
