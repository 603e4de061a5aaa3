"""What the tests of prompts share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.prompting import make_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "template.txt"
