"""Creators of credentials, locked while they create one.

A credential is created under a lock on its creator, and revoked after a lock on the same rows (`provenance`): the second
transaction sees what the first did, so no credential is created by a key that is revoked meanwhile. Lock order: the root
(a membership or a service account), API keys from parent to child, then the other kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import Q, UUIDField, Value
from django.db.models.expressions import BaseExpression, RawSQL

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.access.rights import ALL_RIGHTS, NO_RIGHTS, Rights
from tenants.clock import DatabaseNow
from tenants.errors import Invalid, PermissionDenied
from tenants.isolation.scoping import current_tenant_id
from tenants.models import ApiKey, Credential, Membership
from tenants.rights import held

#: Maximum depth of keys that create keys.
DEEPEST = 10
PERSON = """
WITH RECURSIVE key AS (
  SELECT id, created_by_id, parent_key_id FROM tenants_apikey WHERE tenant_id = %s AND id = %s
  UNION ALL SELECT k.id, k.created_by_id, k.parent_key_id FROM key JOIN tenants_apikey k ON k.id = key.parent_key_id
  WHERE key.created_by_id IS NULL
)
SELECT coalesce(created_by_id, id) FROM key WHERE created_by_id IS NOT NULL OR parent_key_id IS NULL
"""


class AccessEnded(PermissionDenied):
    """Your access ended a moment ago. Nothing was changed."""

    code = "access_ended"


@dataclass(frozen=True, kw_only=True)
class Creator:
    """Creator of a credential with its current rights: an API key, a member, a service account, or none: the system."""

    rights: Rights
    key_id: UUID | None = None
    membership_id: UUID | None = None
    service_account_id: UUID | None = None
    person_id: UUID | None = None
    expires_at: datetime | None = None

    @property
    def permissions(self) -> frozenset[str]:
        """Return what it may do in the whole tenant."""
        return self.rights.everywhere

    def origin(self) -> dict[str, UUID | None]:
        """Return the columns that a credential stores of it."""
        return {
            "parent_key_id": self.key_id,
            "membership_id": self.membership_id,
            "service_account_id": self.service_account_id,
        }

    def until(self, moment: datetime) -> datetime:
        """Return a time, or the creator's end if that is earlier."""
        return moment if self.expires_at is None else min(moment, self.expires_at)


def lock_creator(actor: Actor) -> Creator:
    """Return the creator of a credential that the actor creates, locked until the transaction ends.

    Raises AccessEnded if the membership, the service account or the key ended since the request began.
    """
    if actor.kind == "system":
        return Creator(rights=Rights(PERMISSIONS))
    own_id = cast(UUID, actor.id)
    if actor.kind == "api_key":
        key = ApiKey.objects.filter(id=own_id).only("id", "membership_id", "service_account_id").first()
        if key is None:
            raise AccessEnded
        return locked_creator(
            parent_key_id=key.id, membership_id=key.membership_id, service_account_id=key.service_account_id
        )
    member = Membership.objects.filter(user_id=own_id).values_list("id", flat=True).first()
    if member is None:
        raise AccessEnded
    return locked_creator(membership_id=member)


def creator_of(row: Credential) -> Creator:
    """Lock the creator of a credential and return its current rights. Raises AccessEnded if it is gone."""
    return locked_creator(
        parent_key_id=row.parent_key_id, membership_id=row.membership_id, service_account_id=row.service_account_id
    )


