"""What a config says of the run's time."""

from __future__ import annotations

from pydantic import Field, model_validator

from cascade.base import durations
from cascade.config.parts import ConfigModel
from cascade.config.values import Limit, Seconds


class Time(ConfigModel):
    """Sets how long the run may take: the deadline is its start plus `limit` minus `reserve`."""

    limit: Limit = Field(default=durations.RUN, description="time for the whole run, installation included")
    reserve: Seconds = Field(default=durations.RESERVE, description="time to keep free at the end of the limit")
    optional: list[str] = Field(default_factory=list, description="stages to drop first, in this order")
    profile: str | None = Field(default=None, description="file of rates to plan with; default: one of profiles/")

    @property
    def available(self) -> float:
        """Seconds from the start to the deadline."""
        return self.limit - self.reserve

    @model_validator(mode="after")
    def something_is_left(self) -> Time:
        if self.available <= 0:
            raise ValueError("reserve must be shorter than limit; lower it")
        return self
