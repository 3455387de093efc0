"""Messages of a child on standard output: one JSON object per line. Pure; invalid lines are dropped, never raised."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compute import limits

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Progress:
    """Progress of the child."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """Values of one step; finite numbers only."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """`checkpoint/` is complete for this step."""

    step: int


@dataclass(frozen=True)
class Fault:
    """The fault that the child reports; shown to the user if it exits with 65."""

    code: str
    message: str


@dataclass(frozen=True)
class Layers:
    """Sandbox layers missing on this host."""

    missing: list[str]


Report = Progress | Metric | Checkpoint | Fault | Layers


def parse(line: bytes) -> Report | None:
    """Parse one line; None for anything outside the protocol."""
    try:
        body = json.loads(line, parse_constant=_refuse)
        read: Callable[[dict[str, Any]], Report] = _READERS[body["type"]]
        return read(body)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError, OverflowError):
        return None


def still_opening(said: Report, *, required: bool) -> bool:
    """Return whether a child with these reports has not yet locked itself down, nor reported any work.

    One that lacks `required` layers reports them, and then exits without having started.
    """
    return isinstance(said, Fault) or (required and isinstance(said, Layers) and bool(said.missing))


def clean(text: str, most: int) -> str:
    """Return text without control characters or colour codes, truncated to `most` characters."""
    return _CONTROL.sub("", text)[:most]


def _refuse(word: str) -> float:
    raise ValueError(word)


def _progress(body: dict[str, Any]) -> Progress:
    values: dict[str, Any] = {"phase": clean(str(body.get("phase", "running")), 40)}
    for name in ("done", "total"):
        if name in body:
            values[name] = _count(body[name])
    if body.get("eta_s") is not None:
        values["eta_s"] = round(min(max(_number(body["eta_s"]), 0.0), 1e9), 3)
    return Progress(values)


def _metric(body: dict[str, Any]) -> Metric:
    values = {clean(str(name), 80): _number(value) for name, value in body["values"].items()}
    if not 0 < len(values) <= limits.METRIC_VALUES:
        raise ValueError("number of values")
    return Metric(_count(body["step"]), values)


def _checkpoint(body: dict[str, Any]) -> Checkpoint:
    return Checkpoint(_count(body.get("step", 0)))


def _fault(body: dict[str, Any]) -> Fault:
    return Fault(clean(str(body.get("code", "error")), 80), clean(str(body.get("message", "")), 2_000))


def _layers(body: dict[str, Any]) -> Layers:
    return Layers([clean(str(name), 80) for name in body["missing"]][:20])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError("not a count")
    return value


_READERS: dict[str, Callable[[dict[str, Any]], Report]] = {
    "progress": _progress,
    "metric": _metric,
    "checkpoint": _checkpoint,
    "error": _fault,
    "sandbox": _layers,
}
