"""Create, rotate and revoke API keys."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS
from tenants.access.rights import VIEW_ALL
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.identity import authentication, creators, provenance
from tenants.identity.creators import Creator, Root, root_of
from tenants.identity.holders import check_lasting, check_name, check_seeing
from tenants.models import ApiKey
from tenants.projects.sight import NO_PROJECT, closed_to, in_sight_of
from tenants.sharing.shares import reaches_unseen

KEY_CREATED = AuditAction("tenants.api_key.created")
KEY_REVOKED = AuditAction("tenants.api_key.revoked", while_closing=True)
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
OPENS_MORE = (
    "This key would open a restricted project that you do not see into. You lack a role there, or "
    f"{VIEW_ALL}. Limit the key to a project that you see, or ask somebody who sees them all."
)
REACHES_MORE = (
    "This key opens what is shared with its holder, or what it made, and you do not see. Ask its holder, an owner or an"
    " admin to replace it."
)


@dataclass(frozen=True)
class Given:
    """What an operator chose of the first key: its secret, and the person who answers for it."""

    secret: str | None = None
    responsible_id: UUID | None = None


NOTHING_GIVEN = Given()


class KeyEnded(Conflict):
    """This key works no more. Create a new one."""

    code = "key_ended"


class KeyReplaced(Conflict):
    """This key was replaced already. Rotate the key that replaced it, or create a new one."""

    code = "key_replaced"


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

    A key of a service account has no more than the account's rights, and outlives the membership of its creator; so it
    opens no restricted project that the actor does not see into, and ends no later than the actor's rights.
    With `project_id` it sees and does nothing outside this project; scopes that cannot be limited to one are refused.
    `given` is used only when bootstrapping.
    """
    actor.require("apikeys.manage")
    name = check_name(name)
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
    origin = creator.origin()
    if service_account_id is not None:
        account = _account(scopes, service_account_id)
        _check_reach(actor, account, scopes, project_id, expires_at)
        origin |= {"membership_id": None, "service_account_id": service_account_id}
    if given.secret is not None:
        _check_secret(given.secret)
    row = ApiKey(
        name=name,
        scopes=scopes,
        created_by=actor.label,
        created_by_id=given.responsible_id or creator.person_id,
        expires_at=expires_at,
        project_id=project_id,
        **origin,
    )
    made = _stored(row, given.secret)
    record(KEY_CREATED, actor=actor, target=("apikey", made.id, name), changes=_facts(row))
    return made


@operation(KEY_ROTATED)
def rotate_api_key(*, actor: Actor, key_id: UUID, overlap_hours: int = 24) -> NewKey:
    """Replace a key, once, by a new one with the same name, scopes and project; the old one works `overlap_hours` longer.

    The new one takes the old one's place: it descends from the same key, member or service account, and lives as long as
    the old one was made for. What the old one owned, such as its jobs, is the new one's, too; what descends from the old one ends with it. A key replaces itself and those below it: the
    successor of another would outlive it, and its revocation. Nobody replaces one that sees more by whose it is. Raises
    NotFound, Invalid, KeyEnded, KeyReplaced, PermissionDenied.
    """
    actor.require("apikeys.manage")
    if not 0 <= overlap_hours <= MOST_OVERLAP_H:
        raise Invalid(fields={"overlap_hours": [f"Use 0 to {MOST_OVERLAP_H} hours."]})
    # Roots before keys. A key that replaces itself is locked below: its creator stays responsible.
    by = None if actor.id == key_id else creators.lock_creator(actor)
    row, above = _locked_below(actor, key_id)
    moment = now()
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= moment):
        raise KeyEnded
    if row.replaced_by is not None:
        raise KeyReplaced
    if actor.kind == "api_key" and actor.id not in (row.id, *provenance.above(row)):
        raise PermissionDenied(
            "A key replaces only itself and keys that descend from it. Replace this one on the page, as a person."
        )
    lives = row.expires_at - row.created_at if row.expires_at is not None else None
    expires_at = above.expires_at if lives is None else above.until(moment + lives)
    _check_reach(actor, above, row.scopes, row.project_id, expires_at)
    _check_identity(actor, above, row)
    made = _stored(
        ApiKey(
            name=row.name,
            scopes=row.scopes,
            created_by=actor.label if by else row.created_by,
            created_by_id=by.person_id if by else row.created_by_id,
            expires_at=expires_at,
            project_id=row.project_id,
            succeeds=row.succeeds or row.id,
            **above.origin(),
        )
    )
    record(KEY_CREATED, actor=actor, target=("apikey", made.id, row.name), changes=_facts(row))
    until = moment + timedelta(hours=overlap_hours)
    ends = until if row.expires_at is None else min(until, row.expires_at)
    ApiKey.objects.filter(id=row.id).update(expires_at=ends, replaced_by=made.id)
    ended = provenance.end_below(row.id, until)
    changes = {"replaced_by": [None, str(made.id)], "expires_at": [row.expires_at and str(row.expires_at), str(until)]}
    record(
        KEY_ROTATED, actor=actor, target=("apikey", row.id, row.name), changes=changes | {"descendants": [None, ended]}
    )
    return made


