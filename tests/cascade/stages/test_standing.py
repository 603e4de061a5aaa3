"""A valid submission.csv is only ever replaced by a later stage's valid one, and by none of less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.base import folder as folders
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.kaggle import kernel
from cascade.rankings import fusion, tables
from cascade.stages import baseline, fusing, reading, stages
from cascade.stages.context import RunContext
from cascade.stages.standing import Standing
from tests import pages
from tests.conftest import set_cell
from tests.eedi import asked, rows_of
from tests.toy import replace


@pytest.fixture
def context(folder: Path) -> RunContext:
    """A run whose retrieval and pipeline have left their tables, and its submission zero."""
    return pages.small(folder)


def rows(context: RunContext) -> dict[str, list[int]]:
    return rows_of(context.run / "submission.csv")


def standing(context: RunContext) -> Standing:
    return Standing(context, rows_of(context.run / baseline.FILE))


def improved(context: RunContext) -> tuple[Standing, dict[str, list[int]]]:
    """After all stages."""
    found = standing(context)
    before = rows(context)
    found.improve()
    assert rows(context) != before
    return found, rows(context)


@pytest.mark.parametrize("spoilt", ["submission.csv", "submission*.csv", "*"])
def test_what_a_stage_spoils_is_put_back_and_not_submission_zero(context: RunContext, spoilt: str) -> None:
    found, best = improved(context)
    for path in context.run.glob(spoilt):
        path.write_text("not,a submission")
    found.improve()
    assert rows(context) == best


def test_a_conductor_that_begins_after_it_was_spoilt_finds_the_copy(context: RunContext) -> None:
    _, best = improved(context)
    (context.run / "submission.csv").write_text("not,a submission")
    for table in context.run.glob("*.parquet"):
        table.unlink()
    standing(context).improve()
    assert rows(context) == best


@pytest.mark.parametrize(("lost", "stays"), [("ce", True), ("r1", True), ("", False)])
def test_a_fusion_of_less_replaces_nothing(
    context: RunContext, lost: str, stays: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found, best = improved(context)
    if lost:
        context.config.table_path(lost, context.run).unlink()
    else:  # the same tables, one of them made anew
        pages.tables.write(pages._table(pages._ranking("20_A", 29, 1)), context.config.table_path("ce", context.run))
    found.improve()
    assert (rows(context) == best) == stays
    assert (f"kept, as it was also made with {lost}" in capsys.readouterr().out) == stays
    stages.ensemble(context)  # as the notebook does
    assert (rows(context) == best) == stays


def test_of_two_parts_the_one_of_more_weight_stands(context: RunContext) -> None:
    """ce weighs twice what r1 does: a retrieval that is lost after its stage costs the pipeline nothing."""
    ce = context.config.table_path("ce", context.run)
    table = pages.tables.read(ce)
    ce.unlink()
    _, of_r1 = improved(context)
    context.config.table_path("r1", context.run).unlink()
    pages.tables.write(table, ce)
    standing(context).improve()
    assert rows(context) != of_r1


def test_a_member_that_the_config_has_no_longer_is_not_waited_for(context: RunContext) -> None:
    _, best = improved(context)
    replace(context.config.path, "{ ce = 1.0, r1 = 0.5 }", "{ r1 = 0.5 }")
    other = RunContext(configs.load(context.config.path), context.task, context.run)
    standing(other).improve()
    assert rows(other) != best


def test_a_file_that_is_not_the_record_s_is_replaced(context: RunContext) -> None:
    """It is valid, and nothing tells that it is more than submission zero."""
    found, best = improved(context)
    submission.write({query: list(range(25)) for query in best}, asked([]), context.run / "submission.csv")
    context.config.table_path("ce", context.run).unlink()
    found.improve()
    assert rows(context)["20_A"] != list(range(25))


def test_submission_zero_leaves_a_valid_file_and_replaces_any_other(context: RunContext, folder: Path) -> None:
    _, best = improved(context)
    baseline.write(EEDI.outline(folder), context.run)
    assert rows(context) == best
    baseline.write(EEDI.outline(folder), context.run, anew=True)
    assert rows(context) == rows_of(context.run / baseline.FILE) != best
    (context.run / "submission.csv").write_text("not,a submission")
    baseline.write(EEDI.outline(folder), context.run)
    assert rows(context) == rows_of(context.run / baseline.FILE)
    set_cell(folder / "test.csv", 1, "QuestionId", "99")  # another test: valid for the old one is not for it
    baseline.write(EEDI.outline(folder), context.run)
    assert next(iter(rows(context))) == "99_A"


def test_a_second_run_sets_the_copy_aside_with_the_rest(context: RunContext) -> None:
    improved(context)
    folders.set_aside(context.run, {"retrieve-r1": "candidates-r1.parquet"})
    assert not (context.run / submission.LAST).exists()
    assert (context.run / "previous" / submission.LAST).is_file()


def test_in_the_rerun_the_last_cell_puts_the_last_valid_one_back(
    context: RunContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, best = improved(context)
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    found = kernel.Kernel(context.config.path, folder, context.run, Path(), EEDI)
    for spoilt in (["submission.csv"], ["submission.csv", submission.LAST]):
        for name in spoilt:
            (context.run / name).write_text("not,a submission")
        kernel.settle(found, 0)
        assert rows(context) == (best if len(spoilt) == 1 else baseline.rows(EEDI.outline(folder)))


def test_a_short_row_is_filled_from_its_candidates_then_zero_then_the_mapping(context: RunContext) -> None:
    for name in (*context.config.ensemble.weights, *(each.name for each in context.config.retrieval)):
        path = context.config.table_path(name, context.run)
        tables.write(tables.cut(tables.read(path), 3), path)  # so short that submission zero is needed
    rankings = reading.members(context)
    table = tables.cut(fusing.fuse(context, rankings), 2)
    found = fusing.write_submission(context, table, list(rankings))
    lists = [*rankings.values(), *(reading.read_table(context, each.name) for each in context.config.retrieval)]
    zero_rows = rows_of(context.run / baseline.FILE)
    for query in context.task.asked:
        first, *others = (
            each["label_id"][each["query_id"] == query].tolist() for each in (table, *lists) if each is not None
        )
        assert found is not None
        assert found[query] == fusion.fill(first, *others, zero_rows[query], list(context.task.texts), length=25)


def test_where_no_row_is_short_no_other_table_is_read(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ids = context.task.asked, context.task.labels["label_id"].to_numpy()
    table = tables.from_matrix(asked, ids, np.random.default_rng(0).random((len(asked), len(ids))), 28)
    monkeypatch.delattr(reading, "read_table")
    found = fusing.write_submission(context, table, list(context.config.ensemble.weights))
    assert found == {query: table["label_id"][table["query_id"] == query].tolist()[:25] for query in asked}
