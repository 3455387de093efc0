"""Groupings and sort orders of spend, and the names of groups and their values. Pure."""

import json
import re
from collections.abc import Mapping

from billing.queries import DIMS, OTHERS, TITLES, UNTAGGED, WITHHELD, WITHOUT
from dashboards.formatting import worded

#: The dimensions of the page `Chargeback`, under the names that sums of usage have.
GROUPS = {f"dim:{name}" if name in DIMS else name: title for name, title in TITLES.items()}
ORDERS = {"cost": "Cost", "name": "Name", "quantity": "Quantity"}
TAG = re.compile(r"tag:[A-Za-z0-9_.-]{1,60}")  # reported usage has longer names than jobs
_CODES = ("dim:device_class", "dim:tier")
#: The most groups that the page is narrowed in, one for each row followed.
MOST_ONLY = 6


def group_title(group: str) -> str | None:
    """Return the title of a grouping; None for an unknown one."""
    return {**GROUPS, "resource": "Resource"}.get(group) or (
        f"Tag {group.removeprefix('tag:')}" if TAG.fullmatch(group) else None
    )


def value_title(group: str, value: str | None) -> str:
    """Return the label of a grouping's value that has no name."""
    if not value:
        return WITHOUT.get(group.removeprefix("dim:"), UNTAGGED)
    if value in (WITHHELD, OTHERS):
        return value
    return f"job {value[-8:]}" if group == "job" else worded(value) if group in _CODES else value


def cuts(values: Mapping[str, str]) -> list[str]:
    """Return the one or two groups that a query string names."""
    named = (values.get("group", "project"), values.get("second", ""))
    return [name for name in dict.fromkeys(named) if name]


def narrowed(values: Mapping[str, str]) -> dict[str, str | None] | None:
    """Return the values that a query string narrows the page to: `only={"project": ID}`, null for none; None for no such text."""
    try:
        found = json.loads(values.get("only") or "{}")
    except ValueError:
        return None
    named = isinstance(found, dict) and len(found) <= MOST_ONLY and all(map(group_title, found))
    return (
        found
        if named and all(one is None or (isinstance(one, str) and "\0" not in one) for one in found.values())
        else None
    )
