"""A profile: how fast a machine is at each kind of work, every figure with its source and its uncertainty."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from math import hypot
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from cascade.base.errors import PlanError
from cascade.base.runtime import ROOT
from cascade.config.messages import explained
from cascade.config.parts import ConfigModel
from cascade.config.schema import Config
from cascade.models import placement

# install: the environment, once. zero: submission zero. notebook: what a stage takes beside its work. llm: prompts.
# embedding: texts. classifier: texts that it learns from or judges. cross-encoder: pairs.
# blend: a retrieval beside its models, a query. fusion: the ensemble, a query.
Kind = Literal["install", "zero", "notebook", "llm", "embedding", "classifier", "cross-encoder", "blend", "fusion"]
Seconds = Annotated[float, Field(ge=0)]
PROFILES = ROOT / "profiles"
ON_CARDS = ("llm", "embedding", "cross-encoder")  # kinds of work that cards do


class Rate(ConfigModel):
    """Seconds, of the whole machine with all devices of the run, for one kind of work.

    load: before the first prompt. prompt: each prompt, text, pair or query. token: each prompt token that no shared
    beginning saves. written: each token written. `spread`: the time is within 1 ± spread of this. `stage`, `model`
    (`cascade.models.adapters.base_name`) and `engine` narrow what it is for, `settings` to a run with these engine
    arguments and variables of the environment.
    """

    kind: Kind
    stage: str | None = None
    model: str | None = None
    engine: str | None = None
    settings: dict[str, str] = Field(default_factory=dict)
    load: Seconds = 0.0
    prompt: Seconds = 0.0
    token: Seconds = 0.0
    written: Seconds = 0.0
    spread: Seconds
    source: str


class Assumed(ConfigModel):
    """What only a run can tell, until one has.

    kept_queries: the share that a `select` by a query's certainty leaves; kept_candidates: by `min_score`; overlap:
    of two retrievals' candidates, the share of the shorter list that the longer one holds; written: of the
    reasoning stage's `max_tokens`. Each within 1 ± spread.
    """

    kept_queries: float = Field(gt=0, le=1)
    kept_candidates: float = Field(gt=0, le=1)
    overlap: float = Field(ge=0, le=1)
    written: float = Field(gt=0, le=1)
    spread: Seconds
    source: str


class Measured(ConfigModel):
    """What a stage's own run had, as factors on what the plan would have said: 1.0 is a plan that was right."""

    stage: str
    queries: Seconds = 1.0
    candidates: Seconds = 1.0
    tokens: Seconds = 1.0
    cached: Seconds = 1.0
    written: Seconds = 1.0


class Profile(ConfigModel):
    """`characters_per_token` counts the tokens of a model that is not at hand."""

    characters_per_token: float = Field(gt=0)
    assumed: Assumed
    rate: list[Rate] = Field(min_length=1)
    measured: list[Measured] = Field(default_factory=list)

    def find(
        self, kind: str, stage: str, model: str, engine: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> Rate | None:
        """The most specific rate, None without any: of the most settings, and of those of this stage.

        Else of this model, else of this kind of work.
        """
        fitting = [
            rate for rate in self.rate
            if rate.kind == kind and rate.model in (None, model) and rate.engine in (None, engine)
            and rate.settings.items() <= settings.items()
        ]  # fmt: skip

        def distance(rate: Rate) -> tuple[int, int]:
            steps = (rate.stage == stage, rate.model is not None, rate.stage is None, True)
            return -len(rate.settings), steps.index(True)

        return min(fitting, key=distance, default=None)

    def measured_of(self, stage: str) -> Measured | None:
        return next((measured for measured in self.measured if measured.stage == stage), None)


class Scaled(ConfigModel):
    """Of another machine's seconds, what the same work on cards takes: `token` of what is read, `written` of the rest.

    `spread`: the uncertainty that this adds. What cards do not do, and loading, stay as they are.
    """

    token: float = Field(gt=0)
    written: float = Field(gt=0)
    spread: Seconds
    source: str

    def of(self, rate: Rate) -> Rate:
        """The rate of the machine that is scaled to."""
        if rate.kind not in ON_CARDS:
            return rate
        changes = {
            "prompt": rate.prompt * self.token,
            "token": rate.token * self.token,
            "written": rate.written * self.written,
            "spread": hypot(rate.spread, self.spread),
            "source": f"{rate.source}; times {self.token:g} and {self.written:g}: {self.source}",
        }
        return rate.model_copy(update=changes)


class Derived(ConfigModel):
    """A profile of a machine that nothing is known of but its cards: `base`, a file beside it, `scaled`."""

    base: str
    scaled: Scaled


def load(path: Path) -> Profile:
    """Reads and checks a profile; PlanError names the file, the key and the mend."""
    found = _read(path)
    if isinstance(found, Profile):
        return found
    base = _read(path.parent / found.base)
    if isinstance(base, Derived):
        raise PlanError(f"'{found.base}' has a base itself", path=path, key="base", mend=f'write "{base.base}"')
    return base.model_copy(update={"rate": [found.scaled.of(rate) for rate in base.rate]})


def _read(path: Path) -> Profile | Derived:
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in PROFILES.glob("*.toml")))
        raise PlanError(
            "no such profile", path=path, mend=f"pass one of profiles/ ({known}), or calibrate one from a ledger"
        )
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"not TOML: {error}", path=path, mend="correct the file") from error
    kind: type[Profile | Derived] = Derived if "base" in told else Profile
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise explained(error, path, TABLES | {"": kind}, {}, PlanError)[0] from error


TABLES: dict[str, type[ConfigModel]] = {
    "rate": Rate, "assumed": Assumed, "measured": Measured, "scaled": Scaled,
}  # fmt: skip


def default_profile(config: Config) -> Path:
    """The one that the config names, else that of 2×T4 where it runs on GPUs, or of a CPU.

    In the kernel the project's profiles/ lies beside configs/, and the project itself is installed elsewhere.
    """
    if config.time.profile is not None:
        return config.path.parent / config.time.profile
    devices = config.devices or placement.device_list(config)
    name = "t4x2.toml" if any(device != "cpu" for device in devices) else "cpu.toml"
    beside = config.path.parent.parent / PROFILES.name / name
    return beside if beside.is_file() else PROFILES / name
