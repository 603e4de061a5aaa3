"""What a program says that ends without an exception, as pip, uv and a command line do: `error: …` and its causes."""

from __future__ import annotations

import re

from cascade.causes.crash import Crash

SAID = re.compile(r"(?:error|Error|ERROR): (.+)| {1,4}[×x] (.+)")
BECAUSE = re.compile(r"\s*(?:cause:|Caused by:|(?:[├╰└│|`][─-]*[▶>]+)) (.+)")
NO_END = "pip's dependency resolver"  # said of an installation that succeeds
CONTINUED = 12  # lines below that are kept


class Refusal:
    """The last such error of a log, with the lines below it."""

    def __init__(self) -> None:
        self.said, self.because, self.more, self.goes_on = "", [""][:0], [""][:0], False

    def feed(self, text: str) -> None:
        """Takes the next line."""
        if found := SAID.match(text):
            before = [self.said] if self.goes_on and not self.because else []
            self.said, self.because, self.more = (found[1] or found[2]).strip(), [], before
            self.goes_on = not self.said.startswith(NO_END)
            if not self.goes_on:
                self.said = ""
        elif not self.goes_on or not text.strip():
            return
        elif (found := BECAUSE.match(text)) and len(self.because) < CONTINUED:
            self.because.append(found[1].strip())
        elif text[0] in " \t" and len(self.more) < CONTINUED:
            self.more.append(text.strip())
        else:
            self.goes_on = False

    @property
    def crash(self) -> Crash | None:
        """The error as if it were an exception of no kind; None where none was said."""
        if not self.said:
            return None
        last = self.because[-1:] or []
        return Crash("", ": ".join([self.said.rstrip(":"), *last]), more=[*self.because, *self.more])
