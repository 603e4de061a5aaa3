"""What stages, figures and page read of a run: each table once, and again where its file is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cascade.rankings import tables
from cascade.report.page import build
from cascade.stages import reading
from tests import pages


def test_the_page_reads_each_table_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = pages.small(folder)
    paths: list[str] = []
    read = pd.read_parquet

    def spied(path: Path, *arguments: Any, **named: Any) -> pd.DataFrame:
        paths.append(path.name)
        return read(path, *arguments, **named)

    monkeypatch.setattr(pd, "read_parquet", spied)
    build.html(context)
    assert sorted(paths) == ["candidates-r1.parquet", "ranking-ce.parquet", "ranking-ensemble.parquet"]


def test_a_table_that_is_made_again_or_spoiled_is_not_the_one_that_was_read(folder: Path) -> None:
    context = pages.small(folder)
    path = context.config.table_path("ce", context.run)
    assert len(reading.members(context)["ce"]) == 5 * pages.DEPTH
    tables.write(pages._table(pages._ranking("20_A", 29, 1)), path)
    assert len(reading.members(context)["ce"]) == pages.DEPTH
    path.write_bytes(path.read_bytes()[:100])
    assert list(reading.members(context)) == ["r1"]
    path.unlink()
    assert list(reading.members(context)) == ["r1"]
