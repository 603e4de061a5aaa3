"""What a config says of the candidates and queries that a pipeline leaves out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cascade.config.parts import ConfigModel

# What a pipeline's scores are. Ranks do not tell how sure a query is.
PROBABILITIES, LOG_ODDS, RANKS = "probabilities", "log-odds", "1/rank"
# What is compared with a score of `by`.
THRESHOLDS = ("min_score", "min_top1", "max_top1", "max_margin")


class Select(ConfigModel):
    """Chooses a pipeline's candidates and queries by the ranking of an earlier pipeline."""

    by: str | None = Field(default=None, description="the earlier pipeline whose ranking decides")
    min_score: float | None = Field(default=None, description="drops a candidate with a lower score")
    missing: Literal["keep", "drop"] = Field(default="keep", description="what to do with candidates not in `by`")
    min_top1: float | None = Field(default=None, description="skips a query whose best score is lower")
    max_top1: float | None = Field(default=None, description="skips a query whose best score is higher")
    max_margin: float | None = Field(default=None, ge=0, description="skips a query if its best two differ by more")
    top_n: int | None = Field(default=None, gt=0, description="keeps only this many first candidates of `by`")
    extra_unseen: int = Field(default=0, ge=0, description="adds this many of the best unseen candidates left out")

    @model_validator(mode="after")
    def has_what_it_reads(self) -> Select:
        reading = [name for name in (*THRESHOLDS, "top_n") if getattr(self, name) is not None]
        reading += ["missing"] if self.missing == "drop" else []
        if reading and self.by is None:
            raise ValueError(f'{reading[0]} requires the ranking of another pipeline; add by = "…"')
        if not reading and not self.extra_unseen:
            raise ValueError("selects nothing; add a threshold, top_n or extra_unseen, or remove it")
        return self

    def check_scale(self, scale: str) -> None:
        """ValueError where a threshold does not suit the scale of the scores of `by`."""
        for name in THRESHOLDS:
            value = getattr(self, name)
            if value is None:
                continue
            if scale == RANKS:
                raise ValueError(
                    f"select.{name} is compared with scores that tell how sure a query is, but '{self.by}' is a "
                    f"tournament, whose scores are 1/rank; use top_n, or a pipeline of another kind"
                )
            if scale == PROBABILITIES and not 0 <= value <= 1:
                raise ValueError(
                    f"select.{name} is {value:g}, but the scores of '{self.by}' are probabilities; use a number from "
                    f"0 to 1"
                )
