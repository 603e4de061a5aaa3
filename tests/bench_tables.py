"""Large tables, of `python -m tests.bench`: CPU time and peak memory against an earlier build's, side by side.

16,002 queries and 5,000 labels go through TF-IDF retrieval, fusion with two other rankings, and the submission, with
the reads and checks between them: once with the cascade package of `BEFORE`, once with today's.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

Figures = Iterator[tuple[str, float, str]]
ROOT = Path(__file__).resolve().parents[1]
BEFORE = "449e6d4"  # the last commit whose tables were joined by text and ranked whole
QUESTIONS, LABELS, TRAIN = 5_334, 5_000, 1_000
CONFIG = """
[[retrieval]]
name = "r1"
top_k = 100
retriever = [{ kind = "tfidf" }]

[[pipeline]]
name = "p1"
kind = "cross-encoder"
model = "none"
candidates = "r1"
top_k = 50

[[pipeline]]
name = "p2"
kind = "cross-encoder"
model = "none"
candidates = "p1"
top_k = 25
select = { by = "p1", top_n = 20 }

[ensemble]
weights = { p2 = 2.0, p1 = 1.0, r1 = 0.5 }
unseen_boost = 1.2
"""


def tables_figures(folder: Path) -> Figures:
    """CPU seconds and peak memory of both, and their ratios; it ends where what they write differs."""
    write_data(folder / "data")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    took = {name: measured(code, folder, folder / name) for name, code in
            (("old", earlier(folder / "code")), ("new", ROOT))}  # fmt: skip
    if (folder / "old" / "submission.csv").read_bytes() != (folder / "new" / "submission.csv").read_bytes():
        sys.exit("the submissions of the two builds differ")
    for name, each in took.items():
        yield f"tables_cpu_{name}", each["cpu"], "s"
        yield f"tables_peak_memory_{name}", each["memory"], "GB"
    yield "tables_cpu_to_old", took["new"]["cpu"] / took["old"]["cpu"], "ratio"  # at most 0.25
    yield "tables_memory_to_old", took["new"]["memory"] / took["old"]["memory"], "ratio"  # at most 0.5


def earlier(folder: Path) -> Path:
    """The package as it was at `BEFORE`."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", BEFORE, "cascade"], capture_output=True)
    if archive.returncode:
        sys.exit(f"git has no commit {BEFORE} to measure against; fetch the whole history")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def measured(code: Path, folder: Path, out: Path) -> dict[str, float]:
    """What `work` took in a process of its own, with the package in `code`."""
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, __file__, str(code), str(folder), str(out)]
    shown = subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(shown.splitlines()[-1])
    return found


def write_data(folder: Path) -> None:
    """Questions and labels of the sample's words, drawn as often as they stand there, with numbers of their own."""
    folder.mkdir(parents=True)
    draw = random.Random(1)
    with (ROOT / "sample" / "train.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with (ROOT / "sample" / "misconception_mapping.csv").open(encoding="utf-8", newline="") as file:
        names = " ".join(name for _, name in csv.reader(file)).split()
    columns = {name: " ".join(row[place] for row in rows).split() for place, name in enumerate(header)}

    def text(words: list[str], count: int) -> str:
        picked = (draw.choice(words) for _ in range(max(1, round(draw.gauss(count, count / 4)))))
        return " ".join(re.sub(r"\d", lambda _: str(draw.randrange(10)), word) for word in picked)

    def question(number: int) -> dict[str, str]:
        return {
            "QuestionId": str(number), "ConstructId": "1", "SubjectId": "1", "CorrectAnswer": draw.choice("ABCD"),
            "ConstructName": text(columns["ConstructName"], 8), "SubjectName": text(columns["SubjectName"], 4),
            "QuestionText": text(columns["QuestionText"], 30),
            **{f"Answer{letter}Text": text(columns["AnswerAText"], 4) for letter in "ABCD"},
            **{f"Misconception{letter}Id": str(draw.randrange(LABELS)) for letter in "ABCD"},
        }  # fmt: skip

    def write(name: str, rows: list[dict[str, str]], header: list[str]) -> None:
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, header, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    labels = [{"MisconceptionId": str(number), "MisconceptionName": text(names, 13)} for number in range(LABELS)]
    write("misconception_mapping.csv", labels, ["MisconceptionId", "MisconceptionName"])
    write("train.csv", [question(number) for number in range(TRAIN)], header)
    asked = [question(number) for number in range(TRAIN, TRAIN + QUESTIONS)]
    write("test.csv", asked, [name for name in header if not name.startswith("Misconception")])


def work(code: Path, folder: Path, run: Path) -> None:
    """The steps themselves, by functions that both builds have; what the rerankers would write is drawn."""
    import numpy as np
    import pandas as pd

    if Path(code, "cascade", "stages.py").is_file():  # as the package lay at `BEFORE`
        from cascade import config as schema
        from cascade import data, stages, tables
        from cascade.stages import Bench as RunContext

        reading, read, pair = stages, data.read, ["query_id", "misconception_id"]
    else:
        from cascade.competitions.eedi import EEDI
        from cascade.config import schema
        from cascade.rankings import tables
        from cascade.stages import reading, stages
        from cascade.stages.context import RunContext

        read, pair = EEDI.read, ["query_id", "label_id"]
    settings = schema.load(folder / "config.toml")
    context = RunContext(settings, read(folder / "data"), run)
    run.mkdir(parents=True)
    draw = np.random.default_rng(1)
    for stage in ("r1", "p1", "p2"):
        wanted = reading.expected(context, stage)
        path = settings.table_path(stage, run)
        if stage == "r1":
            stages.retrieve(context, stage)
        else:
            rows = reading.taken(context, settings.pipeline_named(stage))[0][pair]
            tables.write(tables.from_scores(rows.assign(score=draw.random(len(rows)))), path)
        table = reading.check_fits(context, tables.read(path), path)
        assert wanted == set(table["query_id"].unique())
    ranking = stages.ensemble(context)
    assert isinstance(ranking, pd.DataFrame)
    assert (run / "submission.csv").is_file()


def main(code: Path, folder: Path, out: Path) -> None:
    """Does the work with the package in `code` and prints what it took."""
    import cascade

    assert Path(str(cascade.__file__)).is_relative_to(code), cascade.__file__
    work(code, folder, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not ru_maxrss, which begins with what the process had that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "memory": int(peak[1]) * 1024 / 1e9}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
