"""Visibility of jobs: all but those that their kind hides from the actor. Every read of a job starts here."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from compute import kinds
from compute.models import Attempt, Job
from tenants.access.actor import Actor
from tenants.access.reader import reader
from tenants.isolation.scoping import TenantQuerySet


def visible_jobs(actor: Actor | None = None) -> TenantQuerySet[Job]:
    """Return the jobs of the open scope that the actor may see; the actor defaults to the reader.

    The kinds add conditions to the one statement. The system actor, which reads outside requests, sees all.
    """
    rows = Job.objects.get_queryset()
    who = actor or reader()
    if who is None or who.kind == "system":
        return rows
    for narrow in kinds.narrowing():
        rows = narrow(who, rows)
    return rows


def hidden_jobs() -> list[str]:
    """Return the ids of jobs hidden from the reader; they are few, since kinds hide only restricted ones."""
    if not kinds.narrowing():
        return []
    hidden = Job.objects.exclude(id__in=visible_jobs().values("id"))
    return [str(one) for one in hidden.values_list("id", flat=True)]


def seen_jobs(actor: Actor, ids: set[UUID]) -> Iterable[UUID]:
    """Return those of these jobs that the actor may see."""
    return visible_jobs(actor).filter(id__in=ids).values_list("id", flat=True)


def seen_attempts(actor: Actor, ids: set[UUID]) -> Iterable[UUID]:
    """Return those of these attempts whose job the actor may see."""
    return Attempt.objects.filter(id__in=ids, job__in=visible_jobs(actor)).values_list("id", flat=True)
