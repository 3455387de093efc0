"""Readings of a GPU that several process groups share: each by itself, or not at all where the driver does not say."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from compute.devices import nvml
from compute.devices.base import DeviceLost, Reading
from compute.devices.nvml import NvmlSampler

MIB = 2**20


def process(pid: int, mib: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=None if mib is None else mib * MIB)


def use(pid: int, at: int, percent: int) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, timeStamp=at, smUtil=percent)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the driver says; group 1 has the processes 10 and 11, group 2 the process 20."""
    said: dict[str, Any] = {"running": [process(10, 100), process(11, 50), process(20, 700)], "use": [], "since": []}

    def answer(name: str) -> Callable[..., Any]:
        def ask(*about: Any) -> Any:
            said["since"] += about[1:]
            if isinstance(said[name], type):
                raise said[name]
            return said[name]

        return ask

    monkeypatch.setattr(nvml, "group_members", lambda group: {1: [10, 11], 2: [20]}[group])
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", answer("running"))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetProcessUtilization", answer("use"))
    return said


def test_each_group_is_measured_by_its_own_processes(driver: dict[str, Any]) -> None:
    sampler = NvmlSampler()
    driver["use"] = [use(10, 7, 30), use(11, 7, 20), use(20, 8, 90), use(10, 5, 99)]
    assert sampler.read_part("gpu", 1) == Reading(busy=0.5, memory_bytes=150 * MIB)
    assert sampler.read_part("gpu", 2) == Reading(busy=0.9, memory_bytes=700 * MIB)
    driver["use"] = pynvml.NVMLError_NotFound  # nobody did anything since
    assert sampler.read_part("gpu", 1) == Reading(busy=0.0, memory_bytes=150 * MIB)
    assert driver["since"] == [0, 0, 7]


@pytest.mark.parametrize(
    "said",
    [
        {"running": []},
        {"running": [process(10, None)]},
        {"running": pynvml.NVMLError_NotSupported},
        {"use": pynvml.NVMLError_FunctionNotFound},
    ],
)
def test_what_the_driver_does_not_say_is_no_reading(driver: dict[str, Any], said: dict[str, Any]) -> None:
    driver.update(said)
    assert NvmlSampler().read_part("gpu", 1) is None


def test_a_lost_gpu_is_lost_for_its_parts_too(driver: dict[str, Any]) -> None:
    driver["running"] = pynvml.NVMLError_GpuIsLost
    with pytest.raises(DeviceLost):
        NvmlSampler().read_part("gpu", 1)
