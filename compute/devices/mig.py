"""Instances of a GPU that its administrator has cut into parts (MIG): each is a device by itself, as the driver shows it."""

from __future__ import annotations

from typing import Any

import pynvml

PREFIX = "MIG-"
"""Of the UUIDs of instances."""


def is_instance(uuid: str) -> bool:
    """Return whether a device is an instance."""
    return uuid.startswith(PREFIX)


def handles(card: Any) -> list[Any] | None:
    """Return the driver's handles of a card's instances; None if it is not cut into any. Raises NVMLError."""
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(card)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None
    if current != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    found = []
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index))
        except pynvml.NVMLError_NotFound:  # a place without an instance
            continue
    return found


def card_of(handle: Any, uuid: str) -> Any:
    """Return the handle of the card that a device is, or is an instance of. Raises NVMLError."""
    return pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle) if is_instance(uuid) else handle


class Utilisation:
    """How busy instances are, by the card's counters (Hopper and later), between two looks; older cards do not say."""

    def __init__(self) -> None:
        self._samples: dict[str, Any] = {}

    def read(self, uuid: str, handle: Any) -> float | None:
        """Return the share of the time since the last look in which an instance worked; None at the first, or if it is not measured.

        Raises NVMLError if the card is lost.
        """
        try:
            card = card_of(handle, uuid)
            if not pynvml.nvmlGpmQueryDeviceSupport(card).isSupportedDevice:
                return None
            sample = pynvml.nvmlGpmMigSampleGet(
                card, pynvml.nvmlDeviceGetGpuInstanceId(handle), pynvml.nvmlGpmSampleAlloc()
            )
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            return None
        before = self._samples.get(uuid)
        self._samples[uuid] = sample
        if before is None:
            return None
        try:
            return _between(before, sample)
        finally:
            pynvml.nvmlGpmSampleFree(before)


def _between(first: Any, second: Any) -> float | None:
    asked = pynvml.c_nvmlGpmMetricsGet_t()
    asked.version, asked.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, 1
    asked.sample1, asked.sample2 = first, second
    asked.metrics[0].metricId = pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL
    try:
        metric = pynvml.nvmlGpmMetricsGet(asked).metrics[0]
    except pynvml.NVMLError_InvalidArgument:  # the two looks were too close together
        return None
    return min(1.0, max(0.0, metric.value / 100)) if metric.nvmlReturn == pynvml.NVML_SUCCESS else None
