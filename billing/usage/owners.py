"""Whose usage is: upper apps register how a person or a model is found from ids of jobs and endpoints, all with one look-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from billing.resource_names import JOB


@dataclass(frozen=True, slots=True)
class Owner:
    """A value of a dimension, and its name for people."""

    key: str
    name: str


Find = Callable[[Collection[UUID]], Mapping[UUID, Owner]]
_found: dict[str, dict[str, Find]] = {}


def register(dimension: str, prefix: str, find: Find) -> None:
    """Register who owns resources `<prefix>:<id>` of the open scope in a dimension such as `person`; jobs are `job`."""
    _found.setdefault(dimension, {})[prefix] = find


def dimensions() -> list[str]:
    """Return the dimensions that can be looked up."""
    return sorted(_found)


def owners_of(dimension: str, used: Iterable[tuple[UUID | None, str]]) -> dict[tuple[UUID | None, str], Owner]:
    """Return the owner of each (job, resource) that has one, with one look-up for each kind of resource."""
    places: dict[str, dict[UUID, list[tuple[UUID | None, str]]]] = {}
    for job, resource in used:
        prefix, _, text = (JOB, "", "") if job else resource.partition(":")
        try:
            places.setdefault(prefix, {}).setdefault(job or UUID(text), []).append((job, resource))
        except ValueError:
            continue
    found: dict[tuple[UUID | None, str], Owner] = {}
    for prefix, find in _found.get(dimension, {}).items():
        wanted = places.get(prefix, {})
        for one, owner in (find(wanted.keys()) if wanted else {}).items():
            found |= dict.fromkeys(wanted[one], owner)
    return found
