"""What submission.ipynb calls: where everything lies, the environment, the conductor, and when an error may be raised.

Runs in the image's own Python, with pandas and scikit-learn alone beside the standard library, until the conductor
runs in the environment that is made here. In the scoring rerun an exception can cost the submission, so there only
an invalid submission.csv raises. In a commit run and on a laptop every failure does, once all has run that can.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.base import clock, durations, manifest, runtime
from cascade.base import folder as folders
from cascade.base.errors import CascadeError, StageError, TableError
from cascade.base.runtime import COMPETITION, ROOT, is_kaggle, is_rerun, resolve, resolve_output
from cascade.causes.results import failures
from cascade.competitions import registry, submission
from cascade.competitions.base import Competition, Outline
from cascade.kaggle import checks, environment, image
from cascade.processes import environ, tree
from cascade.stages import baseline

PRACTICE = "practice"  # the folder of the practice run, in the run's own


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
    competition: Competition
    practice: int = 0
    python: Path | None = None
    failures: list[str] = field(default_factory=list)

    def outline(self) -> Outline:
        """What is asked, read as leniently as submission zero reads it."""
        return self.competition.outline(self.data)

    @property
    def tables(self) -> Path:
        """The folder of the conductor's tables, notebooks, logs and ledger."""
        return self.run / PRACTICE if self.practice else self.run


def locate(config: str, data: str, run: str, practice: int = 0) -> Kernel:
    """Finds everything that a run needs.

    On Kaggle the config and the stages' notebooks lie in the code dataset, the data is whichever input has the
    competition's files, and the run's folder is the current one, which Kaggle keeps.
    """
    if not is_kaggle():
        out = resolve_output(run)
        with contextlib.suppress(OSError):  # submission zero is tried all the same
            folders.claim(out)
        return Kernel(resolve(config), resolve(data), out, ROOT / "notebooks", _competition(resolve(config)))
    packed = checks.dataset("code")
    code = packed or ROOT
    path = Path(config) if Path(config).exists() else code / config
    competition = _competition(path)
    folder, doubt = _data(competition, str(checks.told(packed).get("competition", "")), resolve(data))
    print(f"data: {folder}", *doubt, sep="\n")
    with contextlib.suppress(OSError, StageError):  # it is the run's, whatever else lies there
        if folders.read(Path.cwd()) is None:
            folders.update(Path.cwd())
    practice = 0 if is_rerun() else practice
    return Kernel(path, folder, Path.cwd(), code / "notebooks", competition, practice, failures=doubt)


def _competition(config: Path) -> Competition:
    """The config's; of one that cannot be read, which is the conductor's to refuse, the default."""
    name = str(_settings(config).get("competition", COMPETITION))
    try:
        return registry.find(name, config.parent)
    except CascadeError as error:
        print(error)
        return registry.find(COMPETITION, config.parent)


def _settings(config: Path) -> dict[str, Any]:
    """What the config's file says, without a check; nothing where it cannot be read."""
    try:
        return tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}


def _data(competition: Competition, slug: str, default: Path) -> tuple[Path, list[str]]:
    """The input with the competition's files, and what is doubtful about it.

    A dataset with a copy of them has the visible test, whose rows are not the rerun's. So what Kaggle mounts for a
    competition goes first, then what is called like this one.
    """
    found = [
        path.parent for depth in range(1, manifest.DEPTH + 1)
        for path in sorted(runtime.INPUT.glob("*/" * depth + "test.csv")) if competition.is_data(path.parent)
    ]  # fmt: skip
    places = {
        folder: (folder.parent != runtime.INPUT / "competitions", folder.name.lower() != slug.lower())
        for folder in found
    }
    found.sort(key=lambda folder: places[folder])
    alike = [folder for folder in found if places[folder] == places[found[0]]]
    if len(alike) < 2:
        return (found[0] if found else default), []
    return found[0], [
        f"data: {len(alike)} inputs have the files of {competition.name}, and it is unclear which is the "
        f"competition's: {', '.join(map(str, alike))}; leave one in the kernel's inputs"
    ]


def prepare(kernel: Kernel) -> None:
    """Checks everything and makes the environment on Kaggle; elsewhere this interpreter has what is needed.

    Says what it finds and notes what failed; raises nothing that was foreseen.
    """
    if not is_kaggle():
        kernel.python = Path(sys.executable)
        return
    scratch = Path(tempfile.gettempdir()) / "cascade-kernel"
    if not is_rerun():
        _note_image(kernel, scratch)
    looked_at = checks.check(kernel.config, scratch, hashed=not is_rerun())
    print(*looked_at, sep="\n", flush=True)
    kernel.failures += [f"{c.name}: {c.found} ({c.mend})" for c in looked_at if not c.ok]
    start = clock.now()
    try:
        kernel.python = _installed(kernel, scratch, has_room=all(c.ok for c in looked_at if c.name == "disk"))
        print(f"environment made in {clock.now() - start:.0f} s: {kernel.python}", flush=True)
    except CascadeError as error:
        kernel.failures.append(str(error))
        print(f"no environment after {clock.now() - start:.0f} s: {error}", flush=True)


