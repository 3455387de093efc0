"""Describe a dataset version: what each column holds, its distribution, and its relation to the target.

Reads the canonical Parquet one column at a time. The relation to the target is a number from 0 to 1:

- target of classes: Theil's uncertainty coefficient U = I(X; Y) / H(Y), the share of the target's entropy that the
  column removes, with the Miller-Madow correction (k_x - 1)(k_y - 1) / 2n subtracted from I. Source: H. Theil,
  "On the Estimation of Relationships Involving Qualitative Variables" (1970); G. Miller (1955).
- numeric target: epsilon squared = 1 - (1 - eta^2)(n - 1)/(n - k), the share of the target's variance between bins
  of the column, corrected for the number of bins k. Source: T. Kelley, "An Unbiased Correlation Ratio" (1935).

Numbers and dates are cut into at most BINS bins of equal count; categories beyond the TOP most frequent are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models_app.tables.advice import dataset_warnings
from models_app.tables.columns import kinds
from models_app.tables.columns.stored import RAW

FORMAT = 1
BINS = 20
TOP = 50
SHOWN = 10
DISTINCT_COUNTED = 100_000

Codes = NDArray[np.int64]


def profile(path: Path, *, target: str | None, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the profile of a canonical Parquet file as JSON values."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    goal = _Goal(file, target, schema.field(target).metadata[kinds.KIND_KEY].decode()) if target else None
    columns = []
    for at, field in enumerate(field for field in schema if not field.name.startswith(RAW)):
        kind = field.metadata[kinds.KIND_KEY].decode()
        described, codes = _describe(file, field, kind)
        described["position"] = at
        described["target"] = field.name == target
        described["power"] = None if goal is None or field.name == target or codes is None else goal.power(codes)
        columns.append(described)
    found = {
        "format": FORMAT,
        "rows": file.metadata.num_rows,
        "without_target": next((one["missing"] for one in columns if one["target"]), 0),
        "target": target,
        "task": goal.task if goal else None,
        "measure": goal.measure if goal else None,
        "columns": columns,
    }
    return {**found, "warnings": [*warnings, *dataset_warnings(found)]}


class _Goal:
    """The target column, prepared for the measure."""

    def __init__(self, file: pq.ParquetFile, name: str, kind: str) -> None:
        raw = file.read(columns=[name]).column(0)
        distinct = pc.count_distinct(raw).as_py()
        integer = pa.types.is_integer(raw.type)
        whole = integer or (kind == kinds.NUMERIC and pc.all(pc.equal(raw, pc.floor(raw))).as_py())
        classes = kind in (kinds.CATEGORICAL, kinds.BOOLEAN) or (kind == kinds.NUMERIC and whole and distinct <= 20)
        self.task = "classification" if classes else "regression" if kind == kinds.NUMERIC else None
        self.measure = {"classification": "theil_u", "regression": "epsilon_squared", None: None}[self.task]
        self.known = np.asarray(raw.is_valid())
        known = raw.drop_null().combine_chunks()
        if self.task == "classification":
            self.codes: Codes = known.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        elif self.task == "regression":
            self.values = known.cast(pa.float64(), safe=False).to_numpy()

    def power(self, codes: Codes) -> float | None:
        """Return the column's relation to the target, 0 to 1; None if undefined."""
        codes = codes[self.known]
        if codes.size < 2 or self.task is None:
            return None
        found = _theil(codes, self.codes) if self.task == "classification" else _epsilon_squared(codes, self.values)
        return None if found is None else round(min(1.0, max(0.0, found)), 6)


def _describe(file: pq.ParquetFile, field: pa.Field, kind: str) -> tuple[dict[str, Any], Codes | None]:
    base: dict[str, Any] = {"name": field.name, "kind": kind, "integer": pa.types.is_integer(field.type)}
    if kind == kinds.EMPTY:  # of any type: there is nothing to measure
        return base | _summary_of_text(file.metadata.num_rows, 0), None
    if kind == kinds.TEXT:
        return base | _text(file, field.name), None
    raw = file.read(columns=[field.name]).column(0)
    base |= {"missing": raw.null_count, "missing_share": round(raw.null_count / max(1, len(raw)), 6)}
    if kind in (kinds.CATEGORICAL, kinds.BOOLEAN):
        return _categories(base, raw)
    return _numbers(base, raw, kind)


