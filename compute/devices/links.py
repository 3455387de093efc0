"""Pools of a host's devices by the speed of the links between them. Pure: the driver's answers come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

NVLINK, PCIE, SOCKET = SPEEDS = ("nvlink", "pcie", "socket")
"""Over NVLink, over one PCIe switch, and through one processor: fastest first, and in the order of the alphabet."""
_TITLES = {NVLINK: "NVLink", PCIE: "PCIe switch", SOCKET: "processor"}


def pools_of(devices: Sequence[str], speed: Callable[[str, str], str]) -> dict[str, str]:
    """Return the pool of each device, such as `nvlink 0`; empty if it reaches none of the others at a speed of `SPEEDS`.

    A pool holds the devices that reach each other, directly or by others of it, at the best speed that any of them has.
    """
    found: dict[str, str] = {}
    for name in SPEEDS:
        left, number = [one for one in devices if one not in found], 0
        while left:
            pool = [left.pop(0)]
            for one in pool:  # it grows meanwhile
                near = [other for other in left if speed(one, other) == name]
                pool += near
                left = [other for other in left if other not in near]
            if len(pool) > 1:
                found |= dict.fromkeys(pool, f"{name} {number}")
                number += 1
    return {one: found.get(one, "") for one in devices}


def pool_title(pool: str) -> str:
    """Return a pool as pages write it: `nvlink 0` is "NVLink 1"; empty for none."""
    name, _, number = pool.partition(" ")
    return f"{_TITLES[name]} {int(number) + 1}" if name in _TITLES and number.isdigit() else ""
