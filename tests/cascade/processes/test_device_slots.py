"""Where model processes run: which cards and cores each sees."""

from __future__ import annotations

import os
import sys

import pytest

from cascade.processes.workers import DeviceSlot, device_slots


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5, 7}, raising=False)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("devices", "cores"),
    [
        (["cpu"], [(2, 3, 5, 7)]),
        (["cpu", "cpu"], [(2, 3), (5, 7)]),
        (["cpu", "cpu", "cpu"], [(2,), (3,), (5,)]),
        (["cpu"] * 6, [(2,), (3,), (5,), (7,), (2,), (3,)]),
        (["cuda:0", "cuda:1"], [(), ()]),
        (["cuda:0", "cpu", "cpu"], [(), (2, 3), (5, 7)]),
        (["cpu", "cuda:0", "cpu"], [(2, 3), (), (5, 7)]),
    ],
)
def test_cpus_share_the_cores_out(devices: list[str], cores: list[tuple[int, ...]]) -> None:
    made = device_slots(devices)
    assert [place.devices for place in made] == [(device,) for device in devices]
    assert [place.cores for place in made] == cores


@pytest.mark.usefixtures("four_cores")
def test_devices_that_work_together_are_one_place() -> None:
    (cards,) = device_slots(["cuda:0", "cuda:1"], together=True)
    assert (cards.devices, cards.cores, cards.name) == (("cuda:0", "cuda:1"), (), "cuda:0+cuda:1")
    (cpus,) = device_slots(["cpu", "cpu"], together=True)
    assert cpus.cores == (2, 3, 5, 7)
    assert cpus.environment() == {"OMP_NUM_THREADS": "2", "VLLM_CPU_OMP_THREADS_BIND": "2,3|5,7"}


@pytest.mark.parametrize(
    ("visible", "devices", "seen"),
    [
        (None, ["cuda:0"], "0"),
        (None, ["cuda:1"], "1"),
        (None, ["cuda:0", "cuda:1"], "0,1"),
        ("", ["cuda:1"], "1"),
        ("4,6", ["cuda:0"], "4"),
        ("4,6", ["cuda:1"], "6"),
        ("4,6", ["cuda:1", "cuda:0"], "6,4"),
        ("GPU-aa,GPU-bb", ["cuda:1"], "GPU-bb"),
    ],
)
def test_a_process_sees_its_own_cards_alone(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, devices: list[str], seen: str
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    place = DeviceSlot(tuple(devices))
    assert place.environment() == {"CUDA_VISIBLE_DEVICES": seen}
    assert place.device == "cuda:0"


def test_a_process_on_cpus_counts_its_threads_by_its_cores() -> None:
    place = DeviceSlot(("cpu",), (1, 3))
    assert place.environment() == {"OMP_NUM_THREADS": "2", "VLLM_CPU_OMP_THREADS_BIND": "1,3"}
    assert (place.device, place.name) == ("cpu", "cpu")
