"""Warnings about a dataset before training on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from models_app.tables.columns import kinds

LEAK_POWER = 0.98
IMBALANCE_SHARE = 0.05
MISSING_SHARE = 0.5
LISTED = 5
FEW_ROWS = 200

CALLED_ID = re.compile(r"(?:^|[^A-Za-z])(?i:id|uuid|guid|index|idx)$|[a-z](?:Id|ID)$")
"""Such as id, customer_id, PassengerId, row index."""


def dataset_warnings(profile: dict[str, Any]) -> list[str]:
    """Return warnings about a profile, the most serious first."""
    columns = profile["columns"]
    inputs = [column for column in columns if not column["target"]]
    rows = profile["rows"]
    leaks = [column["name"] for column in inputs if (column["power"] or 0) >= LEAK_POWER]
    found = [
        f"Column {name} alone reveals the target (target leakage). If it is only known afterwards, the model would learn nothing else. Training leaves it out unless you keep it."
        for name in leaks
    ]
    found += _about_target(profile)
    named = {
        "has the same value in every row and adds nothing": [
            c for c in inputs if c["kind"] != kinds.EMPTY and c["distinct"] == 1 and not c["missing"]
        ],
        "has no values": [c for c in inputs if c["kind"] == kinds.EMPTY],
        "looks like an identifier: every row has its own value. Training leaves it out unless you keep it": [
            c for c in inputs if is_identifier(c, rows)
        ],
        "is free text and will not be used by the tabular recipes": [
            c for c in inputs if c["kind"] == kinds.TEXT and not is_identifier(c, rows)
        ],
        "has no value in more than half of the rows": [
            c for c in inputs if c["kind"] != kinds.EMPTY and c["missing_share"] > MISSING_SHARE
        ],
    }
    for words, which in named.items():
        if which:
            found.append(f"{_names(which)} {words}.")
    usable = rows - sum(column["missing"] for column in columns if column["target"])
    if usable < kinds.MIN_TRAINING_ROWS:
        found.insert(
            0,
            f"Training needs at least {kinds.MIN_TRAINING_ROWS} rows with a target value; this version has {usable}. Upload a version with more.",
        )
    elif rows < FEW_ROWS:
        found.append(f"The dataset has only {rows} rows. Metrics on test rows will vary a lot between seeds.")
    return found


def _about_target(profile: dict[str, Any]) -> list[str]:
    target = next((column for column in profile["columns"] if column["target"]), None)
    if target is None:
        return ["No target column is set. Choose one when you launch a job."]
    found = []
    if target["missing"]:
        found.append(
            f"Target {target['name']} has no value in {target['missing']:,} rows. Training leaves those rows out."
        )
    if profile["task"] is None:
        found.append(f"Target {target['name']} is {target['kind']} and fits neither the classifier nor the regressor.")
    if target["distinct"] == 1:
        found.append(f"Target {target['name']} has the same value in every row, so there is nothing to learn.")
    counts = [entry["count"] for entry in target.get("top", [])]
    if profile["task"] == "classification" and len(counts) > 1 and not target.get("other"):
        share = min(counts) / sum(counts)
        if share < IMBALANCE_SHARE:
            found.append(
                f"The rarest class of {target['name']} has only {share:.1%} of the rows. Check balanced accuracy, or balance the classes."
            )
    return found


def is_identifier(column: Mapping[str, Any], rows: int) -> bool:
    """Return whether every row has its own value, as in a row number or a code.

    Whole numbers count if they are nearly consecutive, or if the column is named like an id.
    """
    if column.get("distinct_is_floor") or rows < 50 or column["missing"]:
        return False
    whole = column["kind"] == kinds.TEXT or (column["kind"] == kinds.NUMERIC and column["integer"])
    dense = column["kind"] == kinds.TEXT or abs(column.get("max", 0) - column.get("min", 0)) < 1.5 * rows
    return bool(whole and (dense or CALLED_ID.search(column["name"])) and column["distinct"] == rows)


def _names(columns: list[dict[str, Any]]) -> str:
    shown = ", ".join(column["name"] for column in columns[:LISTED])
    more = len(columns) - LISTED
    return f"Column {shown}" if len(columns) == 1 else f"Each of {shown}{f' and {more} more' if more > 0 else ''}"
