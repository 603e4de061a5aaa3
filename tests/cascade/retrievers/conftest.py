"""What the tests of retrievers read: the default config, and a part of the sample."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade.base.runtime import ROOT
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Config


@pytest.fixture(scope="module")
def config() -> Config:
    return configs.load(ROOT / "configs" / "cross-encoder.toml")


@pytest.fixture(scope="module")
def task() -> Task:
    whole = EEDI.read(ROOT / "sample")
    return replace(whole, train=whole.train.head(60), queries=whole.queries.head(24))
