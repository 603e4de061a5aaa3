"""This week's GPU and TPU time, as Kaggle tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from packer.kaggle.session import Session

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Quota:
    """Hours of one accelerator; `allowed` is None where Kaggle does not say. `reserved`: by sessions that run now."""

    accelerator: str
    used: float
    reserved: float
    allowed: float | None

    @property
    def left(self) -> float | None:
        return None if self.allowed is None else max(0.0, self.allowed - self.used - self.reserved)

    def __str__(self) -> str:
        told = f"{self.accelerator}: {self.used:.1f} h used"
        if self.reserved:
            told += f", {self.reserved:.1f} h reserved by running sessions"
        if self.left is None:
            return f"{told}, Kaggle does not say how much is left"
        return f"{told}, {self.left:.1f} h left of {self.allowed:.1f} h"


def ask(session: Session) -> tuple[list[Quota], datetime | None]:
    """This week's quotas, one for each accelerator that Kaggle names, and when the next week begins, in UTC."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetAcceleratorQuotaStatisticsRequest

    call = session.client.kernels.kernels_api_client.get_accelerator_quota_statistics
    answer = session.call("quota", lambda: call(ApiGetAcceleratorQuotaStatisticsRequest()))
    named = {"GPU": answer.gpu_quota, "TPU": answer.tpu_quota}
    found = [_quota(name, told) for name, told in named.items() if told is not None]
    resets = answer.quota_refresh_time
    return found, resets.replace(tzinfo=UTC) if resets is not None else None


def lines(session: Session, now: datetime) -> Iterator[str]:
    """What `make quota` prints: a line for each accelerator, and the time of the reset."""
    found, resets = ask(session)
    yield from map(str, found)
    if not found:
        yield "Kaggle tells of no quota"
    if resets is not None:
        hours = max(0, round((resets - now) / HOUR))
        yield f"reset at {resets:%Y-%m-%d %H:%M} UTC, in {hours // 24} days {hours % 24} h"


def _quota(accelerator: str, told: Any) -> Quota:
    used, reserved = (told.time_used or timedelta()) / HOUR, (told.time_reserved or timedelta()) / HOUR
    return Quota(
        accelerator, used, reserved, None if told.total_time_allowed is None else told.total_time_allowed / HOUR
    )
