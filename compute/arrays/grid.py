"""The points of a grid: each combination of values of a few parts of a request, named by dotted paths."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

from compute.limits import MOST_JOBS
from tenants.errors import Invalid

MOST_PATHS = 5


def points(spec: Mapping[str, Any], vary: Any) -> list[dict[str, Any]]:
    """Return a specification for each combination of values, the last path changing fastest. Raises Invalid."""
    if not isinstance(vary, dict) or not 1 <= len(vary) <= MOST_PATHS:
        raise Invalid(
            fields={"vary": [f'Give 1 to {MOST_PATHS} lists, such as {{"params.learning_rate": [0.1, 0.2]}}.']}
        )
    faults = [fault for path, values in vary.items() if (fault := _fault(path, values))]
    if faults:
        raise Invalid(fields={"vary": faults})
    number = prod(len(values) for values in vary.values())
    if number > MOST_JOBS:
        raise Invalid(fields={"vary": [f"That is {number} jobs. An array has at most {MOST_JOBS}: give fewer values."]})
    found = []
    for values in product(*vary.values()):
        point = copy.deepcopy(dict(spec))
        for path, value in zip(vary, values, strict=True):
            _put(point, path, value)
        found.append(point)
    return found


def at(spec: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path, None if there is none."""
    value: Any = spec
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _fault(path: str, values: Any) -> str:
    if len(path) > 120 or not path.isprintable() or not all(path.split(".")):
        return "Name a field by its path, such as params.learning_rate."
    if not isinstance(values, list) or not values:
        return f"Give a list of values for {path}."
    if any(isinstance(value, dict | list) for value in values):
        return f"Give texts or numbers for {path}."
    if len({repr(value) for value in values}) < len(values):
        return f"Give each value of {path} once."
    return ""


def _put(point: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    inner = point
    for name in above:
        following = inner.setdefault(name, {})
        if not isinstance(following, dict):
            raise Invalid(fields={"vary": [f"{path} names no field: {name} holds a value."]})
        inner = following
    inner[last] = value
