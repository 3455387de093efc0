"""Limits and reservations by resource name: the only way for apps to reserve resources.

A resource is a plain string such as `devices:cpu`. Counters move by one conditional UPDATE, so that concurrent
reservations never exceed the limit together. Upper apps register the resources (`register`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import F

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import ExchequerError, Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Quota, QuotaReservation

QUOTA_CHANGED = AuditAction("tenants.quota.changed")


class QuotaExceeded(ExchequerError):
    """The organisation's quota is used up. Release resources, or ask an admin to raise it."""

    code = "quota_exceeded"
    status = 409


@dataclass(frozen=True)
class QuotaUse:
    """One resource's limit (None = no limit) and what is reserved of it now."""

    resource: str
    limit: int | None
    in_use: int

    @property
    def left(self) -> int | None:
        """What can still be reserved; None without a limit."""
        return None if self.limit is None else max(self.limit - self.in_use, 0)


@dataclass(frozen=True)
class Resource:
    """A resource that an app reserves: its name, its title, and how some of it becomes free."""

    name: str
    title: str
    relief: str = "Wait for running work to end"


Source = Callable[[], Iterable[Resource]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Register an app's resources, read in the open scope of one tenant."""
    if source not in _sources:
        _sources.append(source)


def resources() -> dict[str, Resource]:
    """Return every registered resource, by name."""
    return {known.name: known for source in _sources for known in source()}


def titles() -> dict[str, str]:
    """Return the title of each resource, by name."""
    return {name: known.title for name, known in resources().items()}


def title_of(name: str) -> str:
    """Return the title of a resource; its name if no app reserves it any more."""
    return titles().get(name, name)


def reserve(*, resource: str, subject: str, amount: int = 1) -> None:
    """Reserve `amount` for `subject` in the open scope; a subject reserves a resource once.

    Raises `QuotaExceeded` and changes nothing if the limit would be exceeded.
    """
    if amount < 1:
        raise ValueError("reserve at least 1")
    tenant_id = current_tenant_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tenants_quota (id, tenant_id, resource, in_use) VALUES (gen_random_uuid(), %s, %s, 0) ON CONFLICT (tenant_id, resource) DO NOTHING",
            [tenant_id, resource],
        )
        cursor.execute(
            "UPDATE tenants_quota SET in_use = in_use + %(amount)s WHERE tenant_id = %(tenant)s AND resource = %(resource)s "
            'AND ("limit" IS NULL OR in_use + %(amount)s <= "limit") '
            "AND NOT EXISTS (SELECT 1 FROM tenants_quotareservation r WHERE r.tenant_id = %(tenant)s AND r.subject = %(subject)s AND r.resource = %(resource)s)",
            {
                "amount": amount,
                "tenant": tenant_id,
                "resource": resource,
                "subject": subject,
            },
        )
        if cursor.rowcount == 1:
            QuotaReservation.objects.create(resource=resource, subject=subject, amount=amount)
            return
    if QuotaReservation.objects.filter(subject=subject, resource=resource).exists():
        return
    use = next(quota for quota in usage() if quota.resource == resource)
    known = resources().get(resource, Resource(resource, resource))
    raise QuotaExceeded(
        f"{known.title}: {use.in_use} of {use.limit} in use, {amount} more requested. {known.relief}, or ask an admin to raise the quota.",
        resource=resource,
        limit=use.limit,
        in_use=use.in_use,
        asked=amount,
    )


def release(*, subject: str) -> None:
    """Release everything that `subject` reserved; idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM tenants_quotareservation WHERE tenant_id = %(tenant)s AND subject = %(subject)s RETURNING resource, amount) "
            "UPDATE tenants_quota q SET in_use = in_use - gone.amount FROM gone WHERE q.tenant_id = %(tenant)s AND q.resource = gone.resource",
            {"tenant": current_tenant_id(), "subject": subject},
        )


def usage() -> Sequence[QuotaUse]:
    """Return every resource with a limit or a reservation, by name."""
    rows = Quota.objects.order_by("resource").values_list("resource", "limit", "in_use")
    return [QuotaUse(*row) for row in rows]


def check_limit(resource: str, limit: int | None) -> None:
    """Raise `Invalid` for a resource that no app reserves, unless it has a limit to lift, or for an invalid limit."""
    known = resources()
    if resource not in known and not (resource.isprintable() and Quota.objects.filter(resource=resource).exists()):
        raise Invalid(fields={"resource": [f"There is no such resource. Use one of {', '.join(sorted(known))}."]})
    if limit is not None and not 0 <= limit < 2**53:
        raise Invalid(fields={"limit": ["Use a whole number of 0 or more, or leave it empty for no limit."]})


@operation(QUOTA_CHANGED)
def set_limit(*, actor: Actor, resource: str, limit: int | None) -> QuotaUse:
    """Set or lift (None) a resource's limit; lowering it does not affect existing reservations."""
    actor.require("quotas.manage")
    check_limit(resource, limit)
    quota, _ = Quota.objects.select_for_update(no_key=True).get_or_create(resource=resource)
    before = quota.limit
    Quota.objects.filter(id=quota.id).update(limit=limit, in_use=F("in_use"))
    record(
        QUOTA_CHANGED,
        actor=actor,
        target=("quota", quota.id, resource),
        changes={"limit": [before, limit]},
    )
    return QuotaUse(resource, limit, quota.in_use)
