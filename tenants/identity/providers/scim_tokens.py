"""SCIM tokens: credentials of a provider that may make, change and end memberships, and nothing else."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.standing import Standing, TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.errors import Invalid, NotFound
from tenants.identity import creators, provenance
from tenants.identity.members import BY_SCIM
from tenants.isolation.scoping import tenant_scope
from tenants.models import IdentityProvider, ScimToken, Tenant
from tenants.operations import check_text

TOKEN_CREATED = AuditAction("tenants.scim_token.created")
TOKEN_REVOKED = AuditAction("tenants.scim_token.revoked", while_closing=True)
START, PREFIX_LENGTH, LONGEST = "exs_", 8, 200
USED_EVERY = timedelta(minutes=1)


provenance.register(
    provenance.Kind(
        "scimtoken",
        ScimToken,
        TOKEN_REVOKED,
        label=lambda row: str(row.name),
        could_make=lambda row, own: "identity.manage" in own.everywhere,
        page=lambda row: "identity-provider/",
    )
)


@dataclass(frozen=True)
class NewToken:
    """A new token; the secret is shown once."""

    id: UUID
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Entered:
    """Who asks by a SCIM token."""

    actor: Actor
    provider: IdentityProvider


@operation(TOKEN_CREATED)
def create(*, actor: Actor, name: str, expires_at: datetime | None = None) -> NewToken:
    """Create a token of the tenant's provider; it ends with its creator's right to it. Raises NotFound, Invalid."""
    actor.require("identity.manage")
    provider = IdentityProvider.objects.first()
    if provider is None:
        raise NotFound("Configure the identity provider first.")
    name = check_text(name, "name")
    if expires_at is not None and expires_at <= now():
        raise Invalid(fields={"expires_at": ["Choose a time in the future."]})
    creator = creators.lock_creator(actor)
    if "identity.manage" not in creator.permissions:
        raise creators.AccessEnded
    if creator.expires_at is not None:
        expires_at = creator.until(expires_at or creator.expires_at)
    secret = f"{START}{secrets.token_hex(PREFIX_LENGTH // 2)}_{secrets.token_urlsafe(32)}"
    row = ScimToken.objects.create(
        provider=provider,
        name=name,
        prefix=_prefix(secret),
        token_hash=_digest(secret),
        created_by=actor.label[:254],
        expires_at=expires_at,
        **creator.origin(),
    )
    record(TOKEN_CREATED, actor=actor, target=("scimtoken", row.id, name))
    return NewToken(row.id, secret)


@operation(TOKEN_REVOKED)
def revoke(*, actor: Actor, token_id: UUID) -> None:
    """Revoke a token, effective with its next request. Raises NotFound."""
    actor.require(TakesAway("identity.manage"))
    row = ScimToken.objects.select_for_update(no_key=True).filter(id=token_id).first()
    if row is None:
        raise NotFound
    if row.revoked_at is not None:
        unchanged("the token is revoked already")
        return
    ScimToken.objects.filter(id=row.id).update(revoked_at=DatabaseNow())
    record(TOKEN_REVOKED, actor=actor, target=("scimtoken", row.id, row.name))


def find(secret: str, origin: dict[str, Any]) -> Entered | None:
    """Return who asks by a token; None for one that is unknown, expired, revoked, or of a closed tenant.

    None, too, for one whose creator may no longer manage the provider.

    Comparing hashes in the database reveals nothing by its time: nobody can choose the hash that is compared.
    """
    if not secret.startswith(START) or len(secret) > LONGEST:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM exchequer_scim_tokens(%s)", [_prefix(secret)])
        candidates = cursor.fetchall()
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))
    for tenant_id, token_id in candidates:
        with tenant_scope(tenant_id):
            rows = ScimToken.objects.select_related("provider").filter(live, id=token_id, token_hash=_digest(secret))
            row = rows.filter(provider__enabled=True).first()
            standing = cast(Standing, Tenant.objects.values_list("standing", flat=True).get(id=tenant_id))
            if row is None or standing == "closed" or not provenance.is_backed(row):
                continue
            if row.last_used_at is None or row.last_used_at < now() - USED_EVERY:
                ScimToken.objects.filter(id=row.id).update(last_used_at=DatabaseNow())
            actor = Actor.system(tenant_id, f"SCIM token {row.name}")
            return Entered(replace(actor, standing=standing, credential=f"{BY_SCIM}{row.id}", **origin), row.provider)
    return None


def _prefix(secret: str) -> str:
    return secret.removeprefix(START)[:PREFIX_LENGTH]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
