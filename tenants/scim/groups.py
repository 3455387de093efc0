"""What SCIM does to groups: it makes them without rights, and fills those that a person gave rights within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Invalid, NotFound
from tenants.grants import groups
from tenants.grants.roles import NameTaken
from tenants.identity.providers import group_claims
from tenants.lookalikes import speaks_for_another
from tenants.models import ExternalGroup, Grant, Group, GroupMember, IdentityProvider, ScimUser
from tenants.operations import check_text
from tenants.parsing import uuid_in
from tenants.scim.errors import InvalidValue, Taken

MAPPED = AuditAction("tenants.scim_group.created")
RENAMED = AuditAction("tenants.scim_group.changed")
DELETED = AuditAction("tenants.scim_group.deleted")
LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """A group that SCIM sees, with those of its members that SCIM knows: ids of users, and their names."""

    row: ExternalGroup
    members: list[tuple[UUID, str]]


@operation(MAPPED)
def create(*, actor: Actor, provider: IdentityProvider, name: str, external_id: str = "") -> ExternalGroup:
    """Make a group without grants, which the provider fills. Raises Taken, Invalid."""
    name = _name(name)
    try:
        group = groups.create_group(actor=actor, name=name)
        with transaction.atomic():
            row = ExternalGroup.objects.create(provider=provider, group=group, claim=name, external_id=external_id)
    except (NameTaken, IntegrityError) as taken:
        raise Taken(
            f"There is a group {name} already. An owner can map it to the provider on the page Log-in."
        ) from taken
    record(MAPPED, actor=actor, target=("group", group.id, name), changes={"external_id": [None, external_id]})
    return row


def _name(text: str) -> str:
    """Return the name of a group; raise Invalid for one that nobody here could give it either."""
    name = check_text(text, "displayName", LONGEST_NAME)
    if speaks_for_another(name):
        raise Invalid(fields={"displayName": ["Use no address and no name such as operator."]})
    return name


@operation(RENAMED)
def describe(*, actor: Actor, row: ExternalGroup, name: str, external_id: str) -> None:
    """Give a group another name or id at the provider. A group that has grants keeps its name here. Raises Taken, Invalid."""
    name = _name(name)
    if (row.claim, row.external_id) == (name, external_id):
        unchanged("all of it is so already")
        return
    changes = {"name": [row.claim, name], "external_id": [row.external_id, external_id]}
    try:
        with transaction.atomic():
            ExternalGroup.objects.filter(id=row.id).update(claim=name, external_id=external_id)
            if row.group.name != name and not Grant.objects.filter(group_id=row.group_id).exists():
                Group.objects.filter(id=row.group_id).update(name=name)
    except IntegrityError as taken:
        raise Taken(f"There is a group {name} already.") from taken
    record(RENAMED, actor=actor, target=("group", row.group_id, row.group.name), changes=changes)
    row.claim, row.external_id = name, external_id


@operation(DELETED)
def delete(*, actor: Actor, provider: IdentityProvider, row: ExternalGroup) -> None:
    """Empty a group and stop filling it. One that has grants stays, empty: a person made them."""
    fill(actor=actor, provider=provider, row=row, wanted=())
    kept = (
        Grant.objects.filter(group_id=row.group_id).exists()
        or GroupMember.objects.filter(group_id=row.group_id).exists()
    )
    ExternalGroup.objects.filter(id=row.id).delete()
    if not kept:
        groups.delete_group(actor=actor, group_id=row.group_id)
    record(DELETED, actor=actor, target=("group", row.group_id, row.group.name), changes={"kept": [None, kept]})


def fill(*, actor: Actor, provider: IdentityProvider, row: ExternalGroup, wanted: Iterable[UUID]) -> None:
    """Make exactly these users the group's members, among those whom SCIM knows. Raises InvalidValue, AboveProvider."""
    there = {scim_id for scim_id, _ in members_of([row]).get(row.group_id, [])}
    ids = set(wanted)
    change(actor=actor, provider=provider, row=row, added=ids - there, removed=there - ids)


def change(
    *, actor: Actor, provider: IdentityProvider, row: ExternalGroup, added: Iterable[UUID], removed: Iterable[UUID]
) -> None:
    """Add and remove users. An inactive one is no member, and is passed over. Raises InvalidValue, AboveProvider."""
    new, gone = list(added), list(removed)
    if not new and not gone:
        return
    people = dict(ScimUser.objects.filter(id__in=[*new, *gone]).values_list("id", "user_id"))
    if unknown := [one for one in new if one not in people]:
        raise InvalidValue(f"members: there is no user {unknown[0]}.")
    group_claims.change_members(
        actor=actor,
        provider=provider,
        group_id=row.group_id,
        added=[people[one] for one in new],
        removed=[people[one] for one in gone if one in people],
    )


def find(provider: IdentityProvider, group_id: str) -> ExternalGroup:
    """Return a group that the provider fills, locked. Raises NotFound."""
    wanted = uuid_in(group_id)
    rows = ExternalGroup.objects.select_related("group").select_for_update(no_key=True, of=("self",))
    row = rows.filter(provider=provider, group_id=wanted).first() if wanted else None
    if row is None:
        raise NotFound
    return row


def search(provider: IdentityProvider, condition: Q, part: slice) -> tuple[int, list[ExternalGroup]]:
    """Return the number of groups that fit, and a part of them, by id."""
    rows = ExternalGroup.objects.select_related("group").filter(condition, provider=provider).order_by("id")
    return rows.count(), list(rows[part])


def members_of(rows: Iterable[ExternalGroup]) -> dict[UUID, list[tuple[UUID, str]]]:
    """Return the members of groups whom SCIM knows, by group; in two statements."""
    places = GroupMember.objects.filter(group_id__in=[row.group_id for row in rows])
    by_user: dict[UUID, list[UUID]] = {}
    for group_id, user_id in places.values_list("group_id", "membership__user_id"):
        by_user.setdefault(user_id, []).append(group_id)
    found: dict[UUID, list[tuple[UUID, str]]] = {}
    known = ScimUser.objects.filter(user_id__in=list(by_user), active=True).order_by("id")
    for scim_id, user_id, name in known.values_list("id", "user_id", "user_name"):
        for group_id in by_user[user_id]:
            found.setdefault(group_id, []).append((scim_id, name))
    return found
