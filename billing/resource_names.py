"""Names of resources such as `job:<id>`: billing knows only their text; upper apps register names at start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.urls import NoReverseMatch, reverse

Namer = Callable[[Iterable[UUID]], Mapping[UUID, str]]
JOB = "job"
EVENTS = "Events"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: its naming function, its page, and the noun for one unit of its counted usage."""

    namer: Namer
    page: str = ""
    record_noun: str = EVENTS


WITHHELD = "not shared with you"
"""Replaces a dimension's value hidden from the reader. Its usage is counted all the same."""

_kinds: dict[str, Kind] = {}
_hidden: dict[str, Callable[[], Collection[str]]] = {}


def register(namer: Namer, prefix: str = JOB, *, page: str = "", record_noun: str = EVENTS) -> None:
    """Register the names of resources `<prefix>:<id>` of the open scope; `page` is the route of the resource's page."""
    _kinds[prefix] = Kind(namer, page, record_noun)


def withhold(dimension: str, hidden: Callable[[], Collection[str]]) -> None:
    """Register which values of a dimension are hidden from the reader of the open scope; for `job`, the ids of jobs."""
    _hidden[dimension] = hidden


def withheld(dimension: str) -> list[str]:
    """Return the values of a dimension that are hidden from the reader."""
    return sorted(_hidden[dimension]()) if dimension in _hidden else []


def job_names(ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """Return the names of known jobs."""
    return _names(JOB, {one for one in ids if one is not None})


def resource_names(resources: Iterable[str]) -> dict[str, str]:
    """Return the names of known resources, with one look-up per kind."""
    wanted: dict[str, dict[UUID, str]] = {}
    for resource in set(resources):
        prefix, found = _parts(resource)
        if found is not None and prefix in _kinds:
            wanted.setdefault(prefix, {})[found] = resource
    return {
        ids[found]: name
        for prefix, ids in wanted.items()
        for found, name in _names(prefix, set(ids)).items()
        if found in ids
    }


def page_of(resource: str, slug: str) -> str:
    """Return the URL of a resource's page in a tenant; empty without one."""
    prefix, found = _parts(resource)
    kind = _kinds.get(prefix)
    if kind is None or found is None or not kind.page:
        return ""
    try:
        return reverse(kind.page, args=(slug, found))
    except NoReverseMatch:
        return ""


def record_noun_of(resources: Iterable[str]) -> str:
    """Return the noun for one unit of counted usage of all these resources: that of their kind, else events."""
    words = {_kinds[prefix].record_noun if prefix in _kinds else EVENTS for prefix, _ in map(_parts, resources)}
    return words.pop() if len(words) == 1 else EVENTS


def _names(prefix: str, ids: set[UUID]) -> dict[UUID, str]:
    return dict(_kinds[prefix].namer(ids)) if ids and prefix in _kinds else {}


def _parts(resource: str) -> tuple[str, UUID | None]:
    prefix, _, text = resource.partition(":")
    try:
        return prefix, UUID(text)
    except ValueError:
        return prefix, None
