"""Open work of a departing member. The app that runs the work counts it and acts on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from tenants.access.actor import Actor
from tenants.identity.provenance import Descendant
from tenants.models import ApiKey

#: More are only counted.
MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class OpenWork:
    """One open piece of work, for display: `page` is the route of its page."""

    id: UUID
    name: str
    state: str
    page: str


class Work(Protocol):
    """Open work by submitter: members, and the API keys that descend from them."""

    def count(self, submitters: Sequence[UUID]) -> dict[str, int]:
        """Return the amount of open work, by state."""

    def named(self, submitters: Sequence[UUID], most: int) -> list[OpenWork]:
        """Return up to so many of them that the reader may see, running ones first."""

    def cancel(self, *, actor: Actor, submitters: Sequence[UUID], reason: str) -> None:
        """Cancel all of it. Raises PermissionDenied for an actor who may not cancel others' work."""

    def hand_over(self, *, actor: Actor, submitters: Sequence[UUID], to: Actor) -> None:
        """Transfer all of it to another member. Raises PermissionDenied, Invalid."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """What a member leaves behind: live credentials, adopted ones, and open work by state.

    `known`: keys of service accounts whose secret the member was shown. They continue, and should be rotated. `work`: the
    first MOST_NAMED of the jobs, as far as the reader may see them.
    """

    credentials: list[Descendant] = field(default_factory=list)
    known: list[Descendant] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    work: list[OpenWork] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Return whether anything is left behind."""
        return bool(self.credentials or self.known or any(self.jobs.values()))

    @property
    def open_jobs(self) -> int:
        """Return the number of unfinished jobs."""
        return sum(self.jobs.values())

    @property
    def unnamed_jobs(self) -> int:
        """Return the number of unfinished jobs that `work` does not name."""
        return self.open_jobs - len(self.work)

    @property
    def jobs_words(self) -> str:
        """Return the number of continuing jobs, by state, as text."""
        parts = [f"{number} {state}" for state, number in self.jobs.items() if number]
        return f"{', '.join(parts)} job{'' if self.open_jobs == 1 else 's'}"

    @property
    def endpoint_keys(self) -> list[Descendant]:
        """Return the keys that an owner can adopt."""
        return [one for one in self.credentials if one.kind == "endpointkey"]


_work: list[Work] = []


def register(work: Work) -> None:
    """Register an app's work."""
    if work not in _work:
        _work.append(work)


def submitters(user_id: UUID, membership_id: UUID) -> list[UUID]:
    """Return the ids under which a member submits work: their own, and those of the API keys that descend from them."""
    return [user_id, *ApiKey.objects.filter(membership_id=membership_id).values_list("id", flat=True)]


def count(ids: Sequence[UUID]) -> dict[str, int]:
    """Return the amount of open work under these ids, by state."""
    return {state: number for work in _work for state, number in work.count(ids).items()}


def named(ids: Sequence[UUID]) -> list[OpenWork]:
    """Return the first of the open work under these ids, as far as the reader may see it."""
    return [one for work in _work for one in work.named(ids, MOST_NAMED)][:MOST_NAMED]


def settle(*, actor: Actor, ids: Sequence[UUID], to: Actor | None, reason: str) -> None:
    """Cancel the open work under these ids, or transfer it to another member."""
    for work in _work:
        if to is None:
            work.cancel(actor=actor, submitters=ids, reason=reason)
        else:
            work.hand_over(actor=actor, submitters=ids, to=to)
