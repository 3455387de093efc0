"""Validate the output of a sandboxed child before it is trusted: names, sizes, the structure of safetensors.

A stored model is checked the same way before it is used again.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compute.kinds import BadOutput
from models_app.measures import bins
from models_app.recipes.tabular.shapes import tensor_shapes

FORMAT = 1
KINDS = frozenset({"numeric", "boolean", "datetime", "categorical"})
MAX_JSON_BYTES = 32 * 1024**2
MAX_TEXT = 1_000_000
MAX_HEADER_BYTES = 16 * 1024**2


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of bounded size. Raises BadOutput."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadOutput(f"{path.name} is larger than it can be")
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
        _check_storable(found)
    except (OSError, ValueError, RecursionError) as error:
        raise BadOutput(f"{path.name} cannot be read") from error
    if not isinstance(found, dict):
        raise BadOutput(f"{path.name} is not an object")
    return found


def check_model(signature: Mapping[str, Any], recipe: str, weights: Path) -> None:
    """Raise BadOutput unless a signature matches this recipe and is complete, and the weights match its network."""
    shapes = check_safetensors(weights)
    try:
        known = signature["format"] == FORMAT and signature["recipe"] == recipe
        inputs = [(str(one["name"]), one["kind"]) for one in signature["inputs"]]
        complete = bool(inputs) and all(kind in KINDS for _, kind in inputs) and isinstance(signature["classes"], list)
        fits = complete and shapes == tensor_shapes(signature["network"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadOutput("the signature is not complete") from error
    if not known:
        raise BadOutput("the signature is of another recipe, or of a format that is not known")
    if not fits:
        raise BadOutput("the weights do not fit the signature")


def baseline_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return the baseline of a result, empty if its recipe makes none. Raises BadOutput for a malformed one."""
    found = result.get("baseline") or {}
    try:
        if found:
            bins.check(found)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadOutput(f"result.json: {error}") from error
    return dict(found)


def check_safetensors(path: Path) -> dict[str, list[int]]:
    """Return the shapes of the tensors.

    Raises BadOutput unless the file is safetensors: `u64 header length, header, data`, with a bounded JSON header and
    offsets without gaps or overlaps.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise BadOutput(f"{path.name}: the header is longer than the file or the cap")
            header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        spans = sorted(tuple(entry["data_offsets"]) for entry in tensors.values())
        shapes = {name: list(entry["shape"]) for name, entry in tensors.items()}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadOutput(f"{path.name} is not safetensors") from error
    at = 0
    for begin, end in spans:
        if begin != at or end < begin:
            raise BadOutput(f"{path.name}: tensors overlap or leave gaps")
        at = end
    if at != size - 8 - length:
        raise BadOutput(f"{path.name}: the data is shorter or longer than the header says")
    return shapes


def _check_storable(found: object) -> None:
    """Raise ValueError for texts that a database cannot store and no correct child writes: NUL, a lone surrogate."""
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            if len(value) > MAX_TEXT or "\0" in value:
                raise ValueError("a text is too long or holds NUL")
            value.encode()


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(word)
    return number


def _refuse(word: str) -> float:
    raise ValueError(word)
