"""The seam: a competition of one's own runs like the project's, and nothing else in the tree knows which one it is."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest

from cascade.base.errors import CascadeError, ConfigError, DataError
from cascade.base.runtime import ROOT
from cascade.competitions import registry, submission
from cascade.competitions.base import FALLBACK, Competition
from cascade.competitions.eedi import EEDI
from cascade.competitions.map2025 import MAP2025
from cascade.config import schema
from cascade.evaluation.folds import write_folds
from cascade.kaggle import holdout
from packer.rehearsal.inputs import Inputs, make_data
from tests import toy_competition
from tests.refusals import refused

TOY = toy_competition.COMPETITION
CONFIG = """
competition = "toy.py"
[[retrieval]]
name = "r1"
top_k = 6
[[retrieval.retriever]]
kind = "tfidf"
[ensemble]
weights = { r1 = 1.0 }
"""
KINDS = {"praise": ("warm", "cool"), "blame": ("warm", "cool"), "question": ("warm", "cool")}
# What is one competition's alone: its columns, its word for a label, its metric, its answers.
THEIRS = re.compile(
    r"QuestionId|CorrectAnswer|ConstructName|SubjectName|QuestionText|Answer[A-D]Text|[Mm]isconception|MAP@25|\bABCD\b"
    r"|MC_Answer|StudentExplanation|(True|False)_(Correct|Neither)"
)


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve labelled rows, and six that are asked, whose words are those of their labels."""
    folder = tmp_path / "data"
    folder.mkdir()
    pairs = [(kind, tone) for kind, tones in KINDS.items() for tone in tones]
    train = [[str(n), f"a {tone} {kind}, number {n}", "school", kind, tone] for n, (kind, tone) in enumerate(2 * pairs)]
    write(folder / "train.csv", ["row", "comment", "topic", "kind", "tone"], train)
    asked = [[f"t{n}", f"one {tone} {kind} more", "home"] for n, (kind, tone) in enumerate(pairs)]
    write(folder / "test.csv", ["row", "comment", "topic"], asked)
    labels = [[f"t{n}", kind, tone] for n, (kind, tone) in enumerate(pairs)]
    write(folder / "test_labels.csv", ["row", "kind", "tone"], labels)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shutil.copyfile(Path(toy_competition.__file__), tmp_path / "toy.py")
    (tmp_path / "toy.toml").write_text(CONFIG)
    return tmp_path / "toy.toml"


def check(path: Path, data: Path) -> None:
    task = TOY.read(data)
    submission.validate(path, task)
    first = {query: ids[0] for query, ids in submission.read(path, task).items()}
    assert task.truth is not None and first == dict(task.truth.to_numpy().tolist())
    assert path.read_text().splitlines()[:2] == ["row,guesses", "t0,praise:warm praise:cool blame:warm"]