def _check_secret(secret: str) -> None:
    length = 8 <= len(secret) <= authentication.LONGEST_KEY
    if not length or not secret.isascii() or not secret.isprintable() or " " in secret:
        words = "Use 8 to 200 printable ASCII characters without spaces; 40 random ones are safe."
        raise Invalid(fields={"api_key": [words]})


def _stored(row: ApiKey, secret: str | None = None) -> NewKey:
    """Store a key with a new secret, or with a given one."""
    key, row.prefix, row.key_hash = authentication.new_key()
    if secret is not None:
        key, row.prefix, row.key_hash = secret, authentication.key_prefix(secret), authentication.key_hash(secret)
    row.save(force_insert=True)
    return NewKey(row.id, key)


def _facts(row: ApiKey) -> dict[str, list[object]]:
    """Return what a new key may do, for the audit log."""
    changes: dict[str, list[object]] = {"scopes": [None, list(row.scopes)]}
    if row.project_id:
        changes["project"] = [None, str(row.project_id)]
    return changes


def _locked_below(actor: Actor, key_id: UUID) -> tuple[ApiKey, Creator]:
    """Return a key as `_locked` does, and whom it descends from, locked before it. Raises KeyEnded, too."""
    row = ApiKey.objects.filter(id=key_id).first()
    if row is None:
        raise NotFound
    try:
        above = creators.creator_of(row)
    except creators.AccessEnded:
        raise KeyEnded from None
    return _locked(actor, key_id), above


def _check_reach(
    actor: Actor, above: Creator, scopes: list[str], project_id: UUID | None, expires_at: datetime | None
) -> None:
    """Raise unless the actor, who reads the secret, has all that a key opens, for as long: sight, and rights until its end.

    A key below the actor's own root follows that root's rights by itself.
    """
    own = root_of(actor)
    if own and own == Root(above.membership_id, above.service_account_id):
        return
    opened = above.rights.opened if project_id is None else above.rights.opened & {project_id}
    if closed_to(actor, opened):
        raise PermissionDenied(OPENS_MORE)
    check_lasting(actor, frozenset(scopes), expires_at)
    check_seeing(actor, opened, expires_at)


def _check_identity(actor: Actor, above: Creator, row: ApiKey) -> None:
    """Raise unless the actor sees what a key sees by whose it is: its successor has its shares, and owns what it made."""
    if root_of(actor) == Root(above.membership_id, above.service_account_id):
        return
    holder = replace(authentication.actor_today(actor.tenant_id, row.id), owner=row.succeeds or row.id)
    if reaches_unseen(actor, holder):
        raise PermissionDenied(REACHES_MORE)


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


def _account(scopes: list[str], service_account_id: UUID) -> Creator:
    """Return the service account of a key, locked, which has its scopes. Raises Invalid."""
    try:
        account = creators.locked_creator(service_account_id=service_account_id)
    except creators.AccessEnded:
        raise Invalid(fields={"service_account_id": [NO_ACCOUNT]}) from None
    if beyond := sorted(set(scopes) - account.permissions):
        raise Invalid(fields={"scopes": [f"The service account lacks {', '.join(beyond)}. Grant it a role with them."]})
    return account


@operation(KEY_REVOKED)
def revoke_api_key(*, actor: Actor, key_id: UUID) -> dict[str, list[str]]:
    """Revoke a key and all that descends from it, effective with the next request.

    Returns the ids of the descendants by kind. Nobody can revoke a key with more permissions than their own. Raises
    NotFound, PermissionDenied.
    """
    actor.require(TakesAway("apikeys.manage"))
    row = _locked(actor, key_id)
    if row.revoked_at is not None:
        unchanged("the key is revoked already")
        return {}
    ApiKey.objects.filter(id=key_id).update(revoked_at=DatabaseNow())
    record(KEY_REVOKED, actor=actor, target=("apikey", row.id, row.name))
    return provenance.revoke_descendants(actor=actor, key_id=row.id, reason=f"made with the key {row.name}")
