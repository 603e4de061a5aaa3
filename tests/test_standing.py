"""A valid submission.csv is only ever replaced by a later stage's valid one, and by none of less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.base import folder as folders
from cascade.competitions import submission
from cascade.config import schema as configs
from cascade.kaggle import kernel
from cascade.rankings import fusion, tables
from cascade.stages import baseline, fusing, reading, stages
from cascade.stages.context import Bench
from cascade.stages.standing import Standing
from tests import pages
from tests.conftest import set_cell
from tests.toy import replace


@pytest.fixture
def bench(folder: Path) -> Bench:
    """A run whose retrieval and pipeline have left their tables, and its submission zero."""
    return pages.small(folder)


def rows(bench: Bench) -> dict[str, list[int]]:
    return submission.read(bench.run / "submission.csv")


def standing(bench: Bench) -> Standing:
    return Standing(bench, submission.read(bench.run / baseline.FILE))


def improved(bench: Bench) -> tuple[Standing, dict[str, list[int]]]:
    """After all stages."""
    found = standing(bench)
    before = rows(bench)
    found.improve()
    assert rows(bench) != before
    return found, rows(bench)


@pytest.mark.parametrize("spoilt", ["submission.csv", "submission*.csv", "*"])
def test_what_a_stage_spoils_is_put_back_and_not_submission_zero(bench: Bench, spoilt: str) -> None:
    found, best = improved(bench)
    for path in bench.run.glob(spoilt):
        path.write_text("not,a submission")
    found.improve()
    assert rows(bench) == best


def test_a_conductor_that_begins_after_it_was_spoilt_finds_the_copy(bench: Bench) -> None:
    _, best = improved(bench)
    (bench.run / "submission.csv").write_text("not,a submission")
    for table in bench.run.glob("*.parquet"):
        table.unlink()
    standing(bench).improve()
    assert rows(bench) == best


@pytest.mark.parametrize(("lost", "stays"), [("ce", True), ("r1", True), ("", False)])
def test_a_fusion_of_less_replaces_nothing(
    bench: Bench, lost: str, stays: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found, best = improved(bench)
    if lost:
        bench.config.table_path(lost, bench.run).unlink()
    else:  # the same tables, one of them made anew
        pages.tables.write(pages._table(pages._ranking("20_A", 29, 1)), bench.config.table_path("ce", bench.run))
    found.improve()
    assert (rows(bench) == best) == stays
    assert (f"stays, as it was made with {lost} too" in capsys.readouterr().out) == stays
    stages.ensemble(bench)  # as the notebook does
    assert (rows(bench) == best) == stays


def test_of_two_parts_the_one_of_more_weight_stands(bench: Bench) -> None:
    """ce weighs twice what r1 does: a retrieval that is lost after its stage costs the pipeline nothing."""
    ce = bench.config.table_path("ce", bench.run)
    table = pages.tables.read(ce)
    ce.unlink()
    _, of_r1 = improved(bench)
    bench.config.table_path("r1", bench.run).unlink()
    pages.tables.write(table, ce)
    standing(bench).improve()
    assert rows(bench) != of_r1


def test_a_member_that_the_config_has_no_longer_is_not_waited_for(bench: Bench) -> None:
    _, best = improved(bench)
    replace(bench.config.path, "{ ce = 1.0, r1 = 0.5 }", "{ r1 = 0.5 }")
    other = Bench(configs.load(bench.config.path), bench.competition, bench.run)
    standing(other).improve()
    assert rows(other) != best


def test_a_file_that_is_not_the_record_s_is_replaced(bench: Bench) -> None:
    """It is valid, and nothing tells that it is more than submission zero."""
    found, best = improved(bench)
    submission.write({query: list(range(25)) for query in best}, bench.run / "submission.csv")
    bench.config.table_path("ce", bench.run).unlink()
    found.improve()
    assert rows(bench)["20_A"] != list(range(25))


def test_submission_zero_leaves_a_valid_file_and_replaces_any_other(bench: Bench, folder: Path) -> None:
    _, best = improved(bench)
    baseline.write(folder, bench.run)
    assert rows(bench) == best
    baseline.write(folder, bench.run, anew=True)
    assert rows(bench) == submission.read(bench.run / baseline.FILE) != best
    (bench.run / "submission.csv").write_text("not,a submission")
    baseline.write(folder, bench.run)
    assert rows(bench) == submission.read(bench.run / baseline.FILE)
    set_cell(folder / "test.csv", 1, "QuestionId", "99")  # another test: valid for the old one is not for it
    baseline.write(folder, bench.run)
    assert next(iter(rows(bench))) == "99_A"


def test_a_second_run_sets_the_copy_aside_with_the_rest(bench: Bench) -> None:
    improved(bench)
    folders.set_aside(bench.run, {"retrieve-r1": "candidates-r1.parquet"})
    assert not (bench.run / submission.LAST).exists()
    assert (bench.run / "previous" / submission.LAST).is_file()


def test_in_the_rerun_the_last_cell_puts_the_last_valid_one_back(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, best = improved(bench)
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    found = kernel.Kernel(bench.config.path, folder, bench.run, Path())
    for spoilt in (["submission.csv"], ["submission.csv", submission.LAST]):
        for name in spoilt:
            (bench.run / name).write_text("not,a submission")
        kernel.settle(found, 0)
        assert rows(bench) == (best if len(spoilt) == 1 else baseline.rows(folder))


def test_a_short_row_is_filled_from_its_candidates_then_zero_then_the_mapping(bench: Bench) -> None:
    for name in (*bench.config.ensemble.weights, *(each.name for each in bench.config.retrieval)):
        path = bench.config.table_path(name, bench.run)
        tables.write(tables.cut(tables.read(path), 3), path)  # so short that submission zero is needed
    rankings = reading.members(bench)
    table = tables.cut(fusing.fuse(bench, rankings), 2)
    found = fusing.write_submission(bench, table, list(rankings))
    lists = [*rankings.values(), *(reading.read_table(bench, each.name) for each in bench.config.retrieval)]
    zero_rows = submission.read(bench.run / baseline.FILE)
    for query in bench.competition.asked:
        first, *others = (
            each["misconception_id"][each["query_id"] == query].tolist() for each in (table, *lists) if each is not None
        )
        assert found is not None
        assert found[query] == fusion.fill(
            first, *others, zero_rows[query], list(bench.competition.names), length=submission.ROW_LENGTH
        )


def test_where_no_row_is_short_no_other_table_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ids = bench.competition.asked, bench.competition.misconceptions["misconception_id"].to_numpy()
    table = tables.from_matrix(asked, ids, np.random.default_rng(0).random((len(asked), len(ids))), 28)
    monkeypatch.delattr(reading, "read_table")
    found = fusing.write_submission(bench, table, list(bench.config.ensemble.weights))
    assert found == {
        query: table["misconception_id"][table["query_id"] == query].tolist()[: submission.ROW_LENGTH]
        for query in asked
    }
