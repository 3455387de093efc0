"""When a device must take no more work: pure rules over what its driver says."""

from __future__ import annotations

from dataclasses import dataclass

PROGRAMS_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Errors (XID) that a program causes and a healthy GPU survives; the list of NVIDIA's device plugin for Kubernetes."""


@dataclass(frozen=True)
class Vitals:
    """What the driver says of a device now.

    `lost`: why it no longer answers, else empty. `uncorrected`: memory errors (ECC) since its last reset that were not
    corrected, None if it does not count them. `xids`: errors since the last look. `temperature_c`: None if it is not measured;
    `slowed`: it lowers its clocks because it is too hot.
    """

    lost: str = ""
    uncorrected: int | None = None
    xids: tuple[int, ...] = ()
    temperature_c: int | None = None
    slowed: bool = False


def fault_of(vitals: Vitals) -> str:
    """Return why the device must take no more work, in a sentence for operators; empty if it may."""
    if vitals.lost:
        return f"The driver lost this device: {vitals.lost}. Restart its host, then return it."
    if vitals.uncorrected:
        errors = "memory error" if vitals.uncorrected == 1 else "memory errors"
        return f"{vitals.uncorrected} {errors} (ECC) not corrected since its last reset. Reset it, then return it."
    grave = sorted(set(vitals.xids) - PROGRAMS_XIDS)
    if grave:
        return f"The driver reported XID {', '.join(map(str, grave))}. Check the host's kernel log, then return it."
    return ""


def warning_of(vitals: Vitals) -> str:
    """Return what operators should look at though the device takes work, in a sentence; empty if nothing."""
    if not vitals.slowed:
        return ""
    at = "" if vitals.temperature_c is None else f" at {vitals.temperature_c} °C"
    return f"It is too hot{at} and lowers its clocks. Check the fans and the air of its host."
