"""The ensemble's numbers fitted on labelled runs: judged as the ensemble ranks, and taken only for a sure gain."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import pytest
from ir_measures import AP

from cascade.base import folder as folders
from cascade.base.errors import CascadeError, DataError, StageError
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Ensemble
from cascade.evaluation.compare.sides import read
from cascade.evaluation.fit import command, search
from cascade.evaluation.fit.judged import Judged, Numbers
from cascade.rankings import fusion, tables
from cascade.stages import fusing, resume
from cascade.stages.context import RunContext
from tests import pages
from tests.conftest import set_cell, write_folder
from tests.refusals import refused
from tests.runs import Run
from tests.toy import replace as edit

LABELS = 60
TRUTH = {"20_A": 0, "20_B": 20, "20_D": 21, "21_B": 22, "21_D": 5, "22_B": 23, "22_C": 7}  # of `write_folder`
SEEN = ("20_A", "21_D", "22_C")


def random_case(seed: int, queries: int = 40) -> tuple[dict[str, pd.DataFrame], pd.DataFrame, set[int]]:
    """Two rankings, each over other queries and to another depth, with labels that they often lack, and seen ids."""
    rng = np.random.default_rng(seed)
    names = [f"q{place}" for place in range(queries)]

    def ranking(depth: int) -> pd.DataFrame:
        some = sorted(rng.permutation(names)[: queries - 3].tolist())
        return tables.from_matrix(some, np.arange(LABELS), rng.random((len(some), LABELS)).astype(np.float32), depth)

    truth = pd.DataFrame({"query_id": rng.permutation(names), "label_id": rng.integers(0, LABELS + 5, queries)})
    return {"a": ranking(30), "b": ranking(12)}, truth, set(rng.permutation(LABELS)[:30].tolist())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "numbers",
    [
        Numbers({"a": 1.0, "b": 1.0}),
        Numbers({"a": 0.3, "b": 1.0}, boost=2.0),
        Numbers({"a": 2.0, "b": 1.0}, boost=0.5),
        Numbers({"a": 1.0, "b": 0.75}, share=0.8),
    ],
    ids=["plain", "boost", "malus", "share"],
)
def test_a_run_is_judged_as_its_ensemble_ranks_by_ir_measures(seed: int, numbers: Numbers) -> None:
    rankings, truth, seen = random_case(seed)
    fused = fusion.fuse(rankings, numbers.weights)
    factor = 1.0 if numbers.boost is None else numbers.boost
    if numbers.share is not None:
        factor = fusion.factor_for_share(fused, seen, numbers.share)
        assert factor > 1
    table = fusion.to_table(fusion.boost_unseen(fused, seen, factor))
    qrels = [ir_measures.Qrel(q, str(label), 1) for q, label in zip(truth["query_id"], truth["label_id"], strict=True)]
    run = [ir_measures.ScoredDoc(q, str(label), -float(rank)) for q, label, _, rank in table.to_numpy().tolist()]
    expected = {each.query_id: each.value for each in ir_measures.iter_calc([AP @ 25], qrels, run)}
    gains = Judged(Path("run"), rankings, truth, seen, 25).gains(numbers)
    assert gains == pytest.approx([expected.get(query, 0.0) for query in truth["query_id"]], abs=1e-9)
    assert 0 < (gains > 0).sum() < len(gains)


def ranked(places: Mapping[str, int]) -> pd.DataFrame:
    """A ranking of 25 labels with each query's own, of `TRUTH`, in that place."""
    return pages._table([row for query, rank in places.items() for row in pages._ranking(query, TRUTH[query], rank)])


def hand_made(a: int, b: int) -> Judged:
    """A run whose member `a` ranks every label in place `a`, and `b` likewise; rivals in the same order in both."""
    truth = pd.DataFrame({"query_id": list(TRUTH), "label_id": list(TRUTH.values())})
    known = {TRUTH[query] for query in SEEN}
    members = {"a": ranked(dict.fromkeys(TRUTH, a)), "b": ranked(dict.fromkeys(TRUTH, b))}
    return Judged(Path("run"), members, truth, known, 25)


