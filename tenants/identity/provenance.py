"""Provenance of credentials, and the one way to revoke all that descends from one.

A credential is created under a lock on its creator (`lock_creator`), and revoked after a lock on the same rows: the
second transaction sees what the first did, so no credential is created by a key that is revoked meanwhile. Lock order:
membership, API keys from parent to child, then the other kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.audit import AuditAction, record
from tenants.clock import DatabaseNow
from tenants.errors import Invalid, PermissionDenied
from tenants.isolation.scoping import current_tenant_id
from tenants.models import ApiKey, Credential, Membership

KEY_NARROWED = AuditAction("tenants.api_key.narrowed")
#: Every key may query its own identity; a key that can do nothing else is useless.
ALWAYS = "tenant.view"
#: Maximum depth of keys that create keys.
DEEPEST = 10


class AccessEnded(PermissionDenied):
    """Your access ended a moment ago. Nothing was changed."""

    code = "access_ended"


NOT_REVOKED = Q(revoked_at=None)


@dataclass(frozen=True, kw_only=True)
class Creator:
    """Creator of a credential with its current rights: an API key, a membership, or neither for the system."""

    permissions: frozenset[str]
    key_id: UUID | None = None
    membership_id: UUID | None = None
    person_id: UUID | None = None
    expires_at: datetime | None = None

    def origin(self) -> dict[str, UUID | None]:
        """Return the columns that a credential stores of it."""
        return {"parent_key_id": self.key_id, "membership_id": self.membership_id}

    def until(self, moment: datetime) -> datetime:
        """Return a time, or the creator's end if that is earlier."""
        return moment if self.expires_at is None else min(moment, self.expires_at)


@dataclass(frozen=True)
class Kind:
    """A kind of credential: its name in the audit log, and whether a creator with certain rights could create it."""

    name: str
    model: type[Credential]
    revoked: AuditAction
    label: Callable[[Any], str]
    could_make: Callable[[Any, frozenset[str]], bool]
    live: Q = NOT_REVOKED
    related: tuple[str, ...] = ()
    adopted: AuditAction | None = None


