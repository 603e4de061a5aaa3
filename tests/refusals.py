"""What tests ask of an error of the project's family: its parts rather than its sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from cascade.base.errors import CascadeError

E = TypeVar("E", bound=CascadeError)


@contextmanager
def refused(
    kind: type[E], what: str = "", path: Path | str = "", key: str = "", mend: str = ""
) -> Iterator[pytest.ExceptionInfo[E]]:
    """As pytest.raises: `path` is the error's path or its end, `key` its key, `what` and `mend` parts of its own."""
    with pytest.raises(kind) as raised:
        yield raised
    error = raised.value
    assert str(error.path or "").endswith(str(path)), error.path
    assert error.key == key, error.key
    assert what in error.what, error.what
    assert error.mend and mend in error.mend, error.mend
    assert "\n" not in str(error)