def test_the_member_that_is_right_gets_enough_weight_to_win() -> None:
    """The best rival has 1/1 of `a` and 1/2 of `b`, the label 1/2 and 1/1: it wins with more weight on `b`."""
    run, start = hand_made(2, 1), Numbers({"a": 1.0, "b": 0.5})
    assert run.gains(start) == pytest.approx(np.full(7, 1 / 2))
    found = search.fit(search.whole([run]), start, ["b"], None, boosted=False)
    assert found.weights["a"] == 1.0 < found.weights["b"]
    assert run.gains(found) == pytest.approx(np.ones(7))


def test_numbers_that_no_others_beat_stay() -> None:
    start = Numbers({"a": 0.7, "b": 0.3}, boost=1.07)
    assert search.fit(search.whole([hand_made(1, 1)]), start, ["b"], None, boosted=True) == start


def test_no_two_numbers_near_the_fitted_ones_are_better() -> None:
    """Changing one at a time may end where two together still gain."""
    for seed in range(8):
        run, start = Judged(Path("run"), *random_case(seed, 60), 25), Numbers({"a": 1.0, "b": 0.1}, boost=1.0)
        found = search.fit(search.whole([run]), start, ["b"], None, boosted=True)
        reached = run.gains(found).mean()
        assert found.boost is not None
        ratios, boosts = (
            [value for at, value in enumerate(values) if abs(at - values.index(now)) <= 2]
            for values, now in ((search.RATIOS, found.weights["b"]), (search.BOOSTS, found.boost))
        )
        for b, boost in product(ratios, boosts):
            assert run.gains(Numbers({"a": 1.0, "b": b}, boost)).mean() <= reached + 1e-8, (seed, b, boost)


def test_the_boost_follows_from_the_share_of_unseen_that_it_is_fitted_for() -> None:
    """Seen labels are first, with an unseen rival second; unseen ones are second: a boost of 2 turns all of them."""
    places = {query: 1 if query in SEEN else 2 for query in TRUTH}
    truth = pd.DataFrame({"query_id": list(TRUTH), "label_id": list(TRUTH.values())})
    known = {*(TRUTH[query] for query in SEEN)}
    table = ranked(places)
    first = (table["rank"] == 1) & ~table["query_id"].isin(SEEN)
    table.loc[first, "label_id"] = 0  # a seen one before every unseen label
    run = Judged(Path("run"), {"a": table}, truth, known, 25)
    start = Numbers({"a": 1.0})
    few, many = (search.fit(search.whole([run]), start, [], unseen, boosted=True) for unseen in (0.1, 0.9))
    assert few == start and many.boost is not None and many.boost > 2
    assert run.gains(many)[~run.seen] == pytest.approx(np.ones(4)) and run.gains(many)[run.seen].min() < 1


def test_a_share_of_unseen_weights_the_kinds_whatever_their_numbers() -> None:
    seen = np.array([True] * 9 + [False])
    before, after = np.where(seen, 0.5, 0.1), np.where(seen, 0.4, 0.3)
    found = search.HeldOut(seen, before, after, [])
    assert found.change(None, 0).gain == pytest.approx((9 * -0.1 + 0.2) / 10)
    assert found.change(0.6, 0).gain == pytest.approx(0.4 * -0.1 + 0.6 * 0.2)
    assert found.change(0.6, 0).before == pytest.approx(0.4 * 0.5 + 0.6 * 0.1)
    assert found.change(1.0, 0).interval == pytest.approx((0.2, 0.2)) and found.change(1.0, 0).queries == 1


