"""Groupings and sort orders of spend, and the names of groups and their values. Pure."""

import re

from billing.queries import WITHHELD
from dashboards.formatting import worded

GROUPS = {
    "project": "Project",
    "job": "Job",
    "meter": "Meter",
    "dim:endpoint": "Endpoint",
    "dim:device_class": "Device class",
    "dim:tier": "Tier",
}
ORDERS = {"cost": "Cost", "name": "Name", "quantity": "Quantity"}
TAG = re.compile(r"tag:[A-Za-z0-9_.-]{1,60}")  # reported usage has longer names than jobs
_CODES = ("dim:device_class", "dim:tier")
_WITHOUT = {
    "job": "Without a job",
    "dim:endpoint": "Without an endpoint",
    "dim:device_class": "Without a device",
    "dim:tier": "Without a tier",
}


def group_title(group: str) -> str | None:
    """Return the title of a grouping; None for an unknown one."""
    return GROUPS.get(group) or (f"Tag {group.removeprefix('tag:')}" if TAG.fullmatch(group) else None)


def value_title(group: str, value: str | None) -> str:
    """Return the label of a grouping's value that has no name."""
    if not value:
        return _WITHOUT.get(group, "Without this tag" if TAG.fullmatch(group) else "None")
    if value == WITHHELD:
        return value
    return f"job {value[-8:]}" if group == "job" else worded(value) if group in _CODES else value
