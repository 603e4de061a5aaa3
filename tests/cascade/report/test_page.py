"""A run's page says what the run's files say, harms nobody whatever a question holds, and can never cost the run."""

import html
import json
import re
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest

from cascade.base import ledger
from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.report.page import build, launch, pictures, queries
from cascade.report.page.mathml import formula
from tests import pages
from tests.conftest import set_cell
from tests.pages import BEGAN

ATTACK = '</script><script>window.hacked = 1</script><img src="https://evil.example/x.png" onerror="window.hacked = 2">'


def text(source):
    """What a reader sees of a piece of HTML, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", source)).split())


def section(source, name):
    return re.search(rf'<section id="{name}">.*?</section>', source, re.DOTALL)[0]


def data_of(source):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', source, re.DOTALL)[1])


def test_the_head_says_what_ran_and_how_it_ended(folder):
    context = pages.small(folder)
    shown = text(re.search("<header>.*</header>", build.html(context), re.DOTALL)[0])
    assert "config.toml on data" in shown
    assert "9 queries, 7 with a known label" in shown
    assert "2027-01-15 08:00 UTC took 1 min 40 s" in shown
    assert "✗ 1 of 3 stages failed: rerank-ce; submission.csv is valid" in shown
    # (1 + 1/4 + 1/9 + 1/2 + 1/12 + 0 + 1/3) / 7 of r1; in ce's, 21_D keeps the rank it had in r1.
    assert "0.325 r1 0.412 ce 0.340 ensemble" in shown


def test_a_run_that_was_cut_off_does_not_look_like_a_good_one(folder):
    context = pages.small(folder)
    (context.run / ledger.FILE).write_text(
        '{"stage": "zero", "phase": "stage", "start": 5, "end": 6, "status": "ok"}\n'
    )
    (context.run / "submission.csv").write_text("nonsense\n")
    shown = text(build.html(context))
    assert "✗ did not run: retrieve-r1, rerank-ce, ensemble; submission.csv is not valid:" in shown


def test_the_time_picture_marks_decisions_failures_and_the_deadline(folder):
    shown = section(build.html(pages.small(folder)), "times")
    assert re.findall(r'class="phase[^>]*>(\w+)<', shown) == ["retrieve", "score"]
    assert 'class="phase failed" style="left:25.0%;width:41.667%" title="score 50 s, 12,345 tokens">' in shown
    assert 'class="mark" style="left:66.667%" title="stopped after 5 of 9"' in shown
    assert 'class="deadline" style="left:100.0%"' in shown
    assert "rerank-ce stopped after 5 of 9 rerank-ce failed: exit code 1: <no memory>; fix: use <less>" in text(shown)
    assert "The deadline: 20 s after the last stage ended." in text(shown)


def test_a_far_deadline_is_told_and_a_pause_is_cut_out(tmp_path):
    ledger.record(tmp_path, "retrieve-r1", ledger.STAGE, BEGAN, BEGAN + 100, status="ok")
    ledger.record(tmp_path, "rerank-ce", ledger.STAGE, BEGAN + 4000, BEGAN + 4100, status="ok")
    drawn = pictures.times(tmp_path, BEGAN + 4100 + 3600)
    assert not drawn["deadline"]["drawn"]
    assert drawn["deadline"]["text"] == "1 h after the last stage ended"
    assert [said for _, said in drawn["pauses"]] == ["1 h 5 min pause"]
    assert [row["width"] for row in drawn["rows"]] == [pytest.approx(47.6, abs=0.1)] * 2
    assert len(drawn["ticks"]) <= pictures.TICKS + 1


def test_a_clock_that_jumped_back_stays_within_the_picture(tmp_path):
    ledger.record(tmp_path, "retrieve-r1", "retrieve", BEGAN, BEGAN - 50)
    ledger.record(tmp_path, "retrieve-r1", ledger.STAGE, BEGAN, BEGAN - 40, status="ok")
    [row] = pictures.times(tmp_path, BEGAN - 1000)["rows"]
    assert all(0 <= part["left"] <= 100 and 0 <= part["width"] <= 100 for part in (row, *row["phases"]))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "0.2 s"), (9.96, "10 s"), (59.7, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_read_well(seconds, said):
    assert pictures.duration(seconds) == said


def test_moves_are_counted_from_what_the_stage_was_given(folder):
    context = pages.small(folder)
    stood = build.standing(context, build.rankings(context))
    drawn = {(move["before"], move["after"]): move for move in build.moves(context, stood)}
    assert list(drawn) == [("r1", "ce"), ("ce", "ensemble")]
    # 20_B and 22_C rise, 20_D and 21_B fall; what ce did not rank stays where it was.
    assert drawn["r1", "ce"]["counts"] == (2, 3, 2)
    titles = [dot["title"] for dot in drawn["r1", "ce"]["dots"]]
    assert "absent → absent: 1 unseen" in titles
    assert "4 → 1: 1 unseen" in titles


def test_each_query_has_the_ranks_and_first_candidates_of_every_ranking(folder):
    data = data_of(build.html(pages.small(folder)))
    assert data["rankings"] == ["r1", "ce", "ensemble"]
    rows = {row["id"]: row for row in data["queries"]}
    assert (rows["20_D"]["label"], rows["20_D"]["ranks"]) == (21, [9, 10, 20])
    assert [first and first[0][0] for first in rows["20_B"]["first"]] == [0, 20, 0]
    assert rows["22_B"]["ranks"] == [None, None, None]  # nowhere, or not ranked
    assert rows["22_B"]["first"][1] is None
    assert (rows["21_C"]["label"], rows["21_C"]["ranks"]) == (None, [None, None, None])
    assert data["names"]["0"] == ["Adds the fractions&#x27; numerators 0 times", True]
    assert data["names"]["20"][1] is False
    assert {len(first) for row in rows.values() for first in row["first"] if first} == {queries.SHOWN}


@pytest.mark.parametrize("labels", ["missing", "empty"])
def test_without_labels_it_shows_times_agreement_and_candidates_but_no_scores(folder, labels):
    if labels == "missing":
        (folder / "test_labels.csv").unlink()
    context = pages.small(folder)
    if labels == "empty":
        empty = pd.DataFrame({"query_id": [], "label_id": []})
        context = replace(context, task=replace(context.task, truth=empty))
    source = build.html(context)
    assert re.findall(r'<section id="(\w+)">', source) == ["times", "agreement", "queries"]
    assert "MAP" not in text(re.sub("<script.*", "", source, flags=re.DOTALL))
    assert "recall" not in source
    assert "9 queries, none with a known label" in text(source)
    assert all(row["first"][0] for row in data_of(source)["queries"])


def test_a_run_whose_ensemble_left_nothing_shows_what_was_submitted(folder):
    context = pages.small(folder)
    (context.run / "ranking-ensemble.parquet").unlink()
    (context.run / "ranking-ce.parquet").write_bytes(b"broken")
    assert list(build.rankings(context)) == ["r1", "ensemble"]
    (context.run / "candidates-r1.parquet").unlink()
    source = build.html(context)
    assert data_of(source)["rankings"] == []
    assert "submission zero" in text(section(source, "scores"))


def test_hostile_text_stays_text(folder):
    for column in ("QuestionText", "AnswerAText", "SubjectName", "ConstructName"):
        set_cell(folder / "test.csv", 1, column, f"{column} {ATTACK} ![{ATTACK}](javascript:window.hacked=3)")
    set_cell(folder / "misconception_mapping.csv", 1, "MisconceptionName", ATTACK)
    context = pages.small(folder)
    ledger.record(context.run, "ensemble", "fuse", BEGAN + 91, BEGAN + 92, decision=ATTACK)
    source = build.html(context)
    assert source.count("<script") == source.count("</script>") == 2
    assert "<img" not in source
    data = data_of(source)
    assert html.unescape(data["names"]["0"][0]) == ATTACK
    pieces = [*data["mains"], *(text for row in data["queries"] for _, text in row["shown"])]
    tags = {tag for piece in [*pieces, data["names"]["0"][0]] for tag in re.findall(r"<(\w+)", piece)}
    assert tags <= {"i", "br", "math", "mrow", "mfrac", "mn", "mo", "mi"}


@pytest.mark.parametrize(
    ("latex", "wanted"),
    [
        (r"\( \frac{1}{2} \)", "<mfrac>"),
        (r"\[ x^2 < 3 \]", 'display="block"'),
        (r"\( a < b \)", "<mo>&lt;</mo>"),
        (r"\(\begin{array}{r}1 \\ +2 \\ \hline 3\end{array}\)", 'class="ruled"'),
        (r"\begin{tabular}{|l|c|} \hline a & $\frac{1}{2}$ \\ \hline 5\% & c \\ \end{tabular}", "<td>5%</td>"),
        (r"\( \left( x \)", r"<code>\( \left( x \)</code>"),  # unfinished
        (r"\( \newcommand{\a}{\a} \a \)", "<code>"),  # endless
        (rf"\( {'{' * 5000} \)", "<code>"),
    ],
)
def test_formulas_become_mathml_or_stay_as_they_are(latex, wanted):
    assert wanted in formula(html.escape(latex))


@pytest.mark.parametrize(
    "latex",
    [
        r"\( \text{<img src=x onerror=alert(1)>} \)",
        r"\( \text{&lt;img src=x onerror=alert(1)&gt;} \)",
        r"\( \href{javascript:alert(1)}{x} \)",
        r"\( \style{background:url(https://evil.example)}{x} \)",
        r'\( \color{red" onclick="alert(1)}{x} \)',
        r"\begin{tabular}{l} <img src=x> & $\text{<script>}$ \end{tabular}",
    ],
)
def test_no_formula_makes_anything_but_mathematics(latex):
    made = formula(html.escape(latex))
    assert not re.search(r"<(?!/?(math|m[a-z]+|table|tr|td|code)\b)", made)
    assert not re.search(r'\s(href|style|on\w+)="', made)


def test_without_latex2mathml_the_latex_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    formula.cache_clear()
    assert formula(r"\( \frac{1}{2} \)") == r"<code>\( \frac{1}{2} \)</code>"
    formula.cache_clear()


def test_the_samples_page_is_one_small_file_that_needs_no_other(tmp_path):
    path = build.write(pages.sample(tmp_path))
    source = path.read_text(encoding="utf-8")
    assert len(source) < 2_000_000
    assert not re.search(r"https?:|//\w|@import|url\(", source)
    assert re.findall(r"<(?:link|img|script|iframe|object)\b[^>]*(?:src|href)=([^> ]*)", source) == ['"data:,"']
    assert "<code>" not in source  # every formula of the sample can be read
    assert [name.name for name in tmp_path.glob("report*")] == ["report.html"]


def test_a_folder_without_a_run_is_an_error_and_stays_as_it_is(folder, tmp_path):
    context = replace(pages.small(folder), run=tmp_path / "none")
    with pytest.raises(StageError, match=r"none/ledger\.jsonl: missing or empty; pass --run"):
        build.write(context)
    assert not context.run.exists()


def leave(config, data, run, deadline):
    """In a process of its own, all of whose descendants it may end."""
    script = (
        "import sys; from pathlib import Path; from cascade.report.page import launch; a = sys.argv[1:];"
        "print(launch.leave(*map(Path, a[:3]), float(a[3])))"
    )
    command = [sys.executable, "-c", script, str(config), str(data), str(run), str(deadline)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_it_is_left_or_the_reason_and_the_command_are_said(folder):
    context = pages.small(folder)
    (context.run / "logs").mkdir()
    given = (context.config.path, folder, context.run)
    assert leave(*given, time.time() + 600) == f"{context.run / launch.FILE} shows the whole run\n"
    by_hand = f"python -m cascade page --config {context.config.path} --data {folder} --run {context.run}"
    assert leave(*given, time.time() + 1) == f"no report.html: no time was left; make it by: {by_hand}\n"
    assert (context.run / launch.FILE).exists()
    (context.run / "candidates-r1.parquet").unlink()
    (folder / "test.csv").write_text("QuestionId\n")
    assert leave(*given, time.time() + 600).startswith(f"no report.html: see {context.run / 'logs' / 'page.log'}")
    assert not (context.run / launch.FILE).exists()  # the earlier one would pass for this run's
    (context.run / "logs" / "page.log").unlink()
    (context.run / "logs").rmdir()
    assert leave(*given, time.time() + 600).startswith("no report.html: FileNotFoundError")


def test_the_conductor_leaves_the_page_of_a_run_that_failed(run):
    run.inject("rerank.ipynb", "raise SystemExit('out of luck')", before_work=True)
    code, output = run.finish()
    assert code == 1
    assert output.splitlines()[-1] == f"{run.out / launch.FILE} shows the whole run"
    shown = text((run.out / launch.FILE).read_text(encoding="utf-8"))
    assert "✗ 1 of 3 stages failed: rerank-ce; submission.csv is valid" in shown
    assert "The deadline:" in shown
