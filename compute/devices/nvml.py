"""GPUs through NVIDIA's driver library. The only importer of pynvml."""

from __future__ import annotations

import logging
import re

import pynvml

from compute.devices.base import DeviceLost, Found, Reading

log = logging.getLogger(__name__)


class NvmlSampler:
    """Reads inventory, utilisation and memory through NVML; a host without the driver has no GPU."""

    def __init__(self) -> None:
        self._open = False

    def inventory(self) -> list[Found]:
        """Return every GPU that answers; one that fell off the bus is skipped and logged. Empty without a driver."""
        if not self._start():
            return []
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                found.append(self._describe(index))
            except pynvml.NVMLError as error:
                log.warning("nvml device left out", extra={"index": index, "error": str(error)})
        return found

    def read(self, uuid: str, group: int | None) -> Reading:
        """Return the GPU's utilisation over the driver's last sample period and its memory in use."""
        if not self._start():
            raise DeviceLost("the driver library is gone")
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
            busy = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
            return Reading(busy=min(1.0, busy), memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).used))
        except pynvml.NVMLError as error:
            raise DeviceLost(f"{uuid}: {error}") from error

    def driver_version(self) -> str:
        """Return the driver's version, empty without a driver."""
        return _text(pynvml.nvmlSystemGetDriverVersion()) if self._start() else ""

    def close(self) -> None:
        """Shut the library down."""
        if self._open:
            pynvml.nvmlShutdown()
            self._open = False

    def _start(self) -> bool:
        if not self._open:
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError:
                return False
            self._open = True
        return True

    def _describe(self, index: int) -> Found:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name = _text(pynvml.nvmlDeviceGetName(handle))
        return Found(
            uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
            kind="cuda",
            device_class=class_of(name),
            name=name,
            index=index,
            memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        )


def class_of(name: str) -> str:
    """Return the device class for a product name: `NVIDIA A100-SXM4-80GB` -> `nvidia-a100-sxm4-80gb`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "gpu"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