def _categories(base: dict[str, Any], raw: pa.ChunkedArray) -> tuple[dict[str, Any], Codes]:
    encoded = raw.cast(pa.string()).combine_chunks().dictionary_encode()
    indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = encoded.dictionary.to_pylist()
    counts = np.bincount(indices[indices >= 0], minlength=len(values))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(values) + 1, dtype=np.int64)
    rank[order] = np.minimum(np.arange(len(values)), TOP)
    rank[-1] = TOP + 1
    top = [{"value": values[at][:200], "count": int(counts[at])} for at in order[:SHOWN]]
    other = int(counts[order[SHOWN:]].sum())
    return base | {"distinct": len(values), "top": top, "other": other}, rank[indices]


def _numbers(base: dict[str, Any], raw: pa.ChunkedArray, kind: str) -> tuple[dict[str, Any], Codes]:
    dates = kind == kinds.DATETIME
    values = (raw.cast(pa.int64()) if dates else raw).cast(pa.float64(), safe=False).to_numpy()
    if dates:
        values = values / 1e6
    known = values[~np.isnan(values)]
    quantiles = np.quantile(known, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    counts, edges = _histogram(known)
    described = base | {
        "distinct": int(pc.count_distinct(raw).as_py()),
        "whole": bool((known == np.floor(known)).all()),
        "min": float(known.min()),
        "max": float(known.max()),
        "mean": float(known.mean()),
        "std": float(known.std()),
        "zeros": int((known == 0).sum()),
        "quantiles": {
            name: float(value)
            for name, value in zip(("p01", "p05", "p25", "p50", "p75", "p95", "p99"), quantiles, strict=True)
        },
        "histogram": {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]},
        "unit": "seconds since 1970-01-01 UTC" if dates else None,
    }
    cuts = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    codes = np.searchsorted(cuts, values, side="right").astype(np.int64)
    codes[np.isnan(values)] = cuts.size + 1
    return described, codes


def _histogram(known: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts and edges of at most BINS bins; one bin if the values lie too close together."""
    try:
        return np.histogram(known, bins=min(BINS, max(1, np.unique(known[:100_000]).size)))
    except ValueError:  # fewer floats lie between the lowest and the highest than there would be edges
        return np.array([known.size]), np.array([known.min(), known.max()])


def _text(file: pq.ParquetFile, name: str) -> dict[str, Any]:
    """Count free text in batches: its dictionary may be as large as the file."""
    seen: set[int] = set()
    missing = total = length = longest = 0
    for batch in file.iter_batches(batch_size=16_384, columns=[name], use_threads=False):
        column = batch.column(0)
        total, missing = total + len(column), missing + column.null_count
        lengths = pc.utf8_length(column)
        length += pc.sum(lengths).as_py() or 0
        longest = max(longest, pc.max(lengths).as_py() or 0)
        if len(seen) < DISTINCT_COUNTED:
            seen.update(map(hash, pc.unique(column.drop_null()).to_pylist()))
    return _summary_of_text(total, total - missing, len(seen), length, longest)


def _summary_of_text(rows: int, values: int, distinct: int = 0, length: int = 0, longest: int = 0) -> dict[str, Any]:
    return {
        "missing": rows - values,
        "missing_share": round((rows - values) / max(1, rows), 6),
        "distinct": min(distinct, DISTINCT_COUNTED),
        "distinct_is_floor": distinct >= DISTINCT_COUNTED,
        "length": {"mean": round(length / values, 1) if values else 0.0, "max": longest},
    }


def _theil(column: Codes, target: Codes) -> float | None:
    rows, kinds_ = int(column.max()) + 1, int(target.max()) + 1
    joint = np.bincount(column * kinds_ + target, minlength=rows * kinds_).reshape(rows, kinds_) / column.size
    p_column, p_target = joint.sum(axis=1), joint.sum(axis=0)
    entropy = -float((p_target[p_target > 0] * np.log(p_target[p_target > 0])).sum())
    if entropy <= 0:
        return None
    there = joint > 0
    information = float((joint[there] * np.log(joint[there] / np.outer(p_column, p_target)[there])).sum())
    bias = ((p_column > 0).sum() - 1) * ((p_target > 0).sum() - 1) / (2 * column.size)
    # A column that determines the target exactly gets 1: the correction is for chance, and there is none.
    return 1.0 if information >= entropy * (1 - 1e-12) else (information - float(bias)) / entropy


def _epsilon_squared(column: Codes, target: NDArray[np.float64]) -> float | None:
    centred = target - target.mean()
    total = float((centred**2).sum())
    counts = np.bincount(column)
    groups = int((counts > 0).sum())
    if total <= 0 or column.size <= groups:
        return None
    sums = np.bincount(column, weights=centred)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    return 1.0 - (1.0 - between / total) * (column.size - 1) / (column.size - groups)
