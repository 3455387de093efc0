"""What a changed limit would do: which work would wait, and what would be refused. Upper apps register their work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tenants.quotas.resources import Amount, Resource, find
from tenants.quotas.scopes import ORGANISATION, Scope
from tenants.quotas.usage import QuotaUse, usage_of


@dataclass(frozen=True)
class Named:
    """Work of a scope that uses a resource, and work that waits for it: a few names each, and how many there are."""

    running: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()
    running_count: int = 0
    queued_count: int = 0


class Work(Protocol):
    """An app's work that uses resources, in the open scope of one tenant."""

    def queued(self) -> Mapping[tuple[str, Scope], Amount]:
        """Return how much waits for each resource, by resource and scope; in one query."""

    def named(self, resource: str, scope: Scope) -> Named | None:
        """Return the work of a scope that uses or awaits a resource; None for a resource of another app."""


_works: list[Work] = []


def register_work(work: Work) -> None:
    """Register an app's work."""
    _works.append(work)


def queued() -> dict[tuple[str, Scope], Amount]:
    """Return how much work waits for each resource, by resource and scope."""
    return {key: number for work in _works for key, number in work.queued().items()}


def use_of(resource: str, scope: Scope) -> QuotaUse:
    """Return one scope's use of a resource; an empty one where nobody set a limit or used any."""
    uses = usage_of(project_id=scope.project_id, person=scope.person)
    known = {(use.resource, use.scope): use for use in uses}
    whole = known.get((resource, ORGANISATION))
    ceiling = whole.ceiling if whole else None
    return known.get((resource, scope)) or QuotaUse(resource, None, 0, scope, find(resource).period, ceiling)


def preview(resource: str, scope: Scope, limit: int | None) -> list[str]:
    """Return in sentences what a new limit, in the resource's shown unit, would do now."""
    found, use = find(resource), use_of(resource, scope)
    new = None if limit is None else limit * found.unit
    said = [f"{found.said(use.in_use)} in use now{' this month' if found.period != 'at_once' else ''}."]
    if new is None:
        own = (
            ""
            if scope != ORGANISATION or use.ceiling is None
            else f" The operators’ ceiling of {found.said(use.ceiling)} stays."
        )
        return [*said, f"This resource no longer limits launches.{own}"]
    named = next((one for work in _works if (one := work.named(resource, scope)) is not None), Named())
    return said + (_waiting(found, use, new, named) if found.waits else _refused(found, use, new))


def _waiting(found: Resource, use: QuotaUse, new: int, named: Named) -> list[str]:
    room = int(max(0, new - use.in_use))
    said = []
    if use.in_use > new:
        said.append(
            f"More than the new limit is in use. Running work continues{_names(named.running, named.running_count)}."
        )
    else:
        said.append(f"Up to {found.said(new)} can be held at once.")
    waits = max(0, named.queued_count - room)
    if waits:
        said.append(f"{waits} queued job{'s' * (waits != 1)} would wait{_names(named.queued[room:], waits)}.")
    if starts := min(room, named.queued_count):
        said.append(f"{starts} queued job{'s' * (starts != 1)} could start when a device is free.")
    return said


def _refused(found: Resource, use: QuotaUse, new: int) -> list[str]:
    if use.in_use >= new:
        until = "the next month" if found.period != "at_once" else "some is released"
        return [f"The new limit is used up. New requests are refused until {until}; what is there stays."]
    return [f"{found.said(new - use.in_use)} would be left; a request for more is refused."]


def _names(names: tuple[str, ...], number: int) -> str:
    if not names:
        return ""
    more = number - len(names)
    return f": {', '.join(names)}{f' and {more} more' if more > 0 else ''}"
