"""What a project's page shows of money and work: upper apps register their figures of a project."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from tenants.access.actor import Actor


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its title and note; `path` is the page of the organisation that shows it in full."""

    title: str
    value: str
    note: str
    icon: str
    path: str = ""


#: Returns an app's figures of a project, as far as the actor may see them: in the open scope of one tenant.
Source = Callable[[Actor, UUID], Iterable[Figure]]
_sources: list[tuple[int, Source]] = []


def register(source: Source, *, order: int) -> None:
    """Add an app's figures; lower orders come first."""
    if source not in (known for _, known in _sources):
        _sources.append((order, source))
        _sources.sort(key=lambda one: one[0])


def of_project(actor: Actor, project_id: UUID) -> list[Figure]:
    """Return the figures of a project that an actor may see."""
    return [figure for _, source in _sources for figure in source(actor, project_id)]
