"""What can go wrong, one sentence each: where, what is wrong, and the fix."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Self


class CascadeError(Exception):
    """Anything the user can fix; the command line prints it as one line and exits with 2.

    `path`: the file or folder that it is about. `key`: the place in it, or what else it is about: a config's table or
    key, a row, a line, a stage, a model, a run at Kaggle. `mend`: what the user can do.
    """

    def __init__(self, what: str, *, path: Path | str | None = None, key: str = "", mend: str = "") -> None:
        super().__init__(what)  # alone, so that an error comes whole out of a worker's process
        self.what, self.path, self.key, self.mend = what, path, key, mend

    @classmethod
    def of_sentence(cls, sentence: str) -> Self:
        """From one of a list of problems, whose fix stands behind the last semicolon."""
        what, *mend = sentence.rsplit("; ", 1)
        return cls(what, mend="".join(mend))

    @property
    def found(self) -> str:
        """The sentence without the fix: `path: key: what`."""
        return ": ".join(str(part) for part in (self.path, self.key, self.what) if part)

    def __str__(self) -> str:
        return f"{self.found}; {self.mend}" if self.mend else self.found


class ConfigError(CascadeError):
    """A config file that cannot be used; names the key."""


class DataError(CascadeError):
    """A data file that cannot be used; names the file, and the row or column."""


class TableError(CascadeError):
    """A ranking table that breaks its contract."""


class ModelError(CascadeError):
    """A model or adapter that is missing or is not what it claims to be."""


class NotHereError(ModelError):
    """Something that is not at hand on this machine, and may be on the one that runs it."""


class CheckError(CascadeError):
    """A run that would fail, by what was found before it; the first, and how many more."""


class PromptError(CascadeError):
    """A prompt template that cannot be used, or a prompt that the model cannot read."""


class ScoreError(CascadeError):
    """A score that is no number; names the prompt."""


class WorkerError(CascadeError):
    """Model processes that died and could not be replaced."""


class PlanError(CascadeError):
    """What cannot be planned or calibrated from: a profile, a ledger, a number of queries."""


class StageError(CascadeError):
    """A stage that cannot be started as asked, or that did not leave its table."""


def with_fix(failure: str, mend: str | None) -> str:
    """A failure's sentence with what to do behind it, where that is known."""
    return f"{failure}; fix: {mend}" if mend else failure


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
