"""Columns that training excludes by default, and why. Pure: shared by page, API and form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_app.tables.advice import LEAK_POWER, is_identifier
from models_app.tables.columns import kinds

UNUSED = {kinds.TEXT: "free text, which this recipe does not use", kinds.EMPTY: "no value in any row"}
"""Columns that no tabular recipe uses, whatever a person chooses."""


def left_out(
    profile: Mapping[str, Any], target: str, choices: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """Return column -> reason for what training on `target` excludes by default.

    Identifiers, constants, and leaks of the target (known for the profile's target only). A person's choice of a role
    wins. Nothing is excluded if no column would be left to learn from.
    """
    usable = [one for one in profile.get("columns", []) if one["name"] != target and one["kind"] not in UNUSED]
    found = {}
    for column in usable:
        role = (choices or {}).get(column["name"], {}).get("role") or (
            column["role"] if column.get("role_chosen") else None
        )
        reason = "an identifier, as set by a member" if role == "identifier" else _reason(column, profile, target, role)
        if reason:
            found[column["name"]] = reason
    return found if len(found) < len(usable) else {}


def _reason(column: Mapping[str, Any], profile: Mapping[str, Any], target: str, role: str | None) -> str:
    if column["distinct"] == 1 and not column.get("missing"):
        return "the same value in every row"
    if role != "feature" and (column.get("role") == "identifier" or is_identifier(column, profile["rows"])):
        return "an identifier: every row has its own value"
    if profile.get("target") == target and (column.get("power") or 0) >= LEAK_POWER:
        return f"reveals {target} (target leakage): if it is only known afterwards, the model would learn nothing else"
    return ""
