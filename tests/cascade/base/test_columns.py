"""Columns of text."""

import pandas as pd
import pytest

from cascade.base.columns import among


@pytest.mark.parametrize("dtype", ["str", "object"])
def test_every_cell_is_looked_for_among_the_wanted(dtype: str) -> None:
    cells = pd.Series(["20_A", "20_A", "3_B", "20_A", ""], dtype=dtype)
    assert among(cells, {"3_B", "4_C"}).tolist() == [False, False, True, False, False]
    assert among(cells, set()).tolist() == [False] * 5
    assert among(cells[:0], {"3_B"}).tolist() == []
