"""Another competition's run goes to its own competition, by the commands that Eedi's goes by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.competitions.map2025 import MAP2025
from cascade.config.schema import load
from packer.datasets import staging
from packer.kaggle import kernel, push
from packer.kaggle.session import Session
from packer.wheels import images
from tests.kaggle_server import KaggleServer
from tests.kaggle_server.competitions import Competitions
from tests.kaggle_server.datasets import Datasets
from tests.kaggle_server.kernels import SAVE, Kernels
from tests.pushing import make_project

CONFIG = Path("configs/t4x2-map2025.toml")
MODELS = [f"qwen-lm/qwen2.5/transformers/{size}-instruct-awq/1" for size in ("14b", "32b", "72b")]


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """With the config and the metadata of the other competition; the current folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "project"
    folder.mkdir()
    make_project(folder)
    shutil.copy(ROOT / CONFIG, folder / CONFIG)
    monkeypatch.chdir(folder)
    return folder


def test_the_run_on_two_t4s_is_packed_and_pushed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, image, path = load(CONFIG), images.load("t4"), kernel.METADATA
    [problem] = kernel.problems(kernel.read(path), path, config, image, "ada")
    assert problem.endswith(f'is not the config\'s competition; write ["{MAP2025.slug}"]')
    told = {"id": "map-cascade", "title": "MAP cascade", "competition_sources": [MAP2025.slug]}
    path.write_text(json.dumps(kernel.read(path) | told))

    staged = [folder for folder, _ in staging.pack(config, image, say=[].append)]
    with KaggleServer() as server, server.login(monkeypatch):
        server.kernels, server.datasets = Kernels(server), Datasets(server)
        server.competitions = Competitions(server, **{MAP2025.slug: True})
        server.kernels.models = {name.replace("transformers", "MODEL_FRAMEWORK_TRANSFORMERS") for name in MODELS}
        for folder in staged:
            manifest = {"manifest.json": (folder / "manifest.json").read_bytes()}
            server.datasets.put_version(f"ada/{folder.name}", manifest)
        session = Session(patience=2.0, pause=0.01)
        push.push_kernel(session, config, image, say=[].append, sleep=lambda _: None)
        body = next(call.body for call in server.requests if call.method == SAVE)
    assert body["competitionDataSources"] == [MAP2025.slug] and sorted(body["modelDataSources"]) == MODELS
    assert body["slug"] == "ada/map-cascade" and CONFIG.as_posix() in body["text"]

    [code] = [folder for folder in staged if folder.name.endswith("-code")]
    about = json.loads((code / "manifest.json").read_text())["about"]
    assert (about["config"], about["competition"]) == (CONFIG.as_posix(), MAP2025.slug)
    prompts = {file.name for file in (code / "configs" / "prompts").iterdir()}
    assert prompts == {"map-explanation.txt", "map-listwise.txt", "map-pointwise.txt"}
