"""What the conductor prints, where it can be printed and where not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.config import schema
from cascade.rankings import fusion, tables
from cascade.run import console
from cascade.stages.context import RunContext
from tests.eedi import asked

SAY = """
import sys
from cascade.base import streams
streams.survive_output()
for _ in range(9999):
    print("\\u25b6 \\xe9", flush=True)
open(sys.argv[1], "w").write("end")
"""


def spoken(folder: Path, redirect: str) -> tuple[int, str]:
    """The exit code of a process that prints 10,000 lines by way of a shell's `redirect`, and what else it said."""
    (folder / "say.py").write_text(SAY)
    script = f"{sys.executable} {folder / 'say.py'} {folder / 'end'} {redirect}"
    ascii_only = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], env=os.environ | ascii_only, capture_output=True, timeout=60
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("redirect", ["> /dev/full", ">&-", "2>&- >&- <&-", "| head -1", "> /dev/null"])
def test_output_that_cannot_be_printed_costs_nothing(tmp_path: Path, redirect: str) -> None:
    code, errors = spoken(tmp_path, redirect)
    assert (tmp_path / "end").read_text() == "end"
    assert code == 0 and "Error" not in errors


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    spoken(tmp_path, f"> {tmp_path / 'said'}")
    assert (tmp_path / "said").read_bytes().splitlines()[0] == b"\\u25b6 \\xe9"


LOGS = {
    "": "▶ rerank-a-name-longer    75 s",
    "Loading the model\nrerank-p: 30 of 120 queries, 340 tokens/s, 95 s left\nUserWarning: kernels is not installed":
        "▶ rerank-a-name-longer    75 s █████░░░░░░░░░░░░░░░ 30/120 queries, 95 s left",
    "MiniLM:  50%|█████     | 128/256 [00:10<01:02, 12.8text/s]\r":
        "▶ rerank-a-name-longer    75 s ██████████░░░░░░░░░░ 128/256 texts, 62 s left",
}  # fmt: skip


@pytest.mark.parametrize("text", LOGS)
def test_a_stages_line_has_its_counts_and_nothing_of_what_libraries_say(tmp_path: Path, text: str) -> None:
    (log := tmp_path / "a.log").write_text(text)
    line = console.bar("rerank-a-name-longer-than-its-column", 75, log)
    assert line == LOGS[text] and len(line) <= console.WIDTH


def test_without_a_terminal_a_stage_has_a_line_a_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printer = console.Printer(terminal=False)
    for name, seconds in (("a", 310), ("b", 59)):
        for second in range(seconds):
            printer.progress(name, second, tmp_path / "none.log")
        printer.say(name, seconds)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        *(["▶", "a", str(second)] for second in range(60, 310, 60)), ["✓", "a", "310.0"], ["✓", "b", "59.0"]
    ]  # fmt: skip


def test_a_stages_own_score_stands_beside_the_submissions_and_what_it_changed(tmp_path: Path) -> None:
    context = RunContext(schema.load(ROOT / "configs" / "sample.toml"), EEDI.read(ROOT / "sample"), tmp_path)
    labels = context.task.truth
    assert labels is not None
    right = labels.groupby("query_id")["label_id"].first()
    known = list(context.task.texts)

    def submit(share: float) -> None:
        good = int(share * len(right))
        rows = {
            query: fusion.fill([] if query not in right or right.index.get_loc(query) >= good else [right[query]],
                               [id_ for id_ in known if id_ != right.get(query)], length=25)
            for query in context.task.asked
        }  # fmt: skip
        submission.write(rows, asked([]), tmp_path / "submission.csv")

    printer = console.Printer(terminal=False)
    submit(0.0)
    assert printer.score(context).startswith("MAP@25: submission 0.0")
    submit(0.5)
    some = [(query, right[query], 1.0) for query in right.index[:10]]
    table = tables.from_scores(pd.DataFrame(some, columns=["query_id", "label_id", "score"]))
    tables.write(table, tmp_path / "ranking-a.parquet")
    assert printer.score(context, tmp_path / "ranking-a.parquet").startswith(
        f"MAP@25: own 1.0000 on 10 of {len(labels)} queries; submission 0."
    )
    assert " +0.0000 " in printer.score(context)
    submit(0.9)
    assert " +0.4" in printer.score(context)
    seen = labels[labels["label_id"].isin(context.task.seen)]
    known_only = replace(context, task=replace(context.task, truth=seen))
    assert "(seen " in printer.score(known_only) and "unseen" not in printer.score(known_only)
