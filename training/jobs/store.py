"""A training's jobs in MLflow's local store: parameters, curves, scores, commands, digests.

All of it is read from what the jobs left, so the store can be filled, or made again, at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cascade.base.errors import StageError
from cascade.models.adapters import ADAPTER_FILES
from training.jobs import provenance

REQUIRES = ("mlflow", "sqlalchemy", "alembic")
INSTALL = "python -m pip install --editable '.[mlflow]'"
# MLflow sends what its users do to its makers, and asks for git, unless it is told not to.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
RECORD = "record"  # the tag by which a job's run is known to be there whole
AT_ONCE = 100  # MLflow's limit for parameters and tags of one call; it takes ten times as many metrics
KEPT = ("map", "map_seen", "map_unseen")


def is_installed() -> bool:
    """Whether a store can be written: what mlflow-skinny requires of its own accord is not all of it."""
    return all(find_spec(name) is not None for name in REQUIRES)


def address(root: Path) -> str:
    """The store of the training in that folder, as MLflow is told it."""
    return f"sqlite:///{root.resolve() / 'mlflow' / 'mlflow.db'}"


def fill(root: Path) -> int:
    """Adds each finished job that the store lacks; returns how many. StageError where MLflow is not installed."""
    if not is_installed():
        raise StageError("MLflow is not installed", key="record", mend=f"run: {INSTALL}")
    os.environ.update(QUIET)
    from mlflow.tracking import MlflowClient

    folder = root / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=address(root))
    name = root.resolve().name
    found = client.get_experiment_by_name(name)
    artifacts = (folder / "artifacts").resolve().as_uri()
    number = client.create_experiment(name, artifacts) if found is None else found.experiment_id
    for run in client.search_runs([number]):
        if RECORD not in run.data.tags:  # its recording was ended in the middle
            client.delete_run(run.info.run_id)
    added = 0
    for path in sorted((root / "jobs").glob("*.json")):
        text = path.read_bytes()
        digest = hashlib.sha256(text).hexdigest()
        told = json.loads(text)
        if "name" in told and not client.search_runs([number], f"tags.{RECORD} = '{digest}'", max_results=1):
            _add(client, number, told, digest, path.stat().st_mtime)
            added += 1
    return added


def _add(client: Any, experiment: str, told: Mapping[str, Any], digest: str, ended: float) -> None:
    from mlflow.entities import Metric, Param, RunTag

    end = int(ended * 1000)
    start = end - int(told["seconds"] * 1000)
    run = client.create_run(experiment, start_time=start, run_name=told["name"]).info.run_id
    params, tags, metrics = _facts(told)
    points = [Metric(key, value, start, step) for key, step, value in metrics]
    named = [Param(key, str(value)) for key, value in params.items()]
    for place in range(0, len(points), AT_ONCE):
        client.log_batch(run, metrics=points[place : place + AT_ONCE])
    for place in range(0, len(named), AT_ONCE):
        client.log_batch(run, params=named[place : place + AT_ONCE])
    client.log_batch(run, tags=[RunTag(key, value) for key, value in {**tags, RECORD: digest}.items()])
    client.set_terminated(run, end_time=end)


def _facts(told: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[tuple[str, int, float]]]:
    """A job's parameters, its tags, and its metrics with their steps."""
    tags = {"command": f"python -m {' '.join(told['command'])}", "job_digest": told["digest"]}
    metrics = [("seconds", 0, float(told["seconds"])), *_scores(told.get("scores"))]
    weights = next((path for path in told["leaves"] if Path(path).name == ADAPTER_FILES[1]), None)
    if weights is None:
        return {}, tags, metrics
    folder = Path(weights).parent
    made = provenance.read(folder)
    params = dict(provenance.flat({key: made.get(key, {}) for key in ("config", "settings", "versions")}))
    params |= {key: made.get(key) for key in ("kind", "adapter", "base")}
    tags |= {"adapter_digest": told["leaves"][weights], "data": json.dumps(made.get("data"))}
    for point in provenance.curve(folder):
        metrics += [(key, point["step"], point[key]) for key in ("loss", "learning_rate")]
    return params, tags, metrics


def _scores(path: str | None) -> Iterator[tuple[str, int, float]]:
    """MAP of each system on a fold's test, with letters that MLflow takes in a metric's name."""
    if path is None or not Path(path).is_file():
        return
    for system, row in json.loads(Path(path).read_text(encoding="utf-8")).items():
        for key in KEPT:
            if row.get(key) is not None:
                yield re.sub(r"[^\w./ -]", "", f"{system} {key}"), 0, float(row[key])
