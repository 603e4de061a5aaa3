"""A checkpoint in parts: what is refused before vLLM loads the model, and what is left of one that fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from cascade.base.errors import CascadeError
from cascade.models.checks import sharded
from packer import shard as sharding
from packer.__main__ import app
from tests import nano


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = nano.make_model(tmp_path)
    (made / "model.safetensors.index.json").write_text("{}")
    (made / "original.bin").write_bytes(b"0")
    (made / "assets").mkdir()
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What vLLM is asked for, in whose place each weight's rows are shared out."""
    calls = []

    def save(model: Path, out: Path, cards: int, dtype: str, quantization: str | None) -> str:
        calls.append((model, cards, dtype, quantization))
        weights = load_file(model / "model.safetensors")
        for rank in range(cards):
            shared = {name: np.array_split(each, cards)[rank].copy() for name, each in weights.items()}
            save_file(shared, out / sharded.FILES.format(rank=rank, part=0))
        return "9.8.7"

    monkeypatch.setattr(sharding, "_save", save)
    return calls


def command(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["shard", *map(str, arguments)])
    if isinstance(done.exception, CascadeError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_parts_lie_with_all_that_describes_the_model(
    tmp_path: Path, model: Path, asked: list[tuple[Any, ...]]
) -> None:
    out = tmp_path / "new" / "parts"
    code, told = command(model, out)
    assert code == 0 and asked == [(model, 2, "float16", None)]
    parts = [f"model-rank-{rank}-part-0.safetensors" for rank in (0, 1)]
    assert sorted(path.name for path in out.iterdir()) == ["config.json", *parts, "sharded.json", "tokenizer.json"]
    assert (out / "config.json").read_bytes() == (model / "config.json").read_bytes()
    assert json.loads((out / "sharded.json").read_text()) == {
        "vllm": "9.8.7", "cards": 2, "dtype": "float16", "model_type": None,
    }  # fmt: skip
    assert [line.split(":")[0] for line in told.splitlines()] == [str(out / name) for name in parts]
    assert [path.name for path in out.parent.iterdir()] == ["parts"]


def test_its_own_folder_is_made_anew_and_nobody_else_s_is_touched(
    tmp_path: Path, model: Path, asked: list[tuple[Any, ...]]
) -> None:
    out = tmp_path / "parts"
    out.mkdir()  # an empty one will do
    assert command(model, out, "--tensor-parallel-size", "4")[0] == 0
    assert command(model, out)[0] == 0
    assert sharded.ranks_in(out) == {0, 1}, "no part of the four is left"
    (out / "sharded.json").unlink()
    before = contents(out)
    assert command(model, out) == (2, f"{out}: is not empty, and has no sharded.json; pass a new folder")
    assert command(model, model / "config.json") == (2, f"{model / 'config.json'}: is a file; pass a new folder")
    assert contents(out) == before and len(asked) == 2


def test_what_fails_leaves_nothing_new_and_what_was_there(
    tmp_path: Path, model: Path, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "parts"
    assert command(model, out)[0] == 0
    before, names = contents(out), sorted(path.name for path in tmp_path.iterdir())

    def less(folder: Path, made: Path, cards: int, *_: Any) -> str:
        save_file({"norm": np.zeros(4, np.float32)}, made / sharded.FILES.format(rank=0, part=0))
        if cards == 3:
            raise RuntimeError("out of memory")
        return "9.8.7"

    monkeypatch.setattr(sharding, "_save", less)
    assert command(model, out, "--tensor-parallel-size", "1") == (
        2, f"{model}: vLLM 9.8.7 has saved parts that are less than the model, without an error; "
        "run it where the model is to run, on the cards",
    )  # fmt: skip
    code, told = command(model, out)
    assert code == 2 and told.startswith(f"{model}: vLLM 9.8.7 has saved parts for cards [0], of 2; ")
    with pytest.raises(RuntimeError, match="out of memory"):
        sharding.shard(model, out, 3)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_attention_heads": 3}, "it has 3 attention heads, which 2 cards cannot share; use fewer cards"),
        ({"quantization_config": {"quant_method": "fp8"}}, "its quantisation is fp8, whose weights vLLM packs"),
    ],
)
def test_what_vllm_could_not_share_out_or_load_again_is_refused_before_it_loads(
    tmp_path: Path, model: Path, asked: list[tuple[Any, ...]], settings: dict[str, Any], told: str
) -> None:
    (model / "config.json").write_text(json.dumps(settings))
    code, line = command(model, tmp_path / "parts")
    assert code == 2 and line.startswith(f"{model}: {told}") and "; " in line
    assert not asked and not (tmp_path / "parts").exists()


def test_what_is_no_model_or_is_in_parts_is_refused(tmp_path: Path, model: Path, asked: list[tuple[Any, ...]]) -> None:
    (tmp_path / "none").mkdir()
    assert command(tmp_path / "none", tmp_path / "out")[1].startswith(f"{tmp_path / 'none'}: has no *.safetensors; ")
    assert command(model, tmp_path / "parts")[0] == 0
    assert command(tmp_path / "parts", tmp_path / "out")[1].startswith(f"{tmp_path / 'parts'}: is in parts already; ")
    assert len(asked) == 1 and not (tmp_path / "out").exists()


def test_without_vllm_it_says_where_to_run(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    code, told = command(model, tmp_path / "parts")
    assert code == 2 and told.startswith("packer shard: vLLM cannot be imported (")
    assert told.endswith("; run it with the Python that has vLLM, on the machine with the cards")
    assert not (tmp_path / "parts").exists()
