"""Making and revoking API keys."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenants import authentication
from tenants.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.models import ApiKey
from tenants.operations import check_text
from tenants.permissions import PERMISSIONS

KEY_CREATED = AuditAction("tenants.api_key.created")
KEY_REVOKED = AuditAction("tenants.api_key.revoked")
#: Every key may ask who it is.
ALWAYS = "tenant.view"


@dataclass(frozen=True)
class NewKey:
    """A fresh API key. `secret` is shown once and never stored."""

    id: UUID
    secret: str


@operation(KEY_CREATED)
def create_api_key(
    *,
    actor: Actor,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    secret: str | None = None,
) -> NewKey:
    """Create a key whose scopes lie within the actor's own permissions. `secret` is given only when bootstrapping."""
    actor.require("apikeys.manage")
    name = check_text(name, "name")
    unknown = sorted(set(scopes) - PERMISSIONS)
    if unknown or not scopes:
        raise Invalid(
            fields={"scopes": [f"Unknown: {', '.join(unknown)}." if unknown else "Choose at least one scope."]}
        )
    scopes = sorted({*scopes, ALWAYS})
    beyond = sorted(set(scopes) - actor.permissions)
    if beyond:
        raise PermissionDenied(f"You cannot give what you do not have: {', '.join(beyond)}.")
    key, prefix, digest = authentication.new_key()
    if secret is not None:
        if (
            not 8 <= len(secret) <= authentication.LONGEST_KEY
            or not secret.isascii()
            or not secret.isprintable()
            or " " in secret
        ):
            raise Invalid(
                fields={"api_key": ["Use 8 to 200 printable ASCII characters without blanks; 40 random ones are safe."]}
            )
        key, prefix, digest = secret, authentication.key_prefix(secret), authentication.key_hash(secret)
    row = ApiKey.objects.create(
        name=name,
        prefix=prefix,
        key_hash=digest,
        scopes=sorted(set(scopes)),
        created_by=actor.label,
        created_by_id=maker(actor),
        expires_at=expires_at,
    )
    record(
        KEY_CREATED,
        actor=actor,
        target=("apikey", row.id, name),
        changes={"scopes": [None, row.scopes]},
    )
    return NewKey(row.id, key)


@operation(KEY_REVOKED)
def revoke_api_key(*, actor: Actor, key_id: UUID) -> None:
    """Revoke a key; it is refused from the next request on."""
    actor.require("apikeys.manage")
    row = ApiKey.objects.select_for_update(no_key=True).filter(id=key_id).first()
    if row is None:
        raise NotFound
    if row.revoked_at is not None:
        unchanged("the key is revoked already")
        return
    ApiKey.objects.filter(id=key_id).update(revoked_at=DatabaseNow())
    record(KEY_REVOKED, actor=actor, target=("apikey", row.id, row.name))


def maker(actor: Actor) -> UUID | None:
    """Return the person behind an actor: a key made by a key belongs to the one who made that one."""
    if actor.kind == "api_key":
        return ApiKey.objects.values_list("created_by_id", flat=True).get(id=str(actor.id))
    return actor.id
