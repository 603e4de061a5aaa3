"""What each stage of a run is made from, so that a resumed run repeats what has changed and nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cascade.base import folder, ledger, manifest
from cascade.base.errors import CascadeError, StageError
from cascade.base.patience import within
from cascade.base.runtime import is_rerun
from cascade.competitions import registry
from cascade.config import schema as configs
from cascade.config.schema import REASON, Config, LanguageModel
from cascade.models import adapters, locate, placement, precision
from cascade.processes import gpu
from cascade.stages.context import RunContext

FILE = folder.FILE
# Keys of a stage that do not change what it would write.
ASIDE = {"name", "limit", "enabled", "chunk"}
UNREAD = {"test_labels.csv", "sample_submission.csv"}  # by any stage's work
CODE, CONTENT = "code", "table: "
TEMPLATES = ("prompt", "query_text")  # keys of a stage that name one
PATIENCE = 120.0  # seconds for reading what one stage is made from: a disk may hang
# Modules that only show, plan or start: what they write no stage reads.
BESIDE = (
    "kaggle/",
    "evaluation/",
    "run/",
    "report/",
    "plan/",
    "models/checks/",
    "base/made",
    "stages/standing",
    "__main__",
)


def write(out: Path, identity: Mapping[str, str]) -> None:
    """Leaves the identity in the run's folder."""
    folder.update(out, identity=dict(identity))


def identity(context: RunContext) -> dict[str, str]:
    """What times are compared by: a digest of the config, without its times and devices, and of each data file."""
    settings = context.config.model_dump(mode="json", exclude={"time", "devices"})
    without_limits(settings)
    files = sorted(context.task.folder.glob("*.csv"))
    return {"config": _digest(settings), **{path.name: manifest.sha256(path) for path in files}}


def without_limits(settings: Any) -> None:
    """Takes every stage's `limit` out of dumped settings: it changes nothing that a stage writes."""
    if isinstance(settings, dict):
        settings.pop("limit", None)
    for each in settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else ():
        without_limits(each)


def check(out: Path) -> None:
    """StageError where `out` holds no run."""
    if folder.read(out) is None:
        raise StageError(
            "missing or not a run's, so there is no run to resume", path=out / FILE, mend="run without --resume"
        )


def open_run(run: Path, config: Path | None = None, data: Path | None = None) -> RunContext:
    """Opens an earlier run with the config, engine and data of its record, or with the given ones.

    It raises StageError where neither is known.
    """
    record = folder.read(run) or {}
    told = {"config": str(config or record.get("config", "")), "data": str(data or record.get("data", ""))}
    missing = [key for key, value in told.items() if not value]
    if missing:
        raise StageError(
            f"does not contain the run's {missing[0]}",
            path=run / FILE,
            mend=f"pass --{missing[0]}, or another run's folder",
        )
    engine = "" if config else str(record.get("engine", ""))
    loaded = configs.load(Path(told["config"]), engine)
    return RunContext(loaded, registry.of(loaded).read(Path(told["data"]), lenient=is_rerun()), run)


