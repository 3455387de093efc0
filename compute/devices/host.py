"""The host's processors as CPU devices.

A CPU device is a share of the host: one slot with `cores / devices` threads. Its use is the processor time of the
process group on it, read from /proc, over the wall time between two samples.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from compute.devices.base import Found, Reading
from compute.procfs import group_use

#: A group that was not read for so long is gone.
FORGOTTEN_S = 3600
_PAGE = os.sysconf("SC_PAGE_SIZE")


class HostSampler:
    """Offers `count` CPU devices of the host called `host`."""

    def __init__(self, host: str, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._count = count
        self._clock = clock
        #: By device and process group, of which several share a device: when it was read, and its processor time.
        self._last: dict[tuple[str, int], tuple[float, float]] = {}

    @property
    def threads(self) -> int:
        """Return the number of threads per device: an equal share of the cores, at least one."""
        return max(1, (os.cpu_count() or 1) // max(1, self._count))

    def inventory(self) -> list[Found]:
        """Return the CPU devices, each with an equal share of the host's memory."""
        memory = os.sysconf("SC_PHYS_PAGES") * _PAGE // max(1, self._count)
        return [
            Found(
                uuid=f"cpu-{self._host}-{index}",
                kind="cpu",
                device_class="cpu",
                name=f"CPU {index} of host {self._host}",
                index=index,
                memory_bytes=memory,
            )
            for index in range(self._count)
        ]

    def read(self, uuid: str, group: int | None) -> Reading:
        """Return the group's processor time since the last sample over the wall time, as a share of the device."""
        if group is None:
            return Reading(busy=0.0, memory_bytes=0)
        seconds, resident = group_use(group)
        now = self._clock()
        before = self._last.get((uuid, group))
        self._last = {key: last for key, last in self._last.items() if now - last[0] < FORGOTTEN_S}
        self._last[uuid, group] = (now, seconds)
        if before is None or now <= before[0] or seconds < before[1]:
            return Reading(busy=0.0, memory_bytes=resident)
        busy = (seconds - before[1]) / (now - before[0]) / self.threads
        return Reading(busy=min(1.0, max(0.0, busy)), memory_bytes=resident)

    def read_part(self, uuid: str, group: int) -> Reading:
        """Return the same: each group is measured by itself."""
        return self.read(uuid, group)
