"""Filters and pages of SCIM lists: one attribute, equal to one value, as providers ask for people and groups."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from django.http import QueryDict

from tenants.scim.errors import InvalidFilter, InvalidValue

MOST, DEFAULT = 200, 100
LONGEST = 1000
FILTER = re.compile(r'\s*([\w.:\-]+(?:\[[^\]]*\](?:\.\w+)?)?)\s+eq\s+("(?:[^"\\]|\\.)*")\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """What part of a list is asked for; `start` counts from 1."""

    start: int
    count: int

    @property
    def rows(self) -> slice:
        """Return the rows as a slice."""
        return slice(self.start - 1, self.start - 1 + self.count)


def page(query: QueryDict) -> Page:
    """Read startIndex and count; too small and too large ones are brought into bounds, as RFC 7644 asks."""
    return Page(max(_whole(query, "startIndex", 1), 1), min(max(_whole(query, "count", DEFAULT), 0), MOST))


def equal(query: QueryDict, known: frozenset[str]) -> tuple[str, str] | None:
    """Return the attribute, in lower case, and the value of `filter`; None without one. Raises InvalidFilter."""
    text = query.get("filter", "")
    if not text:
        return None
    match = FILTER.fullmatch(text) if len(text) <= LONGEST else None
    name = match[1].lower().rpartition(":")[2] if match else ""
    if match is None or name not in known:
        raise InvalidFilter
    try:
        value = json.loads(match[2])
    except ValueError as error:
        raise InvalidFilter from error
    if "\x00" in value:
        raise InvalidFilter
    return name, str(value)


def _whole(query: QueryDict, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise InvalidValue(f"{name}: use a whole number.")
    return int(text)