class Origins:
    """What the stages of one run are made from, part by part: `settings`, and digests of all that they read."""

    def __init__(self, context: RunContext, notebooks: Path) -> None:
        self.context, self.notebooks = context, notebooks
        self._weights: dict[tuple[str, str | None], str] = {}

    @functools.cached_property
    def _everywhere(self) -> dict[str, str]:
        """What is the same for all stages: the code, and the data."""
        data = {f"data: {p.name}": manifest.sha256(p) for p in sorted(self.context.task.folder.glob("*.csv"))
                if p.name not in UNREAD}  # fmt: skip
        adaptor = self.context.config.competition
        own = (
            {f"competition: {adaptor}": _file(self.context.config.path.parent / adaptor)}
            if adaptor.endswith(".py")
            else {}
        )
        return {CODE: code_version(), **own, **data}

    def of(self, name: str) -> dict[str, str]:
        """The parts of the reasoning stage, a retrieval or a pipeline, each under what a person calls it."""
        config = self.context.config
        stage: Any = next(each for each in config.stages(off=True) if each.name == name)
        notebook = stage.notebook
        found = {key: json.dumps(value, sort_keys=True) for key, value in stage.model_dump(mode="json").items()
                 if key not in ASIDE}  # fmt: skip
        found.pop("dtype", None)  # what it comes to is told with the model
        found |= self._everywhere | {f"notebook: {notebook}.ipynb": _cells(self.notebooks / f"{notebook}.ipynb")}
        if config.environment:
            found["environment"] = json.dumps(config.environment, sort_keys=True)
        if isinstance(stage, LanguageModel):
            del found["vllm"]
            found["engine"] = config.engine
            if config.engine == "vllm":
                found["vllm"] = json.dumps({**config.vllm, **stage.vllm}, sort_keys=True)
        for template in _templates_of(stage):
            found[f"prompt: {template}"] = _file(config.path.parent / template)
        parts = getattr(stage, "retriever", [])
        for model in [stage, *parts, *(getattr(part, "embeddings", None) for part in parts)]:
            if hasattr(model, "model"):
                found |= self._model(model) | {f"dtype: {model.model}": self._dtype(model)}
        sources = self._sources(name)
        found |= {f"input: {source}": digest_of(self.of(source)) for source in sources}
        return found | {f"{CONTENT}{source}": _file(config.table_path(source, self.context.run)) for source in sources}

    def _dtype(self, model: Any) -> str:
        """Which follows from the device, where the config leaves it open."""
        devices = placement.devices_of(self.context.config, gpu.gpu_count())[0]
        return precision.of(model, devices[0], precision.asked(model, self.context.config))

    def _sources(self, name: str) -> list[str]:
        """The stages whose tables it reads, and those that are read where such a table lacks a query."""
        config = self.context.config
        found = [REASON] if config.reason is not None and config.reason.enabled and name != REASON else []
        pipeline = config.find_pipeline(name)
        if pipeline is not None:
            by = [pipeline.select.by] if pipeline.select and pipeline.select.by else []
            for source in (_standing(config, each) for each in (pipeline.candidates, *by)):
                found += [source, *self._sources(source)]
        return list(dict.fromkeys(found))

    def _model(self, model: Any) -> dict[str, str]:
        """Its weights', and its adapter's."""
        key = (model.model, model.adapter)
        if key not in self._weights:
            try:
                path = locate.model_path(model.model, self.context.config.path.parent)
                self._weights[key] = locate.fingerprint(path, adapters.adapter_path(model, self.context.config))
            except (CascadeError, OSError) as error:  # the stage will say so itself
                self._weights[key] = str(error)
        return {f"model: {' with adapter '.join(filter(None, key))}": self._weights[key]}


def templates(config: Config) -> dict[str, str]:
    """The texts of all templates that can be read, by the config's name for each: their files may be edited later."""
    names = dict.fromkeys(name for stage in config.stages(off=True) for name in _templates_of(stage))
    paths = {name: config.path.parent / name for name in names}
    return {name: path.read_text("utf-8", errors="replace") for name, path in paths.items() if path.is_file()}


def _templates_of(stage: Any) -> list[str]:
    return [name for key in TEMPLATES if (name := getattr(stage, key, None))]


def _standing(config: Config, name: str) -> str:
    """The stage itself, or where it is a pipeline that is not enabled the one that stands for it."""
    pipeline = config.find_pipeline(name)
    if pipeline is None or pipeline.enabled:
        return name
    return _standing(config, (pipeline.select and pipeline.select.by) or pipeline.candidates)


