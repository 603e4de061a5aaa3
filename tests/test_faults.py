"""What the fault suite sees a run by: a watcher that must not miss anything, and roles that must be the right ones."""

from __future__ import annotations

import random
import time
from pathlib import Path

import psutil
import pytest

from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.competitions.map2025 import MAP2025
from cascade.stages import baseline
from tests.eedi import asked
from tests.faults import cases, judge, roles
from tests.faults.cases import Case
from tests.faults.inject import Fault, Strike
from tests.faults.micro import STAGES, make_map_project
from tests.faults.watcher import Watcher, expected_ids, fault_of

DAMAGE = {
    "cut within a row": lambda text: text[:-30],
    "cut at its last line end": lambda text: text[:-1],
    "empty": lambda text: "",
    "a row less": lambda text: text[: text.rstrip().rindex("\n") + 1],
    "rows in another order": lambda text: "\n".join([*text.split("\n")[:1], *text.split("\n")[-2:0:-1], ""]),
    "an id twice": lambda text: text.replace(",0 1 ", ",0 0 "),
    "an unknown id": lambda text: text.replace(",0 1 ", ",0 999 "),
    "24 ids": lambda text: text.replace(",0 1 ", ",0 "),
    "a blank line": lambda text: text + "\n",
    "a cell more": lambda text: text.replace("\n", ",x\n"),
    "digits that are none": lambda text: text.replace(",0 1 ", ",0 ² "),
    "another header": lambda text: text.replace("MisconceptionId", "Misconception"),
}


def valid(folder: Path) -> str:
    """A submission whose first row is 0 to 24."""
    rows = {query: list(range(25)) for query in baseline.rows(EEDI.outline(folder))}
    submission.write(rows, asked([]), folder / "valid.csv")
    return (folder / "valid.csv").read_text()


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_watcher_knows_what_is_no_submission(folder: Path, damage: str) -> None:
    ids, text = expected_ids(folder / "test.csv"), valid(folder)
    assert fault_of(text, ids, 30) == ""
    assert fault_of(DAMAGE[damage](text), ids, 30)


def test_the_watcher_sees_a_file_that_was_invalid_or_gone_for_a_moment(folder: Path, tmp_path: Path) -> None:
    path, text = tmp_path / "submission.csv", valid(folder)
    watcher = Watcher(path, folder / "test.csv")
    time.sleep(0.1)
    assert not watcher.first and not watcher.faults, "before submission zero there is nothing to see"
    for content in (text, text[:100], text, None, text):
        if content is None:
            path.unlink()
        else:
            partial = path.with_name("partial")
            partial.write_text(content)
            partial.replace(path)
        time.sleep(0.2)
    watcher.stop()
    assert watcher.first
    assert [fault.partition(": ")[2] for fault in watcher.faults] == [
        "no header, or a last line that is cut off", "it is gone",
    ]  # fmt: skip


def test_each_fault_comes_once_on_each_stage_that_can_have_it() -> None:
    drawn = [fault for case in cases.each(random.Random(1), True) for fault in case.faults]
    for kind, what, stages in cases.OF_STAGES:
        found = [fault.stage for fault in drawn if fault.kind == kind and fault.what in what and fault.stage in STAGES]
        assert sorted(found) == sorted(stages), (kind, what)
    for kind, what in cases.OF_RUNS:
        assert [fault for fault in drawn if (fault.kind, fault.what, fault.stage) == (kind, what[0], roles.RUN)]


def test_a_few_runs_have_each_kind_of_fault_but_three() -> None:
    """An ended conductor and a moved deadline are in test_conductor.py too, broken wheels in test_kernel.py."""
    every, some = (list(cases.each(random.Random(1), True, few)) for few in (False, True))
    kinds = [{(fault.kind, case.engine) for case in drawn for fault in case.faults} for drawn in (every, some)]
    left = {("deadline", "transformers"), ("wheel", "transformers"), ("stop", "vllm")}
    assert kinds[0] - kinds[1] == left and len(some) < 0.5 * len(every)
    killed = [{f.what for case in drawn for f in case.faults if f.kind == "kill"} for drawn in (every, some)]
    assert killed[0] - killed[1] == {"conductor"}
    assert {fault.stage for case in some for fault in case.faults} == {*STAGES, roles.RUN}


