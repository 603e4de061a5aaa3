"""The devices that a run's models work on."""

from __future__ import annotations

from collections.abc import Sequence

from cascade.base.errors import NotHereError
from cascade.config.schema import Config
from cascade.processes import gpu


def device_list(config: Config) -> list[str]:
    """The config's devices as far as they are there, else every visible GPU, else the CPU.

    A missing card is said aloud and done without: half the speed is better than no submission.
    """
    there, missing = devices_of(config, gpu.gpu_count())
    if missing:
        print(missing_devices(missing, there))
    return there


def devices_of(config: Config, cards: int) -> tuple[list[str], list[str]]:
    """Lists the devices on a machine with so many GPUs, and those missing there; NotHereError where all are."""
    if not config.devices:
        return [f"cuda:{card}" for card in range(cards)] or ["cpu"], []
    there = [name for name in config.devices if name == "cpu" or int(name.split(":")[1]) < cards]
    missing = [name for name in config.devices if name not in there]
    if not there:
        raise NotHereError(
            f"{', '.join(missing)} not found on this machine",
            key="devices",
            mend="remove devices to use those that exist",
        )
    return there, missing


def missing_devices(missing: Sequence[str], there: Sequence[str]) -> str:
    return f"devices: {', '.join(missing)} not found; continuing with {', '.join(there)}"


def check_tensor(stage: str, there: Sequence[str], missing: Sequence[str]) -> None:
    """ModelError for a model that is to be spread over devices of which some are missing.

    It would load for minutes, twice, and run out of memory.
    """
    if missing:
        raise NotHereError(
            f"parallel = 'tensor' requires {', '.join([*there, *missing])}, but only {', '.join(there)} exists here",
            key=f"stage '{stage}'",
            mend="run it on a machine with all of them, or list fewer devices",
        )
