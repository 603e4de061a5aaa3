"""What a log tells of exceptions: which process raised which, where, and which one it came from.

Python's own tracebacks, those that IPython writes for a notebook, the stacks of processes that were ended by a signal,
and what is printed of a process that left none.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field

from cascade.causes.crash import Chain, Crash, killed
from cascade.causes.install import Refusal
from cascade.causes.lines import Line

HEADER = "Traceback (most recent call last)"
IPYTHON = re.compile(r"([A-Za-z_]\w{0,80}) {2,}Traceback \(most recent call last\)")
FRAME = re.compile(r'\s*File "([^"]{1,500})", line (\d+)(?:, in (.{1,200}))?$')
STACK_FRAME = re.compile(
    r'\s*File "([^"]{1,500})", line (\d+) in '
)  # of a process that a signal ended, innermost first
CELL = re.compile(r"(?:Cell )?In ?\[(\d+)\](?:, line (\d+))?")
IPYTHON_FRAME = re.compile(r"File (\S[^:]{0,400}):(\d+)(?:, in (.{1,200}))?")
# What ends a traceback: a name that is an exception's, or has a module; then its message.
RAISED = re.compile(r"((?:[A-Za-z_]\w{0,80}\.){0,10}[A-Za-z_]\w{0,80})(?:\(\w{1,80}\))?(?::(?: (.*))?)?$")
NAMED = re.compile(r"Error|Exception|Exit|Interrupt|Warning|Iteration|Timeout|Resources")
DIRECT = "The above exception was the direct cause of the following exception"
DURING = "During handling of the above exception, another exception occurred"
# Python goes on after these, whatever is printed below.
IGNORED = re.compile(r"Exception ignored in|--- Logging error ---|Error in atexit|Error in sys\.")
CHILD = re.compile(r"(?:Process|Exception in thread) (\S{1,80})(?: \(.{1,80}\))?:$")
FATAL = re.compile(r"Fatal Python error: (.*)")
ITS_STACK = ("Current thread", "Stack (most recent call first)")
TERMINATED = re.compile(r"terminate called after throwing an instance of '([^']{1,200})'")
SAID = re.compile(r"\s*what\(\): +(.*)")
KILLED = (
    re.compile(r"Worker(?: proc)? (\S{1,80})(?: pid \d+)? died.{0,40}exit code: (-?\d+)"),
    re.compile(r".*Failed core proc\(s\): \{'?([\w.]{1,80})'?: (-?\d+)"),
)
CONTINUED = 12  # lines of a message after its first that are kept
STRANGE = 40  # other lines in a traceback, such as a child's output, after which it is given up
FRAMES = 80  # frames that are kept, the innermost ones


@dataclass
class _Stream:
    """The lines of one process, or of one logger in it, and the traceback that is being read."""

    process: str
    own: bool
    reading: bool = False
    header: str = ""  # of IPython: the class's name, which its last line begins with
    ignored: bool = False
    child: str = ""  # the process, or thread, whose traceback comes next
    told: bool = False  # whether it has come
    link: bool | None = None  # how the next exception follows the last one: directly, or while handling it
    frames: list[tuple[str, str]] = field(default_factory=list)
    strange: int = 0
    began: int = 0  # the line at which the traceback begins
    last: Crash | None = None  # whose message may go on
    fatal: Crash | None = None  # whose stack is to come
    its_stack: bool = False

    def begin(self, line: int, header: str = "") -> None:
        self.reading, self.header, self.began = True, header, line
        self.frames, self.strange, self.last = [], 0, None


class Log:
    """The exceptions of a log, read line by line."""

    def __init__(self) -> None:
        self.chains: list[Chain] = []
        self.streams: dict[str, _Stream] = {}
        self._open: dict[str, Chain] = {}
        self._refusal = Refusal()
        self._lines = 0

    def read(self, lines: Iterable[Line]) -> Log:
        for line in lines:
            self.feed(line)
        return self

    def feed(self, line: Line) -> None:
        """Takes the next line."""
        self._lines += 1
        if line.quiet:
            return
        stream = self.streams.get(line.stream)
        if stream is None:
            stream = self.streams[line.stream] = _Stream(line.process, own=not line.process and not line.tagged)
        text = line.text
        if stream.last is not None and text.strip():
            goes_on = (text[0] in " \t" or line.tagged) and len(stream.last.more) < CONTINUED
            if goes_on and not (HEADER in text or text.startswith((DIRECT, DURING)) or FRAME.match(text)):
                stream.last.more.append(text.strip())
                return
            stream.last = None
        self._take(stream, line.stream, text)
        if stream.own:
            self._refusal.feed(text)

    def _take(self, stream: _Stream, key: str, text: str) -> None:
        if HEADER in text:
            if stream.told and stream.link is None:
                stream.child = ""
            found = IPYTHON.match(text)
            stream.begin(self._lines, found[1] if found else "")
        elif text.startswith(DIRECT):
            stream.link = True
        elif text.startswith(DURING):
            stream.link = False
        elif IGNORED.match(text):
            stream.ignored = True
        elif found := CHILD.match(text):
            stream.child, stream.told = found[1], False
        elif self._stack(stream, key, text) or self._frame(stream, text):
            pass
        elif stream.reading:
            self._maybe_raised(stream, key, text)
        else:
            self._killed(stream, key, text)

    def _frame(self, stream: _Stream, text: str) -> bool:
        if found := FRAME.match(text):
            if not stream.reading:  # the log begins within a traceback
                stream.begin(self._lines)
            place, function = f"{found[1]}:{found[2]}", found[3] or ""
        elif stream.header and (cell := CELL.match(text)):
            place, function = f"notebook cell {cell[1]}:{cell[2] or 1}", ""
        elif stream.header and (found := IPYTHON_FRAME.match(text)):
            place, function = f"{found[1]}:{found[2]}", found[3] or ""
        else:
            return False
        stream.frames = [*stream.frames[-FRAMES:], (place, function)]
        return True

    def _maybe_raised(self, stream: _Stream, key: str, text: str) -> None:
        found = RAISED.match(text)
        if found is None or not self._is_exception(stream, found[1]):
            stream.strange += bool(text) and text[0] not in " \t-^~"
            stream.reading = stream.strange <= STRANGE
            return
        places = [place for place, _ in stream.frames if not place.startswith("<frozen ")]
        crash = Crash(
            found[1],
            (found[2] or "").strip(),
            places[-1] if places else "",
            stream.child or stream.process,
            [f"{place} {function}" for place, function in stream.frames],
        )
        stream.reading, stream.last, stream.told = False, crash, True
        if stream.ignored:
            stream.ignored = False
        else:
            self._add(stream, key, crash, stream.began)
        stream.link, stream.header = None, ""

    @staticmethod
    def _is_exception(stream: _Stream, name: str) -> bool:
        if stream.header:
            return name.rpartition(".")[2] == stream.header
        return "." in name or NAMED.search(name) is not None

    def _add(self, stream: _Stream, key: str, crash: Crash, began: int = 0) -> None:
        chain = self._open.get(key)
        if chain is not None and stream.link is not None:
            chain.crashes.append(crash)
            chain.direct.append(stream.link)
        else:
            chain = Chain([crash], own=stream.own and not stream.child, began=began or self._lines)
            self._open[key] = chain
            self.chains.append(chain)

    def _stack(self, stream: _Stream, key: str, text: str) -> bool:
        """Whether the line is of what a process prints that a signal, or C++, ends."""
        if found := FATAL.match(text):
            stream.fatal, stream.its_stack = Crash("Fatal Python error", found[1], "", stream.process), False
            self._add(stream, key, stream.fatal)
        elif found := TERMINATED.match(text):
            stream.fatal = Crash(found[1], "", "", stream.process)
            self._add(stream, key, stream.fatal)
        elif stream.fatal is not None and (found := SAID.match(text)):
            stream.fatal.message, stream.last, stream.fatal = found[1], stream.fatal, None
        elif stream.fatal is not None and text.startswith(ITS_STACK):
            stream.its_stack = True
        elif stream.fatal is not None and (found := STACK_FRAME.match(text)):
            if stream.its_stack:
                stream.fatal.where, stream.fatal = f"{found[1]}:{found[2]}", None
        else:
            return False
        return True

    def _killed(self, stream: _Stream, key: str, text: str) -> None:
        for form in KILLED:
            if (found := form.match(text)) and int(found[2]) < 0 and -int(found[2]) != signal.SIGTERM:
                self._open.pop(key, None)
                self._add(stream, key, killed(found[1], -int(found[2])))

    @property
    def root(self) -> Chain | None:
        """The exceptions that the others came of: the own process's last, unless they tell of another process's.

        Then it is the first that do not; where there are none, the last all the same. Without any exception it is what
        a program said it ended by, and None where nothing did.
        """
        own = [chain for chain in self.chains if chain.own]
        if own and not own[-1].root.of_others:
            return own[-1]
        first = sorted((each for each in self.chains if not each.root.of_others), key=lambda each: each.began)
        refused = self._refusal.crash
        said = [Chain([refused], own=True)] if refused is not None else []
        return next(iter([*first, *own[-1:], *self.chains, *said]), None)