@pytest.mark.parametrize("seed", [1, 2])
def test_as_many_are_drawn_as_are_wanted_and_the_same_again_by_the_same_seed(seed: int) -> None:
    drawn, again = (list(cases.at_random(random.Random(seed), 100, True)) for _ in range(2))
    assert drawn == again != list(cases.at_random(random.Random(3), 100, True))
    assert sum(len(case.faults) for case in drawn) == 100


def test_a_strike_that_nothing_tells_is_found_and_one_after_the_work_is_not() -> None:
    strike = Strike(Fault("kill", "rerank-point", "worker"), 50.0, "process 1")
    ok = {"stage": "rerank-point", "phase": "stage", "start": 0, "end": 70, "status": "ok"}
    score = {"stage": "rerank-point", "phase": "score", "start": 0, "end": 60}
    assert judge._untold(strike, [score, ok], "is valid", False) == [
        "'kill worker of rerank-point at 0.00' (process 1) is not told in the last lines"
    ]
    assert not judge._untold(strike, [score | {"end": 40}, ok], "is valid", False)
    assert not judge._untold(strike, [score, ok], "rerank-point: the process on cpu died (exit code -9)", False)
    failed = ok | {"status": "exit code 1"}
    assert judge._untold(strike, [score, failed], "retrieve-r1 failed (killed by SIGKILL)", False)
    assert judge._untold(strike, [score, failed], "rerank-point failed (exit code 1: KeyError)", False)
    assert not judge._untold(strike, [score, failed], "rerank-point failed (ended at its limit of 20 s)", False)
    late, empty = (
        Strike(Fault("raise", "ensemble", "", 0.9), 0.0, "cell 8"),
        "ensemble failed (contains no table to combine)",
    )
    assert not judge._untold(late, [ok | {"stage": "ensemble", "status": "exit code 1"}], empty, True)
    assert judge._untold(late, [ok | {"stage": "ensemble", "status": "exit code 1"}], empty, False)


def test_a_stage_that_failed_though_nothing_was_done_to_it_is_found() -> None:
    fault = Fault("nan", "retrieve-r1")
    case, strikes = Case((fault,)), [Strike(fault, 0.0, "retriever-minilm")]
    assert judge._spread(case, strikes, {"retrieve-r1": "exit code 1"}) == []
    assert judge._spread(case, strikes, {"ensemble": "skipped: 3 s are too few to start it"}) == []
    assert judge._spread(case, strikes, {"retrieve-r1": "exit code 1", "ensemble": "exit code 1: KeyError"}) == [
        "ensemble failed, to which nothing was done: exit code 1: KeyError"
    ]
    assert judge._spread(case, [], {"retrieve-r1": "exit code 1"}), "a fault that struck nothing excuses nothing"
    both = {"retrieve-r1": "exit code 1", "rerank-point": "exit code 1", "ensemble": "contains no table to combine"}
    assert [broken.split()[0] for broken in judge._spread(case, strikes, both)] == ["rerank-point"]
    moved = Case((Fault("deadline", roles.RUN),))
    assert judge._spread(moved, [], {"ensemble": "exit code 1: KeyError"}) == []


def test_only_a_runs_own_processes_have_roles() -> None:
    assert roles.seen([psutil.Process()]) == {}


def test_the_watcher_knows_what_is_no_submission_of_map_2025(tmp_path: Path) -> None:
    project = make_map_project(tmp_path / "project")
    outline, path = MAP2025.outline(project / "data"), tmp_path / "submission.csv"
    submission.write(baseline.rows(outline), outline, path)
    watcher, text = Watcher(path, project / "data" / "test.csv"), path.read_text()
    watcher.stop()
    assert watcher.first and not watcher.faults and len(watcher.ids) == 6
    label = text.splitlines()[1].rpartition(" ")[2]
    for broken in (text[:-1], text.replace(f" {label}", ""), text.replace(label, "True_Correct:None"), text + text):
        assert fault_of(broken, watcher.ids, watcher.known)


def test_one_run_is_of_map_2025() -> None:
    for few, number in ((False, 1), (True, 0)):
        assert sum(case.of_map for case in cases.each(random.Random(1), True, few)) == number
