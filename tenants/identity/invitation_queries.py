"""Queries of invitations: the list on the members page, and the data of the email."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from tenants.clock import DatabaseNow, now
from tenants.identity.invitations import InvitationDetails, acceptable, details_of, token_of
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Invitation, Tenant


@dataclass(frozen=True)
class InvitationEmail:
    """Data of an invitation's email. `expires_at` is in the organisation's `zone`."""

    to: str
    tenant: str
    role: str
    invited_by: str
    by_key: bool
    token: str
    expires_at: datetime
    zone: str


@dataclass(frozen=True)
class InvitationRow:
    """An invitation on the members page. `state`: open, accepted, revoked or expired."""

    id: UUID
    email: str
    role: str
    invited_by: str
    created_at: datetime
    expires_at: datetime
    state: str


def is_open(email: str) -> bool:
    """Return whether an address has an invitation whose link still works; a new one would revoke it."""
    return Invitation.objects.filter(
        email=email.strip().lower(), accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow()
    ).exists()


def offered_to(email: str) -> InvitationDetails | None:
    """Return what the open tenant offers to an address now; None without an invitation that could be accepted."""
    row = Invitation.objects.filter(
        email=email, accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow()
    ).first()
    tenant = Tenant.objects.get(id=current_tenant_id())
    return details_of(row, tenant) if row is not None and acceptable(row, tenant) else None


def invitations(*, before: UUID | None = None, limit: int = 50, only_open: bool = False) -> list[InvitationRow]:
    """Return up to `limit` + 1 invitations, newest first, older than `before`."""
    moment = now()
    rows = Invitation.objects.order_by("-id")
    if only_open:
        rows = rows.filter(accepted_at=None, revoked_at=None)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [as_row(row, moment) for row in rows[: limit + 1]]


def as_row(row: Invitation, moment: datetime | None = None) -> InvitationRow:
    """Return an invitation for the members page at `moment`; default: now."""
    state = _state(row, moment or now())
    return InvitationRow(row.id, row.email, row.role, row.inviter, row.created_at, row.expires_at, state)


def email_of(tenant_id: UUID, invitation_id: UUID) -> InvitationEmail | None:
    """Return the data of an invitation's email; None once it is no longer open."""
    with tenant_scope(tenant_id):
        row = Invitation.objects.filter(
            id=invitation_id, accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow()
        ).first()
        if row is None:
            return None
        tenant, zone = Tenant.objects.values_list("name", "timezone").get(id=tenant_id)
        until = row.expires_at.astimezone(ZoneInfo(zone))
        by_key = row.parent_key_id is not None
        return InvitationEmail(row.email, tenant, row.role, row.invited_by, by_key, token_of(row.id), until, zone)


def _state(row: Invitation, moment: datetime) -> str:
    if row.accepted_at is not None:
        return "accepted"
    if row.revoked_at is not None:
        return "revoked"
    return "open" if row.expires_at > moment else "expired"
