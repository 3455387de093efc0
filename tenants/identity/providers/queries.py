"""Reads of a tenant's identity provider: its configuration without secrets, its people, its SCIM tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from tenants.identity.members import Jobs
from tenants.isolation.scoping import current_tenant_id
from tenants.models import CANCEL, HAND_OVER, ExternalIdentity, IdentityProvider, ScimToken, Tenant


@dataclass(frozen=True, kw_only=True)
class ProviderRow:
    """The provider without its secret.

    `leavers_jobs` is keep, cancel, or the id of the member who gets them, whose address is `leavers_heir`.
    """

    id: UUID
    kind: str
    name: str
    issuer: str
    client_id: str
    has_secret: bool
    sign_in_url: str
    certificates: Sequence[str]
    default_role: str
    highest_role: str
    just_in_time: bool
    trusts_email: bool
    groups_claim: str
    enabled: bool
    required: bool
    leavers_jobs: str
    leavers_heir: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """What an administrator copies to the provider."""

    log_in: str
    redirect: str
    entity_id: str
    acs: str
    metadata: str
    scim: str


@dataclass(frozen=True, kw_only=True)
class IdentityRow:
    """A person whom the provider names."""

    id: UUID
    subject: str
    user_id: UUID
    email: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ScimTokenRow:
    """A SCIM token without its secret."""

    id: UUID
    name: str
    prefix: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def provider() -> IdentityProvider | None:
    """Return the open tenant's provider."""
    return IdentityProvider.objects.select_related("leavers_heir").first()


def provider_row() -> ProviderRow | None:
    """Return the open tenant's provider for display."""
    row = provider()
    if row is None:
        return None
    other = ("has_secret", "required", "leavers_jobs", "leavers_heir")
    plain = {name: getattr(row, name) for name in ProviderRow.__dataclass_fields__ if name not in other}
    required = Tenant.objects.values_list("provider_required", flat=True).get(id=current_tenant_id())
    return ProviderRow(
        **plain,
        has_secret=row.client_secret is not None,
        required=required,
        leavers_jobs=str(jobs_of_leavers(row)),
        leavers_heir=row.leavers_heir.email if row.leavers_heir else "",
    )


def jobs_of_leavers(row: IdentityProvider) -> Jobs:
    """Return what becomes of the open jobs of members whom the provider removes; kept where their heir's account is gone."""
    if row.leavers_jobs == HAND_OVER:
        return row.leavers_heir_id or "keep"
    return "cancel" if row.leavers_jobs == CANCEL else "keep"


def addresses(slug: str) -> Addresses:
    """Return the addresses of a tenant's log-in, all at the public address."""

    def at(name: str) -> str:
        return f"{settings.EXCHEQUER.effective_public_url}{reverse(name, args=[slug])}"

    return Addresses(
        log_in=at("provider-log-in"),
        redirect=at("provider-callback"),
        entity_id=at("provider-metadata"),
        acs=at("provider-acs"),
        metadata=at("provider-metadata"),
        scim=f"{settings.EXCHEQUER.effective_public_url}/scim/v2/",
    )


def identities(*, before: UUID | None = None, limit: int = 50) -> list[IdentityRow]:
    """Return up to `limit` + 1 linked identities, newest first, older than `before`."""
    rows = ExternalIdentity.objects.select_related("user").order_by("-id")
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [
        IdentityRow(
            id=row.id,
            subject=row.subject,
            user_id=row.user_id,
            email=row.user.email,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
        )
        for row in rows[: limit + 1]
    ]


def scim_tokens() -> list[ScimTokenRow]:
    """Return the tenant's SCIM tokens, newest first."""
    names = list(ScimTokenRow.__dataclass_fields__)
    return [
        ScimTokenRow(**dict(zip(names, row, strict=True)))
        for row in ScimToken.objects.order_by("-created_at", "-id").values_list(*names)
    ]
