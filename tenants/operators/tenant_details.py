"""What the console shows of one tenant: facts, figures, people, quotas and what operators did. Never its work or data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db import connection

from tenants import quotas
from tenants.clock import DatabaseNow, now
from tenants.errors import NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Invitation, Membership, Tenant
from tenants.operators.log.queries import ActRow, acts_on
from tenants.operators.tenant_metrics import DigestRow, digest_of

#: People and entries that the page shows; an organisation of thousands manages its own.
MOST = 200
MOST_ACTS = 20


@dataclass(frozen=True)
class PersonRow:
    """A member of a tenant with their roles."""

    email: str
    name: str
    roles: str
    since: datetime


@dataclass(frozen=True)
class InvitationRow:
    """An open invitation."""

    email: str
    role: str
    expires_at: datetime


@dataclass(frozen=True)
class QuotaRow:
    """A resource's use, the tenant's own limit and the operators' ceiling, as text with their unit; empty: none.

    The ceiling is the one without its raise, which `raised` names while it is in force, until `raised_until`.
    """

    title: str
    in_use: str
    limit: str
    ceiling: str
    raised: str = ""
    raised_until: datetime | None = None


@dataclass(frozen=True)
class TenantDetails:
    """One tenant. `figures` is None until they are collected for the first time; `people` holds at most MOST."""

    tenant: Tenant
    figures: DigestRow | None
    people: list[PersonRow]
    invitations: list[InvitationRow]
    quotas: list[QuotaRow]
    acts: list[ActRow]


def details(tenant_id: UUID) -> TenantDetails:
    """Return one tenant's details: nine statements. Raises NotFound."""
    tenant = tenant_of(tenant_id)
    acts = acts_on("tenant", tenant_id, MOST_ACTS)
    with tenant_scope(tenant_id):
        open_ones = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow())
        waiting = open_ones.order_by("-created_at").values_list("email", "role", "expires_at")[:MOST]
        return TenantDetails(
            tenant=tenant,
            figures=digest_of(tenant_id),
            people=_people(),
            invitations=[InvitationRow(*row) for row in waiting],
            quotas=_quotas(),
            acts=acts,
        )


def tenant_of(tenant_id: UUID) -> Tenant:
    """Return one tenant. Raises NotFound."""
    tenant = Tenant.objects.filter(id=tenant_id).first()
    if tenant is None:
        raise NotFound
    return tenant


def _quotas() -> list[QuotaRow]:
    known, moment = quotas.resources(), now()
    set_ones = {row.resource: row for row in quotas.ceilings()}
    rows = []
    for use in quotas.usage():
        one, row = known.get(use.resource, quotas.Resource(use.resource, use.resource)), set_ones.get(use.resource)
        own, ceiling = (
            "" if amount is None else one.said(amount) for amount in (use.limit, row.limit if row else None)
        )
        shown = QuotaRow(f"{one.title}, {one.period_words}", one.said(use.in_use), own, ceiling)
        if row is not None and row.raised_to is not None and row.raised_until is not None and row.raised_until > moment:
            shown = replace(shown, raised=one.said(row.raised_to), raised_until=row.raised_until)
        rows.append(shown)
    return rows


def _people() -> list[PersonRow]:
    members = list(Membership.objects.order_by("created_at").values_list("id", "user_id", "created_at")[:MOST])
    roles: dict[UUID, list[str]] = {}
    grants = Grant.objects.filter(membership_id__in=[row[0] for row in members]).order_by("created_at")
    for membership_id, built_in, own, project in grants.values_list(
        "membership_id", "built_in", "role__name", "project__name"
    ):
        name = built_in or own
        roles.setdefault(membership_id, []).append(f"{name} in {project}" if project else name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id, email, name FROM exchequer_people()")
        people = {user_id: (email, name) for user_id, email, name in cursor.fetchall()}
    return [
        PersonRow(*people[user_id], roles=", ".join(roles.get(membership_id, ())) or "none", since=since)
        for membership_id, user_id, since in members
        if user_id in people
    ]