def test_what_is_fitted_to_noise_gains_nothing_where_it_is_held_out() -> None:
    runs = [Judged(Path(f"run{seed}"), *random_case(seed, 60), 25) for seed in (1, 2, 3)]
    start = Numbers({"a": 1.0, "b": 1.0}, boost=1.0)
    found = search.fit(search.whole(runs), start, ["b"], None, boosted=True)
    gained = np.concatenate([run.gains(found) - run.gains(start) for run in runs])
    held_out = search.held_out(runs, start, ["b"], None, True, 0)
    change = held_out.change(None, 0)
    assert gained.mean() > max(0.0, change.gain) and change.interval[0] <= 0
    assert [name for name, _ in held_out.fitted] == ["run1", "run2", "run3"]


def test_one_run_is_halved_between_groups() -> None:
    rankings, truth, seen = random_case(1)
    groups = [f"g{place % 8}" for place in range(len(truth))]
    run = Judged(Path("run"), rankings, truth, seen, 25, groups)
    halves = search._halves(run, 0)
    own = [{groups[place] for place in np.flatnonzero(half.chosen)} for half in halves]
    assert not own[0] & own[1] and [half.chosen.sum() for half in halves] == [20, 20]
    single = Judged(Path("run"), rankings, truth, seen, 25, ["one"] * len(truth))
    assert [half.chosen.sum() for half in search._halves(single, 0)] == [20, 20]


# --- runs' folders ---


def finished(root: Path, name: str, members: Mapping[str, int], told: str = "") -> Path:
    """A run of the small data, changed by `told` to be of other queries: each member ranks every label in one place."""
    data = root / f"data-{name}"
    write_folder(data)
    for row in (1, 2, 3) if told else ():
        set_cell(data / "test.csv", row, "QuestionText", f"{told} {row}")
    context = RunContext(configs.load(Run(root, "").write_config()), EEDI.read(data), root / name)
    folders.claim(context.run)
    for member, rank in members.items():
        tables.write(ranked(dict.fromkeys(TRUTH, rank)), context.config.table_path(member, context.run))
    record(context)
    return context.run


