"""The kernel's own environment, made from the wheels dataset without a network, so that the image's packages are moot.

Runs in the image's own Python: the standard library, and psutil by way of `processes`. uv comes along as a wheel.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from cascade.base import clock
from cascade.base.errors import CascadeError
from cascade.causes.find import root_cause_of
from cascade.processes.environ import clean
from cascade.processes.tree import REAPED

LIMIT = 1800.0  # seconds for all of it: 4 min 14 s in public for as much, from a slow disk
PROVEN = ("cascade.run.conductor", "papermill", "ipykernel")  # what any run imports
HEAVY = ("torch", "vllm")  # importing them takes a minute, which only a commit run spends


class InstallError(CascadeError):
    """An environment that could not be made; names the step and its log."""


def install(wheels: Path, code: Path, scratch: Path, log: Path, hashed: bool) -> Path:
    """Makes an environment under `scratch`, of this interpreter's version, and returns its Python.

    wheels: the wheels dataset (a lock, and `wheels/`); code: the folder of our own wheel; log: what uv says.
    `hashed`: uv proves each wheel by the lock's SHA-256, and all that is heavy is imported once, on a GPU
    where the lock's torch has one. InstallError where a step fails; nothing of the environment is left then.
    """
    python = scratch / "environment" / "bin" / "python"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        lock, ours = _only(wheels, "*.lock"), _only(code, "*.whl")
        uv = str(_unpacked_uv(wheels / "wheels", scratch))
        pip = [uv, "pip", "install", "--python", str(python), "--no-index", "--no-deps"]
        hashes = "--require-hashes" if hashed else "--no-verify-hashes"
        steps = {
            "make the environment": [uv, "venv", "--python", sys.executable, str(scratch / "environment")],
            "install the wheels": [*pip, "--find-links", str(wheels / "wheels"), hashes, "--requirement", str(lock)],
            "install the project's wheel": [*pip, str(ours)],
            "import what was installed": [str(python), "-c", _proof(lock, hashed)],
        }
        until = clock.now() + LIMIT
        for step, command in steps.items():
            _run(step, command, scratch, log, until)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):  # a full disk, a dataset that went away
            raise InstallError(
                f"the environment cannot be made: {error}", path=scratch, mend="free some disk space"
            ) from error
        raise
    return python


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InstallError(
            f"contains {len(found)} files like {pattern}, not one",
            path=folder,
            mend="run: make pack, make push-datasets",
        )
    return found[0]


def _unpacked_uv(wheels: Path, scratch: Path) -> Path:
    """uv's program, out of its wheel; the input folder is read-only and may not be executed from."""
    program = scratch / "uv"
    try:
        with zipfile.ZipFile(_only(wheels, "uv-*.whl")) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".data/scripts/uv"))
            program.write_bytes(wheel.read(name))
    except (StopIteration, zipfile.BadZipFile) as error:
        raise InstallError(
            f"uv's wheel is broken ({error})", path=wheels, mend="run: make pack, make push-datasets"
        ) from error
    program.chmod(0o755)
    return program


def _proof(lock: Path, heavy: bool) -> str:
    """A program that fails where what was installed does not work."""
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE))
    lines = [f"import {', '.join([*PROVEN, *(name for name in HEAVY if heavy and name in pinned)])}"]
    if heavy and "vllm" in pinned:  # the kernel's build of it is CUDA's
        lines.append("torch.zeros(1, device='cuda')")
    return "\n".join(lines)


def _run(step: str, command: list[str], scratch: Path, log: Path, until: float) -> None:
    variables = {name: value for name, value in clean().items() if not name.startswith("UV_")} | {
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_NO_PROGRESS": "1",
        # On the target's own file system, where unpacking into the cache is all the work: the rest is hard links.
        "UV_CACHE_DIR": str(scratch / "cache"),
    }
    with log.open("a", encoding="utf-8") as output:
        output.write(f"\n# {step}: {' '.join(command)}\n")
        output.flush()
        said = output.tell()
        process = subprocess.Popen(
            command, cwd=scratch, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(max(1.0, until - clock.now()))
        except subprocess.TimeoutExpired:
            raise InstallError(f"could not {step} within {LIMIT:.0f} s", mend=f"see {log}, then push again") from None
        finally:
            if process.poll() is None:
                _end_group(process)
    if code != 0:
        cause = root_cause_of(log, said)
        why = cause.sentence if cause is not None else f"exit code {code}"
        fix = cause.mend if cause is not None and cause.mend else "fix this, then run: make pack, make push-datasets"
        raise InstallError(f"could not {step}: {why}", mend=f"{fix} (see {log})")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILLs a step with all that it started, which would go on writing where everything is being removed."""
    os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # what a dead disk holds ends when it likes
        process.wait(REAPED)
