"""An exception that a log tells of, and the exceptions that it came from or led to."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field

# A lookup that failed is often answered by an exception that says what it means.
LOOKUPS = re.compile(
    r"(?:KeyError|IndexError|AttributeError|StopIteration|ImportError|ModuleNotFoundError|FileNotFoundError|Empty|"
    r"EOFError|TimeoutError|NotImplementedError)$"
)
# These tell of another process's exception, or of an end that somebody asked for.
OF_OTHERS = re.compile(
    r"PapermillExecutionError|DeadKernelError|Engine core initialization failed|WorkerProc initialization failed|"
    r"EngineDeadError|Worker failed with error|RemoteTraceback|BrokenProcessPool|SystemExit|KeyboardInterrupt|"
    r"CancelledError|BrokenPipeError|ConnectionResetError|EOFError|died unexpectedly|no worker process is left|"
    r"processes died while doing the same work"
)


@dataclass
class Crash:
    """One exception. `kind`: its class with its module; `where`: `file:line` of its innermost frame; `text`: all of it.

    `process`: the process's name, empty for the one whose log it is. `frames`: the functions on the way, innermost
    last.
    """

    kind: str
    message: str = ""
    where: str = ""
    process: str = ""
    frames: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join([f"{self.kind}: {self.message}", *self.more])

    @property
    def of_others(self) -> bool:
        return OF_OTHERS.search(f"{self.kind}: {self.message}") is not None


@dataclass
class Chain:
    """Exceptions that came of one another, the first one first; `own`: the log's own process ended with the last."""

    crashes: list[Crash]
    direct: list[bool] = field(
        default_factory=list
    )  # for each after the first: whether it was raised from the one before
    own: bool = False
    began: int = 0  # the line of the log at which the first one's traceback begins

    @property
    def root(self) -> Crash:
        """The first one; of a lookup that failed, the exception that was raised while handling it."""
        place = 0
        for following, direct in enumerate(self.direct, start=1):
            if not direct and LOOKUPS.search(self.crashes[place].kind):
                place = following
        return self.crashes[place]


def killed(process: str, number: int) -> Crash:
    """What is known of a process that a signal ended: no exception."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return Crash("killed", f"the process was ended by {name}", "", process)
