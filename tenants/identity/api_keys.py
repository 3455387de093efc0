"""Create and revoke API keys."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.identity import authentication, creators, provenance
from tenants.models import ApiKey
from tenants.operations import check_text

KEY_CREATED = AuditAction("tenants.api_key.created")
KEY_REVOKED = AuditAction("tenants.api_key.revoked")
provenance.register(
    provenance.Kind(
        "apikey",
        ApiKey,
        KEY_REVOKED,
        label=lambda row: str(row.name),
        could_make=lambda row, own: {"apikeys.manage", *row.scopes} <= own,
    )
)


@dataclass(frozen=True)
class NewKey:
    """A new API key. `secret` is shown once and never stored."""

    id: UUID
    secret: str


@operation(KEY_CREATED)
def create_api_key(
    *,
    actor: Actor,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    service_account_id: UUID | None = None,
    secret: str | None = None,
    responsible_id: UUID | None = None,
) -> NewKey:
    """Create a key with scopes within the actor's own permissions, which expires no later than the actor's key.

    A key of a service account has no more than the account's rights, and outlives the membership of its creator.
    `secret`, and the person who answers for the key, are given only when bootstrapping.
    """
    actor.require("apikeys.manage")
    name = check_text(name, "name")
    unknown = sorted(set(scopes) - PERMISSIONS)
    if unknown or not scopes:
        raise Invalid(
            fields={"scopes": [f"Unknown: {', '.join(unknown)}." if unknown else "Choose at least one scope."]}
        )
    scopes = sorted({*scopes, provenance.ALWAYS})
    creator = creators.lock_creator(actor)
    beyond = sorted({"apikeys.manage", *scopes} - (creator.permissions & actor.permissions))
    if beyond:
        raise PermissionDenied(f"You cannot grant permissions you do not have: {', '.join(beyond)}.")
    if creator.expires_at is not None and (expires_at is None or expires_at > creator.expires_at):
        latest = f"A key created with this one expires no later than this one: {creator.expires_at:%Y-%m-%dT%H:%M:%SZ}."
        raise Invalid(fields={"expires_at": [latest]})
    creators.check_depth(creator)
    origin = creator.origin() | _root(scopes, service_account_id)
    key, prefix, digest = authentication.new_key()
    if secret is not None:
        if (
            not 8 <= len(secret) <= authentication.LONGEST_KEY
            or not secret.isascii()
            or not secret.isprintable()
            or " " in secret
        ):
            raise Invalid(
                fields={"api_key": ["Use 8 to 200 printable ASCII characters without spaces; 40 random ones are safe."]}
            )
        key, prefix, digest = secret, authentication.key_prefix(secret), authentication.key_hash(secret)
    row = ApiKey.objects.create(
        name=name,
        prefix=prefix,
        key_hash=digest,
        scopes=sorted(set(scopes)),
        created_by=actor.label,
        created_by_id=responsible_id or creator.person_id,
        expires_at=expires_at,
        **origin,
    )
    record(
        KEY_CREATED,
        actor=actor,
        target=("apikey", row.id, name),
        changes={"scopes": [None, row.scopes]},
    )
    return NewKey(row.id, key)


def _root(scopes: list[str], service_account_id: UUID | None) -> dict[str, UUID | None]:
    """Return the root that a key of a service account has in place of its creator's. Raises AccessEnded, Invalid."""
    if service_account_id is None:
        return {}
    account = creators.locked_creator(service_account_id=service_account_id)
    if beyond := sorted(set(scopes) - account.permissions):
        raise Invalid(fields={"scopes": [f"The service account lacks {', '.join(beyond)}. Grant it a role with them."]})
    return {"membership_id": None, "service_account_id": service_account_id}


@operation(KEY_REVOKED)
def revoke_api_key(*, actor: Actor, key_id: UUID) -> dict[str, list[str]]:
    """Revoke a key and all that descends from it, effective with the next request.

    Returns the ids of the descendants by kind. Nobody can revoke a key with more permissions than their own. Raises
    NotFound, PermissionDenied.
    """
    actor.require("apikeys.manage")
    row = ApiKey.objects.select_for_update(no_key=True).filter(id=key_id).first()
    if row is None:
        raise NotFound
    beyond = sorted((PERMISSIONS & set(row.scopes)) - actor.permissions)
    if beyond:
        raise PermissionDenied(f"You cannot revoke a key with permissions you do not have: {', '.join(beyond)}.")
    if row.revoked_at is not None:
        unchanged("the key is revoked already")
        return {}
    ApiKey.objects.filter(id=key_id).update(revoked_at=DatabaseNow())
    record(KEY_REVOKED, actor=actor, target=("apikey", row.id, row.name))
    return provenance.revoke_descendants(actor=actor, key_id=row.id, reason=f"made with the key {row.name}")