def _note_image(kernel: Kernel, scratch: Path) -> None:
    try:
        image.write(kernel.run, scratch, checks.told(checks.dataset("wheels")), kernel.competition.slug)
    except OSError as error:
        kernel.failures.append(f"{image.FILE} cannot be written ({error})")


def _installed(kernel: Kernel, scratch: Path, has_room: bool) -> Path:
    wheels, code = checks.dataset("wheels"), checks.dataset("code")
    if wheels is None or code is None:
        raise environment.InstallError(
            "the project's datasets are missing or incomplete", path=runtime.INPUT, mend="run: make push-kernel"
        )
    if not has_room:  # a full disk would cost submission.csv too
        raise environment.InstallError(
            "not enough free disk space to install into", path=scratch, mend="free some, or set TMPDIR"
        )
    return environment.install(wheels, code, scratch, kernel.run / "install.log", hashed=not is_rerun())


def conduct(kernel: Kernel, start: float, deadline: float = 0.0, engine: str = "") -> int:
    """Runs the conductor in the environment and shows its lines as they come.

    It returns the exit code, 1 where the conductor had to be ended. `start`, the Unix time of the notebook's first
    statement, is when the config's limit began to count.
    """
    if kernel.python is None:
        print("there is no environment to run a stage in: submission zero is kept")
        return 1
    command = [
        str(kernel.python), "-m", "cascade", "run", "--config", str(kernel.config), "--data", str(kernel.data),
        "--out", str(kernel.run), "--notebooks", str(kernel.notebooks), "--began", str(start),
        *(["--deadline", str(deadline)] if deadline else []), *(["--engine", engine] if engine else []),
        *(["--practice", str(kernel.practice)] if kernel.practice else []),
    ]  # fmt: skip
    variables = environ.activated(kernel.python) if is_kaggle() else dict(os.environ)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        env=variables | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    until = _last_moment(kernel, start, deadline)
    try:
        _show(process, until)
        code = process.wait(max(tree.REAPED, until - clock.now()))
        kernel.failures += failures(kernel.tables / folders.RESULT) if code else []
        if code < 0:
            print(
                f"the conductor was killed by {signal.Signals(-code).name}; submission.csv stays as it was last written"
            )
        return code
    except subprocess.TimeoutExpired:
        print("the conductor is long past its deadline and was stopped; submission.csv stays as it was last written")
        return 1
    finally:
        if process.poll() is None:
            tree.end_tree(process.pid)
            tree.end(process)


def _last_moment(kernel: Kernel, start: float, deadline: float) -> float:
    """The Unix time at which a conductor that hangs is ended from outside: its deadline and half of the reserve."""
    try:
        told = _settings(kernel.config).get("time", {})
        limit = durations.seconds(told["limit"]) if "limit" in told else durations.RUN
        reserve = durations.seconds(told["reserve"]) if "reserve" in told else durations.RESERVE
    except (ValueError, TypeError, AttributeError):  # the conductor refuses it
        limit, reserve = durations.RUN, durations.RESERVE
    available = min(limit - reserve, durations.PRACTICE) if kernel.practice else limit - reserve
    return (deadline or start + available) + reserve / 2


def _show(process: subprocess.Popen[str], until: float) -> None:
    """Prints what a process says, as it comes, up to its end or Unix time `until`.

    Read in a thread, which nobody waits for: a pipe has no end as long as anything else holds it.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    line: str | None = ""
    while line is not None and clock.now() < until:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            if process.poll() is not None:
                break
            continue
        print(line or "", end="", flush=True)


def settle(kernel: Kernel, code: int) -> None:
    """Raises where submission.csv is not valid and, outside the rerun, where anything failed.

    That is a check, the installation, or a stage, by which the conductor's `code` is not 0.

    What is valid is read as leniently as submission zero reads it: a row that the conductor refuses
    is no reason to lose a submission. In the rerun an invalid file is replaced by the last valid one, or submission
    zero where there is none.
    """
    outline = kernel.outline()
    path = kernel.run / submission.FILE
    try:
        submission.validate(path, outline)
    except TableError:
        if not is_rerun():
            raise
        submission.write(_last_valid(kernel, outline) or baseline.rows(outline), outline, path)
    if is_rerun():
        return
    failures = [*kernel.failures]
    if code != 0:
        failures.append(f"the conductor's exit code is {code}; see its last lines above")
    if failures:
        raise StageError("\n".join(failures))


def _last_valid(kernel: Kernel, outline: Outline) -> dict[str, list[int]] | None:
    path = kernel.run / submission.LAST
    try:
        submission.validate(path, outline)
        return submission.read(path, outline)
    except TableError:
        return None


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Prints in the rerun what goes wrong inside instead of raising it: no picture may cost the submission."""
    try:
        yield
    except Exception:
        if not is_rerun():
            raise
        traceback.print_exc()