def test_make_run_goes_from_its_csv_files_to_its_submission(config: Path, data: Path, tmp_path: Path) -> None:
    command = ["make", "run", f"CONFIG={config}", f"DATA={data}", f"OUT={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MAP@3: own 1.0000; submission 1.0000" in done.stdout
    check(tmp_path / "run" / "submission.csv", data)


def test_the_kernels_notebook_makes_its_submission(config: Path, data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(ROOT / "notebooks" / "submission.ipynb"),
        str(tmp_path / "o.ipynb"),
    ]
    for name, value in (("config", config), ("data", data), ("run", tmp_path / "run")):
        command += ["-p", name, str(value)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    check(tmp_path / "run" / "submission.csv", data)


def test_its_folds_hold_out_rows_and_labels(data: Path, tmp_path: Path) -> None:
    tests = []
    for fold in write_folds(TOY, data, tmp_path / "folds", folds=3, unseen_share=0.5, seed=0):
        task = TOY.read(fold)
        assert task.truth is not None and len(task.truth) == len(task.queries) == 4
        assert (~task.truth["label_id"].isin(task.seen)).sum() == 2
        assert not set(task.train["query_id"]) & set(task.queries["query_id"])
        tests += task.asked
    assert sorted(tests, key=int) == [str(n) for n in range(12)]


def test_its_held_out_rows_follow_its_test(data: Path, tmp_path: Path) -> None:
    task = TOY.read(holdout.write(TOY, data, tmp_path / "both", 4))
    assert task.asked[:6] == [f"t{n}" for n in range(6)] and len(task.asked) == 10
    assert all(query.startswith("practice-") for query in task.asked[6:])
    assert task.truth is not None and task.truth["query_id"].tolist() == task.asked[6:]
    assert len(task.train) == 12 - 4


def test_broken_files_of_it_are_read_as_far_as_they_go_in_the_rerun(data: Path) -> None:
    table = pd.read_csv(data / "test.csv", dtype=str)
    pd.concat([table, table.head(1)]).to_csv(data / "test.csv", index=False)
    with refused(DataError, "the id occurs twice", data / "test.csv", "row 7 (row t0)", "remove one"):
        TOY.read(data)
    task = TOY.read(data, lenient=True)
    assert task.asked == table["row"].tolist() and "read as far as it goes" in task.warnings[0]
    assert list(TOY.outline(data).asked) == task.asked


@pytest.mark.parametrize(
    ("name", "key", "said", "mend"),
    [
        ("eeddi", "competition", "'eeddi' is unknown (did you mean 'eedi'?)", "use one of eedi"),
        ("none.py", "", "no such file", "correct the config's `competition`"),
        ("empty.py", "", "has no COMPETITION", "add it"),
        ("broken.py", "", "cannot be loaded: ZeroDivisionError", "correct the file"),
    ],
)
def test_a_competition_that_cannot_be_had_is_named(tmp_path: Path, name: str, key: str, said: str, mend: str) -> None:
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with refused(ConfigError, said, "" if key else tmp_path / name, key, mend):
        registry.find(name, tmp_path)


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("depth = 3", "", r"Mine has no `depth`: int"),
        ('slug = "mine"', "", r"Mine has no `slug`: str"),
        ('label_columns = ("a",)', 'label_columns = "a"', r"Mine: `label_columns` must be a tuple"),
        ('fields = ("x",)', 'fields = ("x", "y")', r"Mine: `fields` must have a name for each of `text_columns`"),
    ],
)
def test_an_adaptor_that_lacks_something_is_told_which(tmp_path: Path, line: str, instead: str, said: str) -> None:
    lines = """name = "mine"
slug = "mine"
columns = ("id", "labels")
depth = 3
id_column = "id"
text_columns = ("x",)
fields = ("x",)
label_columns = ("a",)
hidden_queries = 10
hidden_labels = 10""".replace(line, instead).splitlines()
    body = "".join(f"    {text}\n" for text in lines)
    head = "from cascade.competitions.rows import RowCompetition\n\n\nclass Mine(RowCompetition):\n"
    (tmp_path / "mine.py").write_text(f"{head}{body}\n\nCOMPETITION = Mine()\n")
    with pytest.raises(ConfigError, match=rf"mine\.py: cannot be loaded: TypeError: {said}"):
        registry.find("mine.py", tmp_path)