@dataclass(frozen=True, kw_only=True)
class Descendant:
    """A credential that is revoked with its creator, for display. `last_used_at` is None if use is not recorded."""

    kind: str
    id: UUID
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @property
    def kind_words(self) -> str:
        """Return the name of its kind."""
        return {"apikey": "API key", "endpointkey": "endpoint key"}.get(self.kind, self.kind)


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Register a kind of credential."""
    _kinds[kind.name] = kind


def lock_creator(actor: Actor) -> Creator:
    """Return the creator of a credential that the actor creates, locked until the transaction ends.

    Raises AccessEnded if the membership or the key ended since the request began.
    """
    if actor.kind == "system":
        return Creator(permissions=PERMISSIONS)
    own_id = cast(UUID, actor.id)
    if actor.kind == "api_key":
        key = ApiKey.objects.filter(id=own_id).only("id", "membership_id").first()
        if key is None:
            raise AccessEnded
        return locked_creator(parent_key_id=key.id, membership_id=key.membership_id)
    member = Membership.objects.filter(user_id=own_id).values_list("id", flat=True).first()
    if member is None:
        raise AccessEnded
    return locked_creator(parent_key_id=None, membership_id=member)


def locked_creator(*, parent_key_id: UUID | None, membership_id: UUID | None) -> Creator:
    """Lock the creator of a credential and return its current rights. Raises AccessEnded if it is gone."""
    permissions, person_id, expires_at = PERMISSIONS, None, None
    if membership_id is not None:
        member = _share(
            "SELECT m.role, m.user_id FROM tenants_membership m JOIN tenants_user u ON u.id = m.user_id AND u.is_active"
            " WHERE m.tenant_id = %s AND m.id = %s FOR SHARE OF m",
            membership_id,
        )
        permissions, person_id = ROLE_PERMISSIONS.get(member[0], frozenset()), member[1]
    if parent_key_id is not None:
        scopes, responsible_id, expires_at = _share(
            "SELECT k.scopes, k.created_by_id, k.expires_at FROM tenants_apikey k WHERE k.tenant_id = %s AND k.id = %s"
            " AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > exchequer_now()) FOR SHARE",
            parent_key_id,
        )
        permissions, person_id = permissions & frozenset(scopes), person_id or responsible_id
    return Creator(
        permissions=permissions,
        key_id=parent_key_id,
        membership_id=membership_id,
        person_id=person_id,
        expires_at=expires_at,
    )


def person_of(actor: Actor) -> UUID | None:
    """Return the person responsible for an action.

    For a key that is its creator, or that of the first key above it with a known person.
    """
    row_id = actor.id
    while actor.kind == "api_key" and row_id is not None:
        person, parent = ApiKey.objects.values_list("created_by_id", "parent_key_id").get(id=row_id)
        if person is not None or parent is None:
            return person or row_id
        row_id = parent
    return row_id


def descendants(*, key_id: UUID | None = None, membership_id: UUID | None = None) -> list[Descendant]:
    """Return the live credentials revoked with a key or a membership, newest last."""
    below = _below(key_id, membership_id, lock=False)
    return [
        Descendant(
            kind=kind.name,
            id=row.pk,
            name=kind.label(row),
            created_at=row.created_at,
            expires_at=row.expires_at,
            last_used_at=getattr(row, "last_used_at", None),
        )
        for kind, row in _rows(below, lock=False)
    ]


def numbers() -> dict[UUID, int]:
    """Return the number of live credentials that descend from each API key that has any."""
    below: Counter[UUID] = Counter()
    creators: dict[UUID, UUID] = {}
    for kind in _kinds.values():
        rows = kind.model.objects.filter(kind.live, parent_key_id__isnull=False).values_list("id", "parent_key_id")
        found = dict(rows)
        below.update(found.values())
        if kind.model is ApiKey:
            creators = found
    # Bottom-up: descendants of a key count for its creator once the key's own count is complete.
    open_keys = Counter(creators.values())
    complete = [key_id for key_id in creators if not open_keys[key_id]]
    while complete:
        key_id = complete.pop()
        creator = creators[key_id]
        below[creator] += below[key_id]
        open_keys[creator] -= 1
        if not open_keys[creator] and creator in creators:
            complete.append(creator)
    return dict(below)


def check_depth(creator: Creator) -> None:
    """Refuse a key that would exceed the maximum depth DEEPEST. Raises Invalid."""
    key_id, keys = creator.key_id, 0
    while key_id is not None:
        keys += 1
        if keys >= DEEPEST:
            raise Invalid(
                f"This key is the last of {DEEPEST} that were each created with the one before; it cannot create another. Use an earlier key, or create the key on the page."
            )
        key_id = ApiKey.objects.values_list("parent_key_id", flat=True).get(id=key_id)


def revoke_descendants(
    *, actor: Actor, key_id: UUID | None = None, membership_id: UUID | None = None, reason: str
) -> dict[str, list[str]]:
    """Revoke all live credentials that descend from a key or a membership, which the caller has locked.

    Each gets its audit entry; returns the ids by kind.
    """
    below = _below(key_id, membership_id, lock=True)
    taken: dict[str, list[str]] = {name: [] for name in _kinds}
    for kind, row in _rows(below, lock=True):
        _revoke(actor, kind, row, reason)
        taken[kind.name].append(str(row.pk))
    return taken


def shrink(*, actor: Actor, membership_id: UUID, permissions: frozenset[str], reason: str) -> None:
    """Revoke permanently what a member could not create with these rights: raising the role again restores nothing.

    An API key loses the scopes beyond them, and is revoked if none is left; so are its descendants.
    """
    rights: dict[UUID | None, frozenset[str]] = {None: permissions}
    for kind, row in _rows(Q(membership_id=membership_id), lock=True):
        own = rights.get(row.parent_key_id, frozenset())
        if not isinstance(row, ApiKey):
            if not kind.could_make(row, own):
                _revoke(actor, kind, row, reason)
            continue
        left = frozenset(row.scopes) & own
        if left <= {ALWAYS} < frozenset(row.scopes) or ALWAYS not in left:
            _revoke(actor, kind, row, reason)
            continue
        rights[row.id] = left
        if left != frozenset(row.scopes):
            ApiKey.objects.filter(id=row.id).update(scopes=sorted(left))
            changes = {"scopes": [row.scopes, sorted(left)]}
            record(KEY_NARROWED, actor=actor, target=("apikey", row.id, row.name), changes=changes, reason=reason)


def adopt(*, actor: Actor, membership_id: UUID) -> list[str]:
    """Make the actor the creator of adoptable credentials that descend from a membership; returns the ids."""
    creator = lock_creator(actor)
    adopted = []
    for kind, row in _rows(Q(membership_id=membership_id), lock=True):
        if kind.adopted is None or not kind.could_make(row, creator.permissions):
            continue
        until = creator.until(row.expires_at) if row.expires_at else creator.expires_at
        kind.model.objects.filter(id=row.pk).update(**creator.origin(), expires_at=until)
        record(kind.adopted, actor=actor, target=(kind.name, row.pk, kind.label(row)))
        adopted.append(str(row.pk))
    return adopted


def _share(statement: str, row_id: UUID) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [current_tenant_id(), row_id])
        row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        raise AccessEnded
    return row


def _below(key_id: UUID | None, membership_id: UUID | None, *, lock: bool) -> Q:
    """Return the filter for descendants; keys are found level by level, each locked before its children are read."""
    if membership_id is not None:
        return Q(membership_id=membership_id)
    level = set() if key_id is None else {key_id}
    found = set(level)
    while level:
        children = ApiKey.objects.filter(parent_key_id__in=level, revoked_at=None).order_by("id")
        rows = children.select_for_update(no_key=True) if lock else children
        level = {row.id for row in rows.only("id")} - found
        found |= level
    return Q(parent_key_id__in=found)


def _rows(below: Q, *, lock: bool) -> Iterator[tuple[Kind, Any]]:
    """Yield live credentials with their kind: API keys first, parents before children."""
    for kind in sorted(_kinds.values(), key=lambda kind: kind.model is not ApiKey):
        rows = kind.model.objects.filter(below, kind.live).select_related(*kind.related).order_by("id")
        yield from ((kind, row) for row in (rows.select_for_update(of=("self",), no_key=True) if lock else rows))


def _revoke(actor: Actor, kind: Kind, row: Any, reason: str) -> None:
    kind.model.objects.filter(id=row.pk).update(revoked_at=DatabaseNow())
    record(kind.revoked, actor=actor, target=(kind.name, row.pk, kind.label(row)), reason=reason)
