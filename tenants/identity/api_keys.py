"""Create, rotate and revoke API keys."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.identity import authentication, creators, provenance
from tenants.models import ApiKey
from tenants.operations import check_text
from tenants.projects.sight import NO_PROJECT, in_sight_of

KEY_CREATED = AuditAction("tenants.api_key.created")
KEY_REVOKED = AuditAction("tenants.api_key.revoked")
KEY_ROTATED = AuditAction("tenants.api_key.rotated")
MOST_OVERLAP_H = 24 * 30
provenance.register(
    provenance.Kind(
        "apikey",
        ApiKey,
        KEY_REVOKED,
        label=lambda row: str(row.name),
        could_make=lambda row, own: {"apikeys.manage", *row.scopes} <= own.everywhere,
        related=("project",),
    )
)

NO_ACCOUNT = "There is no such service account, or it is disabled."


@dataclass(frozen=True)
class Given:
    """What an operator chose of the first key: its secret, and the person who answers for it."""

    secret: str | None = None
    responsible_id: UUID | None = None


NOTHING_GIVEN = Given()


class KeyEnded(Conflict):
    """This key works no more. Create a new one."""

    code = "key_ended"


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
    project_id: UUID | None = None,
    given: Given = NOTHING_GIVEN,
) -> NewKey:
    """Create a key with scopes within the actor's own permissions, which expires no later than the actor's key.

    A key of a service account has no more than the account's rights, and outlives the membership of its creator.
    With `project_id` it sees and does nothing outside this project; scopes that cannot be limited to one are refused.
    `given` is used only when bootstrapping.
    """
    actor.require("apikeys.manage")
    name = check_text(name, "name")
    unknown = sorted(set(scopes) - PERMISSIONS)
    if unknown or not scopes:
        raise Invalid(
            fields={"scopes": [f"Unknown: {', '.join(unknown)}." if unknown else "Choose at least one scope."]}
        )
    if project_id is not None:
        _check_project(actor, project_id, scopes)
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
    secret = given.secret
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
        created_by_id=given.responsible_id or creator.person_id,
        expires_at=expires_at,
        project_id=project_id,
        **origin,
    )
    record(
        KEY_CREATED,
        actor=actor,
        target=("apikey", row.id, name),
        changes={"scopes": [None, row.scopes], **({"project": [None, str(project_id)]} if project_id else {})},
    )
    return NewKey(row.id, key)


@operation(KEY_ROTATED)
def rotate_api_key(*, actor: Actor, key_id: UUID, overlap_hours: int = 24) -> NewKey:
    """Replace a key by a new one with the same name, scopes and project; the old one works `overlap_hours` longer.

    The new one belongs to the actor, or to the same service account, and lives as long as the old one was made for. What
    descends from the old one ends with it. Raises NotFound, Invalid, Conflict, PermissionDenied.
    """
    actor.require("apikeys.manage")
    if not 0 <= overlap_hours <= MOST_OVERLAP_H:
        raise Invalid(fields={"overlap_hours": [f"Use 0 to {MOST_OVERLAP_H} hours."]})
    row = _locked(actor, key_id)
    moment = now()
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= moment):
        raise KeyEnded
    lives = row.expires_at - row.created_at if row.expires_at is not None else None
    made = create_api_key(
        actor=actor,
        name=row.name,
        scopes=row.scopes,
        expires_at=None if lives is None else moment + lives,
        service_account_id=row.service_account_id,
        project_id=row.project_id,
    )
    until = moment + timedelta(hours=overlap_hours)
    if row.expires_at is None or row.expires_at > until:
        ApiKey.objects.filter(id=row.id).update(expires_at=until)
    ended = provenance.end_below(row.id, until)
    changes = {"replaced_by": [None, str(made.id)], "expires_at": [row.expires_at and str(row.expires_at), str(until)]}
    record(
        KEY_ROTATED, actor=actor, target=("apikey", row.id, row.name), changes=changes | {"descendants": [None, ended]}
    )
    return made


def _locked(actor: Actor, key_id: UUID) -> ApiKey:
    """Return a key that has no more permissions than the actor, locked. Raises NotFound, PermissionDenied."""
    row = ApiKey.objects.select_for_update(no_key=True).filter(id=key_id).first()
    if row is None:
        raise NotFound
    if beyond := sorted((PERMISSIONS & set(row.scopes)) - actor.permissions):
        raise PermissionDenied(f"This key has permissions that you do not have: {', '.join(beyond)}.")
    return row


def _check_project(actor: Actor, project_id: UUID, scopes: list[str]) -> None:
    if not in_sight_of(actor, project_id):
        raise Invalid(fields={"project_id": [NO_PROJECT]})
    if whole := sorted(set(scopes) - PROJECT_PERMISSIONS - {provenance.ALWAYS}):
        raise Invalid(fields={"scopes": [f"These concern the whole organisation: {', '.join(whole)}. Leave them out."]})


def _root(scopes: list[str], service_account_id: UUID | None) -> dict[str, UUID | None]:
    """Return the root that a key of a service account has in place of its creator's. Raises Invalid."""
    if service_account_id is None:
        return {}
    try:
        account = creators.locked_creator(service_account_id=service_account_id)
    except creators.AccessEnded:
        raise Invalid(fields={"service_account_id": [NO_ACCOUNT]}) from None
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
    row = _locked(actor, key_id)
    if row.revoked_at is not None:
        unchanged("the key is revoked already")
        return {}
    ApiKey.objects.filter(id=key_id).update(revoked_at=DatabaseNow())
    record(KEY_REVOKED, actor=actor, target=("apikey", row.id, row.name))
    return provenance.revoke_descendants(actor=actor, key_id=row.id, reason=f"made with the key {row.name}")
