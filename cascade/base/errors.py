"""What can go wrong, one sentence each: what is wrong, where, and the mend."""

import difflib
from collections.abc import Iterable


class CascadeError(Exception):
    """Anything the user can mend; the command line prints it as one line and exits with 2."""


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


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