def record(context: RunContext) -> None:
    folders.update(
        context.run, identity=resume.identity(context), config=str(context.config.path), data=str(context.task.folder),
        settings=context.config.model_dump(mode="json"), stages={"retrieve-r1": {"table": "candidates-r1.parquet"}},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def fresh() -> None:
    read.cache_clear()


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Runs in which ce ranks every label second and r1 first, while the config has twice the weight on ce."""
    return [finished(tmp_path, "one", {"ce": 2, "r1": 1}), finished(tmp_path, "two", {"ce": 2, "r1": 1}, "Another")]


def fit(runs: Iterable[Path], out: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"config": None, "data": [], "unseen": None, "seed": 0} | options
    command.fit(list(runs), out=out, **given)
    return tomllib.loads(out.read_text(encoding="utf-8"))


def test_numbers_that_gain_on_the_run_left_out_are_written_as_a_config_has_them(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit.toml"
    found = fit(two, out)["ensemble"]
    assert found["weights"]["ce"] == 1.0 < found["weights"]["r1"]
    Ensemble.model_validate(found)
    said = capsys.readouterr().out
    for words in ("14 labelled", "are taken", "held out, unseen"):
        assert words in out.read_text()
    assert "only 14 queries are labelled" in said and "60% unseen" in said and "fitted without" in said
    # In the config, the numbers give what was told: the product's own fusion ranks every label first.
    context = RunContext(configs.load(tmp_path / "config.toml"), EEDI.read(tmp_path / "data-one"), two[0])
    context = replace(context, config=context.config.changed(context.config.ensemble, **found))
    members = {name: tables.read(context.config.table_path(name, two[0])) for name in found["weights"]}
    fused = fusing.fuse(context, members)
    assert fused[fused["rank"] == 1].set_index("query_id")["label_id"].to_dict() == TRUTH
    fit(two, out)  # its own file is made anew


def test_a_gain_that_may_be_none_leaves_the_configs_numbers(tmp_path: Path) -> None:
    run = finished(tmp_path, "one", {"ce": 1, "r1": 1})
    found = fit([run], tmp_path / "fit.toml")["ensemble"]
    assert found == {"weights": {"ce": 1.0, "r1": 0.5}, "unseen_boost": 1.2}
    assert "not taken" in (tmp_path / "fit.toml").read_text()


def test_a_member_without_any_table_keeps_its_weight_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path, "one", {"r1": 2})
    assert fit([run], tmp_path / "fit.toml")["ensemble"]["weights"] == {"ce": 1.0, "r1": 0.5}
    assert "ce has no table in any run" in capsys.readouterr().out


def test_another_config_has_its_own_numbers(two: list[Path], tmp_path: Path) -> None:
    edit(tmp_path / "config.toml", "{ ce = 1.0, r1 = 0.5 }", "{ ce = 0.1, r1 = 3.0 }")
    found = fit(two, tmp_path / "fit.toml", config=tmp_path / "config.toml")["ensemble"]
    assert found["weights"] == {"ce": 0.1, "r1": 3.0}, "with which every label is first already"


def test_without_unseen_labels_the_boost_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path, "one", {"ce": 2, "r1": 1})
    data = tmp_path / "data-one"
    for row, label in ((1, "20"), (2, "21"), (3, "22"), (5, "23")):
        set_cell(data / "train.csv", row, "MisconceptionDId", label)
    context = RunContext(configs.load(tmp_path / "config.toml"), EEDI.read(data), run)
    assert {*TRUTH.values()} <= context.task.seen
    record(context)
    assert fit([run], tmp_path / "fit.toml")["ensemble"]["unseen_boost"] == 1.2
    assert "no labelled query is unseen" in capsys.readouterr().out
    with refused(DataError, "no labelled query is unseen", run, "--unseen"):
        fit([run], tmp_path / "fit.toml", unseen=0.5)


def test_what_cannot_be_judged_is_refused(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "fit.toml"

    def no(
        kind: type[CascadeError], what: str, path: Path | str, runs: list[Path], key: str = "", **options: Any
    ) -> None:
        read.cache_clear()
        with refused(kind, what, path, key):
            fit(runs, out, **options)
        assert not out.exists()

    no(StageError, "is not a run's folder", tmp_path, [tmp_path])
    no(StageError, "passed twice", two[0], [two[0], two[0]], "--run")
    no(StageError, "1 data folders for 2 runs", "", two, "--data", data=[tmp_path / "data-one"])
    again = tmp_path / "again"
    shutil.copytree(two[0], again)
    no(DataError, "7 of its labelled queries are also those of", again, [two[0], again])
    (again / "ranking-ce.parquet").unlink()
    edit(again / "run.json", "data-one", "data-other")
    write_folder(tmp_path / "data-other")
    (tmp_path / "data-other" / "test.csv").write_bytes((tmp_path / "data-two" / "test.csv").read_bytes())
    edit(again / "run.json", resume.manifest.sha256(tmp_path / "data-one/test.csv"),
         resume.manifest.sha256(tmp_path / "data-other/test.csv"))  # fmt: skip
    no(StageError, "has no table of ce, which another run has", again, [two[0], again])
    edit(again / "run.json", '"ce": 1.0,', "")
    no(StageError, "fuses r1, and", again, [two[0], again])
    set_cell(tmp_path / "data-one" / "train.csv", 1, "QuestionText", "It was changed.")
    no(StageError, "has changed since the run", "train.csv", two, f"run {two[0]}")
    (tmp_path / "data-two" / "test_labels.csv").unlink()
    (two[1] / "run.json").write_text((two[1] / "run.json").read_text().replace('"test_labels.csv"', '"no.txt"'))
    no(DataError, "has no labels", "data-two", [two[1]])


def test_somebodys_file_is_not_replaced(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("[ensemble]\n")
    with refused(StageError, "fit did not make it", out):
        fit(two, out)
    assert out.read_text() == "[ensemble]\n"
