"""Where a reported event belongs: its project, its dimensions and the hold that pays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from billing.reported.cloudevents import EventRefused, Incoming
from billing.reported.holds.payers import Payer, payers
from billing.usage.reserved_sources import reserved_fault
from tenants.access.actor import Actor
from tenants.parsing import storable

DEFAULT_PROJECT = "default"
LONGEST_PROJECT = 64


@dataclass(frozen=True, slots=True)
class Places:
    """What events of the open scope's tenant may name: projects by short name and id, holds by id."""

    projects: Mapping[str, UUID]
    holds: Mapping[str, Payer]


class Placed(NamedTuple):
    """The place of an event."""

    project_id: UUID
    dims: dict[str, str]
    hold_id: UUID | None


def projects_named(events: Sequence[Any]) -> set[str]:
    """Return by what these events, which are not parsed, may name projects."""
    named: set[Any] = {DEFAULT_PROJECT}
    for event in events:
        if isinstance(event, dict):
            data = event.get("data")
            for one in (event.get("project"), data.get("project") if isinstance(data, dict) else None):
                if isinstance(one, str):
                    named.add(one)
    return {name for name in named if len(name) <= LONGEST_PROJECT and storable(name)}


def places_of(actor: Actor, events: Iterable[Incoming], projects: Mapping[str, UUID]) -> Places:
    """Return what these events of a sender may name."""
    return Places(projects, payers(actor, {event.hold for event in events if event.hold}))


def refuse_reserved(event: Incoming) -> None:
    """Raise EventRefused for an event that claims to be of Exchequer's own work."""
    if reason := reserved_fault(event.source, event.subject):
        raise EventRefused(reason)


def placed(event: Incoming, places: Places) -> Placed:
    """Return the place of an event. Raises EventRefused."""
    payer, dims = None, event.dims
    if event.hold:
        payer = places.holds.get(event.hold.lower())
        if payer is None:
            raise EventRefused("data.hold: there is no such hold")
        dims = payer.dims_of(event)
    project = payer.project_id if payer and not event.project else places.projects.get(event.project or DEFAULT_PROJECT)
    if payer and project != payer.project_id:
        raise EventRefused("project: the hold is of another project")
    if project is None:
        raise EventRefused(f"project: there is no project “{event.project or DEFAULT_PROJECT}”")
    return Placed(project, dict(dims), payer.id if payer else None)
