"""What submission.ipynb calls: where everything lies, the environment, the conductor, and when an error may be raised.

Runs in the image's own Python, with pandas and scikit-learn alone beside the standard library, until the conductor
runs in the environment that is made here. In the scoring rerun an exception can cost the submission, so there only
an invalid submission.csv raises. In a commit run and on a laptop every failure does, once all has run that can.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cascade import checks, environment, handles, manifest, submission, zero
from cascade.errors import CascadeError, StageError, TableError
from cascade.paths import ROOT, resolve, resolve_output

PRACTICE = "practice"  # the folder of the practice run, in the run's own


def is_rerun() -> bool:
    """Whether this is Kaggle's run on the hidden test."""
    return bool(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))


def is_kaggle() -> bool:
    """Whether this is Kaggle's kernel, or a rehearsal of it: its input folder is there."""
    return handles.INPUT.is_dir()


@dataclass
class Kernel:
    """Where a run's files lie, and the Python that is to run it; None where there is no environment.

    `practice`: train queries run beside the test's, in a commit run on Kaggle only. `failures`: what is to be
    raised at the end.
    """

    config: Path
    data: Path
    run: Path
    notebooks: Path
    practice: int = 0
    python: Path | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def tables(self) -> Path:
        """The folder of the conductor's tables, notebooks, logs and ledger."""
        return self.run / PRACTICE if self.practice else self.run


def locate(config: str, data: str, run: str, practice: int = 0) -> Kernel:
    """Finds everything. On Kaggle the config and the stages' notebooks lie in the code dataset, the data is whichever

    input has test.csv and misconception_mapping.csv, and the run's folder is the current one, which Kaggle keeps.
    """
    if not is_kaggle():
        return Kernel(resolve(config), resolve(data), resolve_output(run), ROOT / "notebooks")
    code = checks.dataset("code") or ROOT
    inputs = (path.parent for depth in range(1, manifest.DEPTH + 1) for path in _mappings(depth))
    folder = next((folder for folder in inputs if (folder / "test.csv").is_file()), resolve(data))
    print(f"data: {folder}")
    path = Path(config) if Path(config).exists() else code / config
    return Kernel(path, folder, Path.cwd(), code / "notebooks", 0 if is_rerun() else practice)


def _mappings(depth: int) -> list[Path]:
    return sorted(handles.INPUT.glob("*/" * depth + "misconception_mapping.csv"))


def prepare(kernel: Kernel) -> None:
    """On Kaggle looks at everything and makes the environment; elsewhere this interpreter has what is needed.

    Says what it finds and notes what failed; raises nothing that was foreseen.
    """
    if not is_kaggle():
        kernel.python = Path(sys.executable)
        return
    scratch = Path(tempfile.gettempdir()) / "cascade-kernel"
    looked_at = checks.check(kernel.config, scratch, hashed=not is_rerun())
    print(*looked_at, sep="\n", flush=True)
    kernel.failures += [f"{c.name}: {c.found} ({c.mend})" for c in looked_at if not c.ok]
    start = time.time()
    try:
        kernel.python = _installed(kernel, scratch, has_room=all(c.ok for c in looked_at if c.name == "disk"))
        print(f"environment made in {time.time() - start:.0f} s: {kernel.python}", flush=True)
    except CascadeError as error:
        kernel.failures.append(str(error))
        print(f"no environment after {time.time() - start:.0f} s: {error}", flush=True)


def _installed(kernel: Kernel, scratch: Path, has_room: bool) -> Path:
    wheels, code = checks.dataset("wheels"), checks.dataset("code")
    if wheels is None or code is None:
        raise environment.InstallError(f"{handles.INPUT}: our datasets are not all there; make push-kernel")
    if not has_room:  # a full disk would cost submission.csv too
        raise environment.InstallError(f"{scratch}: too little disk to install into; free some, or set TMPDIR")
    return environment.install(wheels, code, scratch, kernel.run / "install.log", hashed=not is_rerun())


def conduct(kernel: Kernel, start: float, deadline: float = 0.0, engine: str = "") -> int:
    """Runs the conductor in the environment, its lines shown as they come; returns its exit code.

    `start`, the Unix time of the notebook's first statement, is when the config's limit began to count.
    """
    if kernel.python is None:
        print("there is no environment to run any stage in: submission zero stands")
        return 1
    command = [
        str(kernel.python), "-m", "cascade", "run", "--config", str(kernel.config), "--data", str(kernel.data),
        "--out", str(kernel.run), "--notebooks", str(kernel.notebooks), "--began", str(start),
        *(["--deadline", str(deadline)] if deadline else []), *(["--engine", engine] if engine else []),
        *(["--practice", str(kernel.practice)] if kernel.practice else []),
    ]  # fmt: skip
    variables = environment.activated(kernel.python) if is_kaggle() else dict(os.environ)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
    return process.returncode


def settle(kernel: Kernel, code: int) -> None:
    """Raises where submission.csv is not valid and, outside the rerun, where anything failed: a check, the

    installation, or a stage, by which the conductor's `code` is not 0.

    What is valid is read as leniently as submission zero reads it: a row that the conductor refuses
    is no reason to lose a submission. In the rerun an invalid file is replaced by submission zero.
    """
    expected, path = zero.rows(kernel.data), kernel.run / "submission.csv"
    try:
        submission.validate(path, list(expected), zero.known(kernel.data))
    except TableError:
        if not is_rerun():
            raise
        submission.write(expected, path)
    if is_rerun():
        return
    failures = [*kernel.failures]
    if code != 0:
        failures.append(f"the conductor's exit code is {code}; its last lines above say which stage failed and why")
    if failures:
        raise StageError("\n".join(failures))


@contextmanager
def harmless() -> Iterator[None]:
    """In the rerun prints what goes wrong inside instead of raising it: no picture may cost the submission."""
    try:
        yield
    except Exception:
        if not is_rerun():
            raise
        traceback.print_exc()
