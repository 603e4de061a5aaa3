"""The config that training leaves: the same but for its numbers and adapters, from wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import Config
from training import fitted
from training.fitted import Numbers

CONFIGS = ROOT / "configs"


def numbers_of(config: Config) -> Numbers:
    parts = config.retrieval[0].retriever
    members = dict.fromkeys(config.ensemble.weights, 0.75)
    return Numbers([0.25 for _ in parts], 0.55, members, 1.05)


@pytest.mark.parametrize("name", ["sample", "cross-encoder", "tiny-llm", "map2025"])
def test_the_projects_own_configs(name: str, tmp_path: Path) -> None:
    config = configs.load(CONFIGS / f"{name}.toml")
    assert fitted.write(config, numbers_of(config), tmp_path / "adapters", tmp_path / "a" / "config.toml")
    made = configs.load(tmp_path / "a" / "config.toml")
    assert (made.path.parent / made.adapters).resolve() == tmp_path / "adapters"
    assert {part.weight for part in made.retrieval[0].retriever} == {0.25}
    assert {*made.ensemble.weights.values()} == {0.75} and made.ensemble.unseen_boost == 1.05
    for (stage, model), (_, was) in zip(made.models(), config.models(), strict=True):
        for key in ("prompt", "model"):
            path = str(getattr(was, key, "package:none"))
            if not path.startswith("package:"):
                assert (made.path.parent / getattr(model, key)).resolve() == (CONFIGS / path).resolve(), stage
    assert [*(tmp_path / "a").iterdir()] == [made.path]


def test_an_adaptors_file_and_a_key_that_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'competition = "../own/mine.py" # ours\n[[retrieval]]\nname = "r1"\n\n[[ retrieval.retriever ]]\n'
        'kind = "tfidf"\n\n[ensemble]\nweights = { r1 = 2.0 }\n'
    )
    config = configs.load(tmp_path / "mine.toml")
    assert fitted.write(config, numbers_of(config), tmp_path / "adapters", tmp_path / "a" / "b" / "config.toml")
    made = configs.load(tmp_path / "a" / "b" / "config.toml")
    assert made.competition == "../../../own/mine.py"
    assert made.retrieval[0].retriever[0].weight == 0.25


def test_tables_within_a_line_are_not_edited(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[[retrieval]]\nname = "r1"\nretriever = [{ kind = "tfidf" }]\n[ensemble]\nweights = { r1 = 1.0 }\n'
    )
    config = configs.load(tmp_path / "mine.toml")
    assert not fitted.write(config, numbers_of(config), tmp_path / "adapters", tmp_path / "a" / "config.toml")
    assert not [*(tmp_path / "a").iterdir()]
