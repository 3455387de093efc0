"""The protocol of device samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

DeviceKind = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Found:
    """One device of a host. `uuid` is unique on the host and stable over restarts.

    `link`: its pool by the speed of links (`links.pools_of`), empty for none.
    """

    uuid: str
    kind: DeviceKind
    device_class: str
    name: str
    index: int
    memory_bytes: int
    link: str = ""


@dataclass(frozen=True)
class Reading:
    """One sample of a device: `busy` is the share of it in use, 0 to 1, None where it is not measured; `memory_bytes` the memory in use.

    `power_w` is its power, a mean since the last sample where the device counts its energy; None where it measures none.
    """

    busy: float | None
    memory_bytes: int
    power_w: float | None = None


def of_instances(device_class: str) -> bool:
    """Return whether a class is of instances of a GPU (MIG): the driver names them `NVIDIA H200 MIG 1g.18gb`."""
    return "-mig-" in device_class


class DeviceLost(RuntimeError):
    """The device no longer answers."""


class Sampler(Protocol):
    """A source of devices. Both calls may touch a driver: never inside a transaction."""

    def inventory(self) -> list[Found]:
        """Return the devices of this host, in the driver's order."""
        ...

    def read(self, uuid: str, group: int | None) -> Reading:
        """Return the state of one device; `group` is the process group that uses it. Raises DeviceLost."""
        ...

    def read_part(self, uuid: str, group: int) -> Reading | None:
        """Return what a process group uses of a device that others share; None while the driver does not say. Raises DeviceLost."""
        ...
