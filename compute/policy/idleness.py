"""Whether an attempt's devices do nothing. Pure: a sliding window over utilisation, memory and power.

A window forgets: work that was busy and then stopped is found, however busy it was before. Low utilisation alone proves
nothing: work that is bound by memory draws power above rest, or moves memory, and counts as work. Where samples are
missing nothing is proven either way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, kw_only=True)
class IdleRule:
    """When devices count as idle, and what follows. Seconds, bytes and shares of 1.

    Idle: over `window_s`, of which samples cover at least `covered`, a device was busy for less than the share `busy_below`
    of the time, and in less than that share it drew more than `power_above` times its power at rest or its used memory moved
    by more than `moved_bytes`. `grace_s` lies between the warning and the stop.
    """

    window_s: float = 1_800.0
    busy_below: float = 0.05
    power_above: float = 1.5
    moved_bytes: int = 64 * 1024**2
    covered: float = 0.8
    grace_s: float = 1_800.0


@dataclass(frozen=True, kw_only=True)
class Minute:
    """The samples of one minute of a device: their seconds, the busy ones, the most power (None: not measured), and memory."""

    seconds: float
    busy_s: float
    power_w: float | None
    least_memory: int
    most_memory: int


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One device in the window, oldest minute first, and the least power that it drew in this attempt."""

    minutes: Sequence[Minute]
    resting_w: float | None = None


class Finding(Enum):
    """What a window shows."""

    IDLE = "idle"
    WORKING = "working"
    UNKNOWN = "unknown"


def find(traces: Collection[Trace], devices: int, rule: IdleRule) -> Finding:
    """Classify an attempt by its devices: idle if all of them are, working if one is, unknown where samples are missing."""
    found = [_of_device(trace, rule) for trace in traces]
    if Finding.WORKING in found:
        return Finding.WORKING
    if len(found) < devices or Finding.UNKNOWN in found:
        return Finding.UNKNOWN
    return Finding.IDLE


def _of_device(trace: Trace, rule: IdleRule) -> Finding:
    seconds = sum(minute.seconds for minute in trace.minutes)
    if seconds <= 0:
        return Finding.UNKNOWN
    enough = rule.busy_below * max(seconds, rule.covered * rule.window_s)
    busy = sum(minute.busy_s for minute in trace.minutes)
    at_work = sum(minute.seconds for minute in trace.minutes if _draws(minute, trace, rule) or _moves(minute, rule))
    if busy >= enough or at_work >= enough:
        return Finding.WORKING
    return Finding.IDLE if seconds >= rule.covered * rule.window_s else Finding.UNKNOWN


def _draws(minute: Minute, trace: Trace, rule: IdleRule) -> bool:
    """Return whether a device drew clearly more than at rest."""
    return (
        minute.power_w is not None
        and trace.resting_w is not None
        and minute.power_w > rule.power_above * trace.resting_w
    )


def _moves(minute: Minute, rule: IdleRule) -> bool:
    return minute.most_memory - minute.least_memory > rule.moved_bytes
