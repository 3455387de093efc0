"""Labels of nodes: operators set them, and a job runs only on nodes that carry all that it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from compute.models import Device, Node
from tenants.errors import Invalid

MOST = 16
PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
RULE = "letters a to z, digits, dots, dashes and underscores, at most 63, with a letter or digit at both ends"


def fault_of(labels: Any) -> str:
    """Return what is wrong with labels; empty if nothing is."""
    if not isinstance(labels, dict):
        return "Give an object of texts, such as zone: eu."
    if len(labels) > MOST:
        return f"Use at most {MOST} labels."
    for key, value in labels.items():
        for part in (key, value):
            if not isinstance(part, str) or not PART.fullmatch(part):
                return f"Write keys and values with {RULE}: {str(part)[:70]!r} is none."
    return ""


def as_set(labels: Mapping[str, str]) -> frozenset[str]:
    """Return labels as the policy compares them: `key=value`."""
    return frozenset(f"{key}={value}" for key, value in labels.items())


def as_text(labels: Mapping[str, str]) -> str:
    """Return labels as people type them: `zone=eu, disk=ssd`."""
    return ", ".join(sorted(as_set(labels)))


def from_text(text: str) -> dict[str, str]:
    """Return typed labels. Raises Invalid."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = pair.partition("=")
        if not sign or key.strip() in found:
            fault = "has no =" if not sign else "names its key twice"
            raise Invalid(fields={"labels": [f"Write key=value, separated by commas: {pair[:70]!r} {fault}."]})
        found[key.strip()] = value.strip()
    return found


def offered() -> list[str]:
    """Return the labels that a job may ask for, as `key=value`: those of nodes with a device for jobs."""
    rows = Node.objects.filter(id__in=_for_jobs().values("node")).exclude(labels={}).values_list("labels", flat=True)
    return sorted({one for labels in rows.distinct() for one in as_set(labels)})


def refusal(device_class: str, labels: Mapping[str, str]) -> str:
    """Return why no node of a class can run work that asks for these labels; empty if one can."""
    of_class = _for_jobs().filter(device_class=device_class)
    if of_class.filter(node__labels__contains=dict(labels)).exists():
        return ""
    rows = Node.objects.filter(id__in=of_class.values("node")).exclude(labels={}).values_list("labels", flat=True)
    sets = sorted({as_text(one) for one in rows.distinct()})
    if not sets:
        return f"No host with {device_class} devices has labels. Leave them out."
    return f"No host with {device_class} devices carries all of {as_text(labels)}. The hosts carry: {'; '.join(sets)}."


def _for_jobs() -> QuerySet[Device]:
    return Device.objects.filter(serves=False, node__ended_at=None).exclude(state="gone")
