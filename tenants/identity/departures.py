"""What goes on when a member leaves: work that runs under the member's name. The app that runs it says how much, and acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol
from uuid import UUID

from tenants.access.actor import Actor
from tenants.identity.provenance import Descendant
from tenants.models import ApiKey


class Work(Protocol):
    """Open work by who submitted it: members, and the API keys that descend from them."""

    def count(self, submitters: Sequence[UUID]) -> dict[str, int]:
        """Return how many pieces of work are open, by state."""

    def cancel(self, *, actor: Actor, submitters: Sequence[UUID], reason: str) -> None:
        """Cancel all of it. Raises PermissionDenied for who may not cancel the work of others."""

    def hand_over(self, *, actor: Actor, submitters: Sequence[UUID], to: Actor) -> None:
        """Put all of it under the name of another member. Raises PermissionDenied, Invalid."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """What a member leaves behind: live credentials, those that were adopted, and open work by state."""

    credentials: list[Descendant] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether there is anything to tell."""
        return bool(self.credentials or any(self.jobs.values()))

    @property
    def open_jobs(self) -> int:
        """Return how many jobs have not ended."""
        return sum(self.jobs.values())

    @property
    def jobs_words(self) -> str:
        """Return how many jobs go on, by state, for people."""
        parts = [f"{number} {state}" for state, number in self.jobs.items() if number]
        return f"{', '.join(parts)} job{'' if self.open_jobs == 1 else 's'} go{'es' if self.open_jobs == 1 else ''} on"

    @property
    def endpoint_keys(self) -> list[Descendant]:
        """Return the keys that an owner can adopt."""
        return [one for one in self.credentials if one.kind == "endpointkey"]

    def as_json(self) -> dict[str, Any]:
        """Return it for an API answer."""
        return {"credentials": [asdict(one) for one in self.credentials], "adopted": self.adopted, "jobs": self.jobs}


_work: list[Work] = []


def register(work: Work) -> None:
    """Add an app's work."""
    if work not in _work:
        _work.append(work)


def submitters(user_id: UUID, membership_id: UUID) -> list[UUID]:
    """Return under which ids a member submits work: the own one, and those of the API keys that descend from the member."""
    return [user_id, *ApiKey.objects.filter(membership_id=membership_id).values_list("id", flat=True)]


def count(ids: Sequence[UUID]) -> dict[str, int]:
    """Return how much work is open under these ids, by state."""
    return {state: number for work in _work for state, number in work.count(ids).items()}


def settle(*, actor: Actor, ids: Sequence[UUID], to: Actor | None, reason: str) -> None:
    """Cancel the work that is open under these ids, or hand it over to another member."""
    for work in _work:
        if to is None:
            work.cancel(actor=actor, submitters=ids, reason=reason)
        else:
            work.hand_over(actor=actor, submitters=ids, to=to)
