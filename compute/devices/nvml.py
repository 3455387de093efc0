"""GPUs through NVIDIA's driver library. It and `mig` alone import pynvml."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pynvml

from compute.devices import links, mig
from compute.devices.base import DeviceLost, Found, Reading
from compute.devices.health import Vitals
from compute.procfs import group_members

log = logging.getLogger(__name__)
LOST = (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired, pynvml.NVMLError_NotFound)
MOST_EVENTS = 64
TOO_HOT = pynvml.nvmlClocksEventReasonHwThermalSlowdown | pynvml.nvmlClocksEventReasonSwThermalSlowdown


class NvmlSampler:
    """Reads inventory, utilisation and memory through NVML; a host without the driver has no GPU."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._open = False
        self._clock = clock
        #: By uuid: when its counter of energy was read, and what it showed, in millijoules.
        self._counted: dict[str, tuple[float, int]] = {}
        #: By uuid and process group: when the driver last saw it at work, by its own clock.
        self._used: dict[tuple[str, int], int] = {}
        self._instances = mig.Utilisation()
        #: Errors (XID) of the devices that report any, from the first look on.
        self._events: Any = None

    def inventory(self) -> list[Found]:
        """Return every GPU that answers, or its instances; one that fell off the bus is skipped and logged. Empty without a driver."""
        if not self._start():
            return []
        found: list[Found] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                card = pynvml.nvmlDeviceGetHandleByIndex(index)
                instances = mig.handles(card)
                found += [_describe(handle, index) for handle in ([card] if instances is None else instances)]
            except pynvml.NVMLError as error:
                log.warning("nvml device left out", extra={"index": index, "error": str(error)})
        pools = links.pools_of([device.uuid for device in found], _speed)
        return [replace(device, link=pools[device.uuid]) for device in found]

    def read(self, uuid: str, group: int | None) -> Reading:
        """Return the GPU's utilisation over the driver's last sample period, its memory in use, and its power.

        An instance's utilisation is that since the last reading, where its card measures it; it has no power of its own.
        """
        if not self._start():
            raise DeviceLost("the driver library is gone")
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
            memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            if mig.is_instance(uuid):  # the card's power is no instance's
                return Reading(busy=self._instances.read(uuid, handle), memory_bytes=memory)
            busy = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
            return Reading(busy=min(1.0, busy), memory_bytes=memory, power_w=self._power_w(uuid, handle))
        except pynvml.NVMLError as error:
            raise DeviceLost(f"{uuid}: {error}") from error

    def read_part(self, uuid: str, group: int) -> Reading | None:
        """Return what the processes of a group use of a GPU since the last look; the card's power is nobody's part.

        None while the driver names none of them, as in a container that has its own numbers of processes.
        """
        if not self._start():
            raise DeviceLost("the driver library is gone")
        try:
            handle, pids = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode()), set(group_members(group))
            running = _said(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
            memory = [one.usedGpuMemory for one in running if one.pid in pids]
            used = _said(pynvml.nvmlDeviceGetProcessUtilization, handle, self._used.get((uuid, group), 0))
        except pynvml.NVMLError as error:
            raise DeviceLost(f"{uuid}: {error}") from error
        if not memory or None in memory or used is None:
            return None
        newest = {one.pid: one for one in sorted(used, key=lambda one: one.timeStamp) if one.pid in pids}
        if newest:
            self._used[uuid, group] = max(one.timeStamp for one in newest.values())
        busy = sum(int(one.smUtil) for one in newest.values()) / 100
        return Reading(busy=min(1.0, busy), memory_bytes=sum(memory))

    def _power_w(self, uuid: str, handle: object) -> float | None:
        """Return the mean power since the last reading, by the card's counter of energy; the present one without; or None."""
        now, before = self._clock(), self._counted.pop(uuid, None)
        counted = _measured(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        if counted is not None:
            self._counted[uuid] = (now, counted)
            if before is not None and now > before[0] and counted >= before[1]:
                return (counted - before[1]) / 1000 / (now - before[0])
        milliwatts = _measured(pynvml.nvmlDeviceGetPowerUsage, handle)
        return None if milliwatts is None else milliwatts / 1000

    def vitals(self, uuids: Iterable[str]) -> dict[str, Vitals]:
        """Return what the driver says of these GPUs; empty without a driver. XIDs count from the first call on.

        An instance has the faults and the temperature of its card.
        """
        if not self._start():
            return {}
        if self._events is None:
            self._events = _events_of(uuids)
        xids = self._xids()
        return {uuid: _vitals(uuid, xids) for uuid in uuids}

    def _xids(self) -> dict[str, list[int]]:
        """Return the errors reported since the last look, by card."""
        found: dict[str, list[int]] = {}
        for _ in range(MOST_EVENTS if self._events else 0):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
                found.setdefault(_text(pynvml.nvmlDeviceGetUUID(event.device)), []).append(int(event.eventData))
            except pynvml.NVMLError:  # none is left, or the GPU is lost, which its own look shows
                break
        return found

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


def _describe(handle: object, index: int) -> Found:
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


def _speed(one: str, other: str) -> str:
    """Return how two GPUs reach each other, as in `links.SPEEDS`; empty if slower, or if the driver does not say."""
    if mig.is_instance(one) or mig.is_instance(other):
        return ""
    try:
        first, second = (pynvml.nvmlDeviceGetHandleByUUID(uuid.encode()) for uuid in (one, other))
        if _measured(_nvlink, first, second) == pynvml.NVML_P2P_STATUS_OK:
            return links.NVLINK
        ancestor = _measured(pynvml.nvmlDeviceGetTopologyCommonAncestor, first, second)
    except pynvml.NVMLError as error:
        log.warning("nvml link is not known", extra={"devices": [one, other], "error": str(error)})
        return ""
    if ancestor is None or ancestor > pynvml.NVML_TOPOLOGY_NODE:
        return ""
    return links.PCIE if ancestor <= pynvml.NVML_TOPOLOGY_MULTIPLE else links.SOCKET


def _nvlink(one: object, other: object) -> int:
    return int(pynvml.nvmlDeviceGetP2PStatus(one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK))


def _events_of(uuids: Iterable[str]) -> Any:
    """Return the set of events that collects the errors of those GPUs which report any; None if the driver has none."""
    try:
        events = pynvml.nvmlEventSetCreate()
    except pynvml.NVMLError:
        return None
    for uuid in uuids:
        try:
            handle = mig.card_of(pynvml.nvmlDeviceGetHandleByUUID(uuid.encode()), uuid)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
        except pynvml.NVMLError as error:
            log.warning("nvml device reports no errors", extra={"uuid": uuid, "error": str(error)})
    return events


def _vitals(uuid: str, found: Mapping[str, Sequence[int]]) -> Vitals:
    xids = tuple(found.get(uuid, ()))
    try:
        handle = mig.card_of(pynvml.nvmlDeviceGetHandleByUUID(uuid.encode()), uuid)
        xids = tuple(found.get(_text(pynvml.nvmlDeviceGetUUID(handle)), ()))
        pynvml.nvmlDeviceGetMemoryInfo(handle)  # a lost GPU still has a handle
        return Vitals(
            uncorrected=_measured(_uncorrected, handle),
            xids=xids,
            temperature_c=_measured(_temperature, handle),
            slowed=bool((_measured(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle) or 0) & TOO_HOT),
        )
    except LOST as error:
        return Vitals(lost=str(error), xids=xids)
    except pynvml.NVMLError as error:  # the driver is busy or being replaced: no fault of the GPU
        log.warning("nvml device does not answer", extra={"uuid": uuid, "error": str(error)})
        return Vitals(xids=xids)


def _uncorrected(handle: object) -> int:
    kind, since_reset = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, since_reset))


def _temperature(handle: object) -> int:
    return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _measured(ask: Callable[..., int], *handles: object) -> int | None:
    """Return what the driver measures; None if this card, or an older driver, does not. Raises NVMLError if it is lost."""
    try:
        return int(ask(*handles))
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission):
        return None


def _said(ask: Callable[..., list[Any]], *about: object) -> list[Any] | None:
    """Return a list of the driver, empty where it found nothing; None if this card, or an older driver, has none."""
    try:
        return ask(*about)
    except pynvml.NVMLError_NotFound:
        return []
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission):
        return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
