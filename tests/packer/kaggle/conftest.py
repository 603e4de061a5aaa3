"""A packed project, and a Kaggle that has all it reads."""

import shutil

import pytest

from packer.datasets import staging
from packer.wheels import images
from tests.kaggle_server import KaggleServer
from tests.kaggle_server.competitions import Competitions
from tests.kaggle_server.datasets import Datasets
from tests.kaggle_server.kernels import Kernels
from tests.pushing import COMPETITION, KINDS, MODEL, make_packed


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture
def project(monkeypatch, tmp_path, packed):
    """A packed project, the current folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copytree(packed, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def kaggle(monkeypatch, project):
    """Kaggle with every source there and ready."""
    with KaggleServer() as server, server.login(monkeypatch):
        server.kernels, server.datasets = Kernels(server), Datasets(server)
        server.competitions = Competitions(server, **{COMPETITION: True})
        server.kernels.models = {MODEL.replace("transformers", "MODEL_FRAMEWORK_TRANSFORMERS")}
        for kind in KINDS:
            folder = staging.staged_folder(kind, images.load("t4"))
            text = (folder / "manifest.json").read_bytes()
            server.datasets.put_version(f"ada/{folder.name}", {"manifest.json": text})
        server.datasets.put_version("grace/e5", {})
        yield server
