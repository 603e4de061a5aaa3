"""A training that is cut off ends with the weights of one that was not; one whose loss is no number stops before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cascade.base.errors import ScoreError, StageError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.models.adapters import ADAPTER_FILES
from tests.llm import POINTWISE, make_config
from training import checkpoints, cross_encoder, reranker, retriever

SAMPLE = ROOT / "sample"


class Cut(BaseException):
    """As a kill: nothing that runs on the way out may matter."""


def cut_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, ends: Callable[[Any], Any]) -> None:
    """Makes that call of a method end as `ends` says; those before it are its own."""
    own, calls = getattr(owner, name), iter(range(1, 10_000))

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        found = own(self, *arguments, **named)
        return ends(found) if next(calls) == call else found

    monkeypatch.setattr(owner, name, method)


def cut(_: Any) -> Any:
    raise Cut


def no_number(loss: torch.Tensor) -> torch.Tensor:
    return loss * float("nan")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 2)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Five questions of the sample, whole rows."""
    import pandas as pd

    folder = tmp_path / "data"
    folder.mkdir()
    for name, rows in (("train.csv", 5), ("test.csv", 2), ("misconception_mapping.csv", 400)):
        table = pd.read_csv(SAMPLE / name, dtype=str, keep_default_na=False)
        table.head(rows).to_csv(folder / name, index=False)
    return folder


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one / ADAPTER_FILES[1]), load_file(other / ADAPTER_FILES[1])
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("call", "left", "whole"), [(3, 8, False), (9, 3, True)], ids=["before the hard negatives", "after them"]
)
def test_a_retriever_goes_on(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, left: int, whole: bool
) -> None:
    """Two rounds of five steps, with a checkpoint after each second one."""
    config = configs.load(ROOT / "configs" / "sample.toml")
    kept, settings = tmp_path / "kept", retriever.Settings(epochs=2.5, batch_size=4, hard=2, whole=whole)
    retriever.train(few, config, None, tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        cut_at(patch, retriever.Trainer, "training_step", call, cut)
        with pytest.raises(Cut):
            retriever.train(few, config, None, tmp_path / "cut", settings, kept=kept)
    assert not (tmp_path / "cut").exists()
    begun = checkpoints.newest(kept / f"round-{int(call > 4)}")
    assert begun is not None and {path.name for path in begun.parent.iterdir()} == {begun.name}
    steps: list[int] = []
    own = retriever.Trainer.training_step
    monkeypatch.setattr(retriever.Trainer, "training_step", lambda *args: (steps.append(1), own(*args))[1])
    retriever.train(few, config, None, tmp_path / "cut", settings, kept=kept)
    assert same(tmp_path / "cut", tmp_path / "whole") and not kept.exists()
    assert len(steps) == left


def reranker_config(tmp_path: Path) -> Config:
    return make_config(tmp_path, POINTWISE.replace("tiny-pointwise", "mine") + "top_k = 6\n")


def test_a_reranker_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, settings, kept = reranker_config(tmp_path), reranker.Settings(queries=24), tmp_path / "kept"
    reranker.train(SAMPLE, config, "p", tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        cut_at(patch, reranker.Examples, "loss", 22, cut)
        with pytest.raises(Cut):
            reranker.train(SAMPLE, config, "p", tmp_path / "cut", settings, kept=kept)
    assert {path.name for path in kept.iterdir()} == {checkpoints.MARK, "loop.pt"}
    read: list[int] = []
    own = reranker.Examples.loss
    monkeypatch.setattr(reranker.Examples, "loss", lambda *args: (read.append(1), own(*args))[1])
    reranker.train(SAMPLE, config, "p", tmp_path / "cut", settings, kept=kept)
    assert same(tmp_path / "cut", tmp_path / "whole") and not kept.exists()
    assert len(read) == 24 - 16, "what lies behind the last checkpoint is not read again"


def test_a_loss_that_is_no_number_stops_it_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, kept, out = reranker_config(tmp_path), tmp_path / "kept", tmp_path / "out"
    asked: list[str] = []
    own = reranker.Examples.prompts
    monkeypatch.setattr(
        reranker.Examples, "prompts", lambda self, query: (asked.append(query["query_id"]), own(self, query))[1]
    )
    cut_at(monkeypatch, reranker.Examples, "loss", 11, no_number)
    with pytest.raises(ScoreError) as caught:
        reranker.train(SAMPLE, config, "p", out, reranker.Settings(queries=24), kept=kept)
    assert caught.value.key == f"step 3, query {asked[10]}" and "--rate" in caught.value.mend
    assert torch.load(kept / "loop.pt", weights_only=True)["done"] == 8 and not out.exists()


@pytest.mark.parametrize("of", ["loss", "weights"])
def test_no_checkpoint_follows_a_loss_or_weights_that_are_no_numbers(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    config, kept, out = configs.load(ROOT / "configs" / "sample.toml"), tmp_path / "kept", tmp_path / "out"
    if of == "loss":
        cut_at(monkeypatch, retriever.MultipleNegativesRankingLoss, "forward", 4, no_number)
    else:

        def spoil(model: Any) -> None:
            next(each for each in checkpoints.trained(model).values()).fill_(float("nan"))

        own, saves = checkpoints.save_weights, iter([False, True])
        monkeypatch.setattr(
            checkpoints, "save_weights", lambda model, path: (next(saves) and spoil(model), own(model, path))
        )
    with pytest.raises(ScoreError) as caught:
        retriever.train(few, config, None, out, retriever.Settings(epochs=4, batch_size=4), kept=kept)
    assert of != "loss" or caught.value.key == "step 4"
    good = checkpoints.newest(kept / "round-0")
    assert good is not None and good.name == "checkpoint-2" and not out.exists()
    assert all(torch.isfinite(each).all() for each in load_file(good / checkpoints.WEIGHTS).values())


def test_a_full_disk_costs_the_checkpoint_alone(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_weights", full)
    config = configs.load(ROOT / "configs" / "cross-encoder.toml")
    cross_encoder.train(few, config, None, tmp_path / "out", epochs=1, kept=tmp_path / "kept")
    assert "step 2: its checkpoint could not be written" in capsys.readouterr().out
    assert (tmp_path / "out" / ADAPTER_FILES[1]).is_file()


@pytest.mark.parametrize("left", ["", '{"global_step": 4, "max_'])
def test_a_checkpoint_that_a_kill_cut_short_is_none(tmp_path: Path, left: str) -> None:
    for step, state in ((2, "{}"), (10, left)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / checkpoints.WEIGHTS).write_bytes(b"")
        (folder / checkpoints.STATE).write_text(state)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-2"
    (tmp_path / "checkpoint-10" / checkpoints.STATE).write_text("{}")
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-10", "by number, not by name"


def test_a_mark_that_a_kill_cut_short_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / f".training.1{Path(checkpoints.MARK).suffix}").write_text("{")
    with checkpoints.kept(tmp_path / "kept", {"rate": 1}, tmp_path / "out") as folder:
        assert folder == tmp_path / "kept"
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_others_is_no_place_for_checkpoints(tmp_path: Path) -> None:
    own, other, out = {"rate": 1}, {"rate": 2}, tmp_path / "out"
    with pytest.raises(Cut), checkpoints.kept(tmp_path / "kept", own, out):
        raise Cut
    with checkpoints.kept(tmp_path / "kept", own, out) as folder:
        assert folder == tmp_path / "kept"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / checkpoints.MARK).write_text(json.dumps(own))
    with pytest.raises(StageError, match="another training"), checkpoints.kept(tmp_path / "kept", other, out):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(StageError, match="no training made it"), checkpoints.kept(tmp_path / "mine", own, out):
        pass
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("folder", "out"), [("my", "my/adapter"), ("my/kept", "my"), ("link", "my/adapter")])
def test_what_is_removed_in_the_end_has_no_adapter_in_it(tmp_path: Path, folder: str, out: str) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "my")
    with (
        pytest.raises(StageError, match="is removed in the end"),
        checkpoints.kept(tmp_path / folder, {}, tmp_path / out),
    ):
        pass
    assert not [*(tmp_path / "my").iterdir()]
