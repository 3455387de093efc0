"""Visibility of jobs: those of projects that the actor sees into, but those that their kind hides; and those shared with it.

Every read of a job starts here.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from django.db.models import Q

from compute import kinds
from compute.models import Attempt, Job, JobGroupPermission, JobUserPermission
from tenants.access.actor import Actor
from tenants.access.reader import may_see_money, reader
from tenants.audit import AuditAction
from tenants.audit.differences import NAME
from tenants.isolation.pages import Texts, as_texts
from tenants.isolation.scoping import TenantQuerySet
from tenants.projects.sight import in_sight
from tenants.sharing import shares
from tenants.sharing.shares import shared_with

VIEW = "jobs.view"
#: What the database does not show to an operator who looks inside a tenant, and what such a job has in place of it.
AMOUNTS = {
    "max_cost": None,
    "price_version": None,
    "quoted_least": None,
    "quoted_most": None,
    "spent": Decimal(0),
    "unit_amount": Decimal(0),
}


def visible_jobs(actor: Actor | None = None, *, shared: bool = True) -> TenantQuerySet[Job]:
    """Return the jobs of the open scope that the actor may see; the actor defaults to the reader.

    All conditions join the one statement. The system actor, which reads outside requests, sees all. Without `shared`, the
    jobs that are seen by a share alone are left out. For an operator who looks inside a tenant they come without `AMOUNTS`.
    """
    rows = Job.objects.get_queryset()
    who = actor or reader()
    if who is None or who.kind == "system":
        return rows
    if not may_see_money(who):
        rows = rows.defer(*AMOUNTS)
    seen = in_sight(who, VIEW)
    for hidden in kinds.hidden(who):
        seen &= ~hidden
    if not seen:
        return rows
    return rows.filter(seen | shared_with(who, "job") if shared else seen)


def own_jobs(actor: Actor) -> TenantQuerySet[Job]:
    """Return the jobs that an actor sees without a share."""
    return visible_jobs(actor, shared=False)


def without_amounts(job: Job) -> Job:
    """Give a job that was read without `AMOUNTS` none, or zero where it has to have one."""
    for name in job.get_deferred_fields() & set(AMOUNTS):
        setattr(job, name, AMOUNTS[name])
    return job


def hidden_jobs() -> list[str]:
    """Return the ids of jobs hidden from the reader in projects that it sees; they are few: those of restricted datasets."""
    who = reader()
    hiding = [] if who is None else kinds.hidden(who)
    if who is None or not hiding:
        return []
    any_of = Q()
    for hidden in hiding:
        any_of |= hidden
    rows = Job.objects.filter(any_of, in_sight(who, VIEW)).exclude(shared_with(who, "job"))
    return [str(one) for one in rows.values_list("id", flat=True)]


def seen_jobs(actor: Actor, ids: set[UUID]) -> TenantQuerySet[Job]:
    """Return those of these jobs that the actor may see."""
    return visible_jobs(actor).filter(id__in=ids)


def seen_attempts(actor: Actor, ids: set[UUID]) -> TenantQuerySet[Attempt]:
    """Return those of these attempts whose job the actor may see."""
    return Attempt.objects.get_queryset().filter(id__in=ids, job__in=visible_jobs(actor).values("id"))


def names(ids: set[UUID]) -> list[Texts]:
    """Return the read of the names of those of these jobs that the reader may see."""
    return [as_texts(NAME, visible_jobs().filter(id__in=ids), "id", "name")]


SHARED = shares.Kind(
    name="job",
    people=JobUserPermission,
    groups=JobGroupPermission,
    permission="jobs.launch",
    visible=visible_jobs,
    managed=own_jobs,
    shared=AuditAction("compute.job.shared"),
    unshared=AuditAction("compute.job.unshared", while_closing=True),
    page="job",
)