def locked_creator(
    *,
    parent_key_id: UUID | None = None,
    membership_id: UUID | None = None,
    service_account_id: UUID | None = None,
) -> Creator:
    """Lock a creator, root first, and return its current rights. Raises AccessEnded if it is gone."""
    rights, person_id, expires_at = Rights(PERMISSIONS), None, None
    # Rights are read in a statement after the lock: one that waited for it would still read the grants of before.
    if membership_id is not None:
        (person_id,) = _share(
            "SELECT m.user_id FROM tenants_membership m JOIN tenants_user u ON u.id = m.user_id AND u.is_active"
            " WHERE m.tenant_id = %s AND m.id = %s FOR SHARE OF m",
            membership_id,
        )
        rights = held.rights_of(membership_id=membership_id)
    if service_account_id is not None:
        _share(
            "SELECT a.id FROM tenants_serviceaccount a WHERE a.tenant_id = %s AND a.id = %s AND a.disabled_at IS NULL"
            " FOR SHARE",
            service_account_id,
        )
        rights = held.rights_of(service_account_id=service_account_id)
    if parent_key_id is not None:
        scopes, project_id, responsible_id, expires_at = _share(
            "SELECT k.scopes, k.project_id, k.created_by_id, k.expires_at FROM tenants_apikey k WHERE k.tenant_id = %s AND k.id = %s"
            " AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > exchequer_now()) FOR SHARE",
            parent_key_id,
        )
        rights, person_id = rights.within(scopes, project_id), person_id or responsible_id
    return Creator(
        rights=rights,
        key_id=parent_key_id,
        membership_id=membership_id,
        service_account_id=service_account_id,
        person_id=person_id,
        expires_at=expires_at,
    )


def root_rights(row: Credential) -> Rights | None:
    """Return the rights now of the member or the service account that a credential descends from; None if Exchequer made it."""
    if row.service_account_id is not None:
        return held.rights_of_account(row.service_account_id)
    if row.membership_id is None:
        return None
    person = Membership.objects.filter(id=row.membership_id, user__is_active=True).exists()
    return held.rights_of(membership_id=row.membership_id) if person else NO_RIGHTS


def rights_behind(row: Credential) -> Rights:
    """Return the rights that a credential's creator has now, as `creator_of` does, but locking nothing; none if it is gone."""
    root = root_rights(row)
    rights = ALL_RIGHTS if root is None else root
    if row.parent_key_id is None:
        return rights
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))
    key = ApiKey.objects.filter(live, id=row.parent_key_id).first()
    return NO_RIGHTS if key is None else rights.within(key.scopes, key.project_id)


@dataclass(frozen=True)
class Root:
    """What an actor's rights come from: a membership, a service account, or neither: all rights, as Exchequer made it."""

    membership_id: UUID | None = None
    service_account_id: UUID | None = None

    def __bool__(self) -> bool:
        """Return whether there is one."""
        return self.membership_id is not None or self.service_account_id is not None


def root_of(actor: Actor) -> Root:
    """Return the membership or the service account that an actor's rights come from."""
    if actor.kind == "system" or actor.id is None:
        return Root()
    if actor.kind == "api_key":
        columns = ApiKey.objects.filter(id=actor.id).values_list("membership_id", "service_account_id").first()
        return Root(*columns) if columns else Root()
    return Root(Membership.objects.filter(user_id=actor.id).values_list("id", flat=True).first())


def person_of(actor: Actor) -> UUID | None:
    """Return the person responsible for an action.

    For a key that is its creator, or that of the first key above it with a known person.
    """
    if actor.kind != "api_key":
        return actor.id
    with connection.cursor() as cursor:
        cursor.execute(PERSON, [current_tenant_id(), actor.id])
        (person,) = cursor.fetchone()
    return cast(UUID, person)


def person_in(actor: Actor) -> BaseExpression:
    """Return `person_of` as an expression."""
    if actor.kind != "api_key":
        return Value(actor.id, UUIDField())
    return RawSQL(PERSON, [current_tenant_id(), actor.id], UUIDField())  # noqa: S611 (a constant)


def one_person(actor: Actor) -> UUID | None:
    """Return who asks for, or answers, what takes two people. Raises PermissionDenied for a key that two people may hold.

    Such a key has the rights of one member, and another was shown its secret: they replaced it.
    """
    person = person_of(actor)
    root = root_of(actor).membership_id if actor.kind == "api_key" else None
    if root is not None:
        member = Membership.objects.filter(id=root).values_list("user_id", flat=True).first()
        if member is not None and member != person:
            raise PermissionDenied(
                "This takes two people, and two may know this key: somebody replaced it for the member whose rights it has. Use a key that the member created."
            )
    return person


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


def _share(statement: str, row_id: UUID) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [current_tenant_id(), row_id])
        row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        raise AccessEnded
    return row