def test_a_package_may_bring_one(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("toy", "tests.toy_competition:COMPETITION", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == registry.GROUP else [])
    assert registry.find("toy", Path()).name == "toy"


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel goes on with the default then: any other error would cost submission zero."""
    point = EntryPoint("toy", "tests.no_such_module:COMPETITION", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with refused(ConfigError, "'toy': its package cannot be loaded: ModuleNotFoundError", key="competition"):
        registry.find("toy", Path())


def test_a_row_without_a_label_is_no_label(data: Path) -> None:
    with (data / "train.csv").open("a") as file:
        file.write("99,a comment,school,,\n")
    task = TOY.read(data)
    assert len(task.labels) == 6 and "99" not in set(task.train["query_id"])
    assert TOY.units(data)[-1].labels == ()


def test_a_label_with_a_space_is_refused(data: Path) -> None:
    """In a submission's row it would be read as two."""
    with (data / "train.csv").open("a") as file:
        file.write("99,a comment,school,high praise,warm\n")
    with refused(DataError, "the label 'high praise:warm' contains a space", data, mend="without spaces"):
        TOY.read(data)


def test_the_files_tell_whose_they_are(data: Path) -> None:
    assert TOY.is_data(data) and not EEDI.is_data(data)
    (data / "test.csv").write_text("row,comment\n1,a\n")
    assert not TOY.is_data(data)


def test_a_retrieval_of_less_than_a_row_is_refused(config: Path) -> None:
    config.write_text(CONFIG.replace("top_k = 6", "top_k = 2"))
    with refused(ConfigError, "top_k = 2 is less than the 3 labels", key="retrieval 'r1'", mend="raise it"):
        registry.of(schema.load(config))


def test_the_tracked_notebook_has_the_general_fallback() -> None:
    text = (ROOT / "notebooks" / "submission.ipynb").read_text(encoding="utf-8")
    assert all(line in text.replace('\\"', '"') for line in FALLBACK.splitlines())
    assert EEDI.fallback != FALLBACK


@pytest.mark.parametrize("folder", ["cascade", "packer", "training", "notebooks"])
def test_nothing_else_knows_the_competition(folder: str) -> None:
    """But for its own files, and the maker of the sample's tiny model, which is trained on its prompts."""
    own = ("cascade/competitions/eedi", "cascade/competitions/map2025", "training/tiny")
    paths = [path for end in ("py", "ipynb", "html", "js") for path in (ROOT / folder).rglob(f"*.{end}")]
    others = [path for path in paths if not path.relative_to(ROOT).as_posix().startswith(own)]
    assert others
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in others
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if THEIRS.search(line)
    ]
    assert not found, "\n".join(found)


def test_a_command_without_data_takes_the_sample_of_the_configs_competition(config: Path) -> None:
    assert registry.sample_of(ROOT / "configs" / "sample.toml") == Path("sample")
    with refused(DataError, "'toy' has no sample", config, "competition", "pass --data"):
        registry.sample_of(config)


@pytest.mark.parametrize("target", ["run", "evaluate", "plan", "folds", "train", "sample", "rehearse"])
def test_make_leaves_the_choice_of_the_data_to_the_competition(target: str, config: Path) -> None:
    """Unless DATA is given: what a Makefile names would be one competition's."""
    command = ["make", "--dry-run", "--old-file=.venv/ready", target, f"CONFIG={config}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert str(config) in told and "--data" not in told
    if target not in ("sample", "rehearse"):
        told = subprocess.run([*command, "DATA=d"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "--data d" in told


def test_a_competition_of_ones_own_has_no_rehearsal(tmp_path: Path) -> None:
    with refused(CascadeError, "'toy': no data can be generated for it", key="competition"):
        make_data(TOY, tmp_path, 3)


@pytest.mark.parametrize("competition", [EEDI, MAP2025], ids=lambda each: each.name)
def test_each_of_the_projects_own_can_be_rehearsed(competition: Competition, tmp_path: Path) -> None:
    """On data that its generator makes, mounted as its own competition's."""
    rerun, commit = make_data(competition, tmp_path, 5)
    asked = [competition.read(folder).asked for folder in (rerun, commit)]
    assert len(asked[1]) < len(asked[0]) and asked[0][: len(asked[1])] == asked[1]
    assert not (rerun / "test_labels.csv").exists() and competition.read(rerun).warnings == []
    shown = Inputs(competition, {}, rerun, commit, 0).of(rerun)
    assert shown == {f"/kaggle/input/{competition.slug}": rerun}
    assert (ROOT / competition.sample / "train.csv").is_file()