def changed(earlier: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """What a stage was made from and is no longer, in words; empty where nothing has changed."""
    if earlier is None:
        return "what it was made from is not recorded"
    parts = [part for part in dict.fromkeys([*now, *earlier]) if earlier.get(part) != now.get(part)]
    # A file that only one of them has is another setting's doing.
    parts = [part for part in parts if ": " not in part or (part in earlier and part in now)] or parts
    said = []
    for part in parts:
        kind, _, what = part.partition(": ")
        values = f"{_short(earlier.get(part))} → {_short(now.get(part))}"
        said.append(f"{kind} changed{f': {what}' if what else '' if part == CODE else f': {values}'}")
    return "; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")


def digest_of(parts: Mapping[str, str]) -> str:
    """A stage's identity; what its inputs' tables happen to hold is no part of it."""
    return _digest({part: value for part, value in parts.items() if not part.startswith(CONTENT)})


def _short(value: str | None) -> str:
    return "none" if value is None else value if len(value) <= 40 else f"{value[:39]}…"


class Keeping:
    """What of an earlier run in the folder is kept, stage by stage. `again`: stages that are run whatever is there."""

    def __init__(self, context: RunContext, notebooks: Path, again: Collection[str] = ()) -> None:
        self.context, self.again = context, again
        self.origins = Origins(context, notebooks)
        self._why: dict[str, str] = {}

    def begin(self, identity: Mapping[str, str], tables: Mapping[str, Path]) -> None:
        """Leaves in the folder what this run is, and which tables it makes, by stage."""
        run, config = self.context.run, self.context.config
        earlier = (folder.read(run) or {}).get("stages", {}) if self.context.resume else {}
        told = {name: {**earlier.get(name, {}), "table": table.name} for name, table in tables.items()}
        folder.update(
            run, identity=dict(identity), config=str(config.path.resolve()), engine=config.engine,
            data=str(self.context.task.folder.resolve()), settings=config.model_dump(mode="json"),
            templates=templates(config), stages={**earlier, **told},
        )  # fmt: skip

    def settle(self, name: str, of: str, table: Path, begins: bool = True) -> str:
        """Removes what was left of a stage that is made from something else now, and says what that is.

        begins: it is about to run, so that its inputs are what it will read, and are noted.
        """
        if is_rerun():  # it begins with an empty folder, and nobody goes on with it
            return ""
        trouble = ""
        now: dict[str, str] | None = None
        try:
            now = within(PATIENCE, lambda: self.origins.of(of))
        except Exception as error:  # no such reading may cost a stage
            trouble = f"what it is made from cannot be read ({error})"
        stages = (folder.read(self.context.run) or {}).get("stages", {})
        earlier = stages.get(name, {}).get("made_from")
        if self.context.resume and (left := list(folder.table_files(table))):
            if name in self.again and name not in self._why:
                why = "asked for"
            else:
                why = trouble if now is None else changed(earlier, now if begins else _without_content(earlier, now))
            if why:
                self._why[name] = why
                folder.remove(left)
                ledger.forget(self.context.run, name)
        if begins:
            told = {"table": table.name} | ({"made_from": now} if now is not None else {})
            folder.update(self.context.run, stages={**stages, name: told})
        return self._why.get(name, "")


def _without_content(earlier: Mapping[str, str] | None, now: Mapping[str, str]) -> dict[str, str]:
    """`now` with the inputs' contents as they were: they are to be made before the stage begins."""
    return {part: (earlier or {}).get(part, value) if part.startswith(CONTENT) else value
            for part, value in now.items()}  # fmt: skip


@functools.cache
def code_version() -> str:
    """A digest of the package's own source, as far as a table can depend on it."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(BESIDE):
            digest.update(f"{name}:{manifest.sha256(path)}\n".encode())
    return digest.hexdigest()


def _cells(path: Path) -> str:
    """A digest of a notebook's code; what it shows when it has run is none of it."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return _digest(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"])
    except (OSError, ValueError, KeyError, TypeError):
        return _file(path)


def _file(path: Path) -> str:
    return manifest.sha256(path) if path.is_file() else "not there"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
