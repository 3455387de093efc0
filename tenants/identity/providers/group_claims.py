"""Groups that a provider fills: mapped by owners, followed at each log-in, never above the provider's highest role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.access.rights import permissions_of
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, NotFound, PermissionDenied
from tenants.identity.holders import changing
from tenants.models import ExternalGroup, Grant, Group, GroupMember, IdentityProvider, Membership
from tenants.operations import check_text
from tenants.projects.sight import closed_to
from tenants.sharing.shares import opens_unseen

GROUP_MAPPED = AuditAction("tenants.external_group.mapped")
GROUP_UNMAPPED = AuditAction("tenants.external_group.unmapped")
MEMBERS_CHANGED = AuditAction("tenants.group.members_changed")


class AlreadyMapped(Conflict):
    """This group, or this name at the provider, is mapped already."""

    code = "already_mapped"


class AboveProvider(PermissionDenied):
    """This group has more than the identity provider's highest role: a person must add its members."""

    code = "above_provider"


CLOSED = (
    "This group has a role in a restricted project that you do not see into, so you cannot let the provider fill it."
)


@dataclass(frozen=True, kw_only=True)
class MappedGroup:
    """A group that the provider fills. `is_within` is False for one with more than the provider's highest role."""

    id: UUID
    group_id: UUID
    group: str
    claim: str
    external_id: str
    members: int
    is_within: bool


def mapped_groups() -> list[MappedGroup]:
    """Return the groups that the open tenant's provider fills, by name."""
    places = GroupMember.objects.filter(group=OuterRef("group")).order_by().values("group")
    members = Coalesce(Subquery(places.annotate(number=Count("pk")).values("number")), 0)
    found = ExternalGroup.objects.select_related("group", "provider").annotate(members=members)
    rows: list[Any] = list(found.order_by("group__name"))
    above = beyond(rows[0].provider, [row.group_id for row in rows]) if rows else set()
    return [
        MappedGroup(
            id=row.id,
            group_id=row.group_id,
            group=row.group.name,
            claim=row.claim,
            external_id=row.external_id,
            members=row.members,
            is_within=row.group_id not in above,
        )
        for row in rows
    ]


def beyond(provider: IdentityProvider, group_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of these groups that have more than the provider's highest role."""
    most = ROLE_PERMISSIONS[provider.highest_role]
    rows = Grant.objects.select_related("role").filter(group_id__in=list(group_ids))
    return {
        row.group_id
        for row in rows
        if row.group_id is not None
        and not permissions_of(row.built_in, row.role.permissions if row.role else None) <= most
    }


@operation(GROUP_MAPPED)
def map_group(*, actor: Actor, group_id: UUID, claim: str) -> ExternalGroup:
    """Let the provider fill a group: by this value of its groups claim, or by SCIM. Raises NotFound, AlreadyMapped."""
    actor.require("identity.manage")
    provider = IdentityProvider.objects.first()
    group = Group.objects.filter(id=group_id).first()
    if provider is None or group is None:
        raise NotFound
    claim = check_text(claim, "claim", 255)
    if beyond(provider, [group_id]):
        raise AboveProvider
    opened = Grant.objects.filter(group_id=group_id).exclude(project=None).values_list("project_id", flat=True)
    if closed_to(actor, opened) or opens_unseen(actor, group_id):
        raise PermissionDenied(CLOSED)
    try:
        with transaction.atomic():
            row = ExternalGroup.objects.create(provider=provider, group=group, claim=claim)
    except IntegrityError as taken:
        raise AlreadyMapped from taken
    record(GROUP_MAPPED, actor=actor, target=("group", group.id, group.name), changes={"claim": [None, claim]})
    return row


@operation(GROUP_UNMAPPED)
def unmap_group(*, actor: Actor, mapping_id: UUID) -> None:
    """Fill a group by hand again; its members stay. Raises NotFound."""
    actor.require("identity.manage")
    row = ExternalGroup.objects.select_related("group").filter(id=mapping_id).first()
    if row is None:
        raise NotFound
    ExternalGroup.objects.filter(id=row.id).delete()
    target = ("group", row.group_id, row.group.name)
    record(GROUP_UNMAPPED, actor=actor, target=target, changes={"claim": [row.claim, None]})


def follow(actor: Actor, provider: IdentityProvider, user_id: UUID, stated: Iterable[str]) -> None:
    """Put a member into the mapped groups that the provider stated at log-in, and out of the other mapped ones.

    Without a configured groups claim nothing changes. A group above the provider's highest role gets nobody new.
    """
    if not provider.groups_claim:
        return
    named = set(stated)
    rows = {row.group_id: row for row in ExternalGroup.objects.filter(provider=provider)}
    wanted = {group_id for group_id, row in rows.items() if row.claim in named}
    member = Membership.objects.get(user_id=user_id)
    held = set(
        GroupMember.objects.filter(membership=member, group_id__in=list(rows)).values_list("group_id", flat=True)
    )
    joined, left = wanted - held, held - wanted
    for group_id in sorted((joined - beyond(provider, joined)) | left):
        added, removed = ([user_id], []) if group_id in joined else ([], [user_id])
        change_members(actor=actor, provider=provider, group_id=group_id, added=added, removed=removed)


@operation(MEMBERS_CHANGED)
def change_members(
    *, actor: Actor, provider: IdentityProvider, group_id: UUID, added: list[UUID], removed: list[UUID]
) -> None:
    """Add and remove members of a group that the provider fills. Raises NotFound, AboveProvider."""
    if not ExternalGroup.objects.filter(provider=provider, group_id=group_id).exists():
        raise NotFound
    people = {
        row.user_id: row for row in Membership.objects.select_related("user").filter(user_id__in=[*added, *removed])
    }
    with changing(actor, Q(id__in=[row.id for row in people.values()])) as reason:
        group = Group.objects.select_for_update(no_key=True).filter(id=group_id).first()
        if group is None:
            raise NotFound
        reason.text = f"the identity provider changed the group {group.name}"
        there = set(GroupMember.objects.filter(group=group).values_list("membership__user_id", flat=True))
        new = [one for one in dict.fromkeys(added) if one in people and one not in there]
        gone = [one for one in dict.fromkeys(removed) if one in people and one in there]
        if not new and not gone:
            unchanged("the group has exactly these members")
            return
        if new and beyond(provider, [group_id]):
            raise AboveProvider
        GroupMember.objects.bulk_create([GroupMember(group=group, membership=people[one]) for one in new])
        GroupMember.objects.filter(group=group, membership__in=[people[one].id for one in gone]).delete()
    changes = {
        "added": [[], [people[one].user.email for one in new]],
        "removed": [[people[one].user.email for one in gone], []],
    }
    record(MEMBERS_CHANGED, actor=actor, target=("group", group.id, group.name), changes=changes)
