"""Groups: people who hold grants together."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import NotFound, PermissionDenied
from tenants.grants.grants import check_within, permissions_in
from tenants.grants.roles import NameTaken
from tenants.identity.holders import begin, changing, check_lasting, check_name, of_group, refuse_self
from tenants.models import Grant, Group, GroupMember, Membership
from tenants.projects.sight import closed_to
from tenants.sharing.shares import opens_unseen

GROUP_CREATED = AuditAction("tenants.group.created")
GROUP_DELETED = AuditAction("tenants.group.deleted", while_closing=True)
MEMBER_JOINED = AuditAction("tenants.group.member_added")
MEMBER_LEFT = AuditAction("tenants.group.member_removed", while_closing=True)
CLOSED = (
    "This group opens what you do not see: it has a role in a restricted project, or something is shared with it. Ask an owner,"
    " an admin, or somebody who sees it."
)


@operation(GROUP_CREATED)
def create_group(*, actor: Actor, name: str) -> Group:
    """Create an empty group without grants. Raises Invalid, NameTaken."""
    actor.require("members.manage")
    begin(actor)
    name = check_name(name, 60)
    try:
        with transaction.atomic():
            group = Group.objects.create(name=name)
    except IntegrityError as taken:
        raise NameTaken from taken
    record(GROUP_CREATED, actor=actor, target=("group", group.id, name))
    return group


@operation(GROUP_DELETED)
def delete_group(*, actor: Actor, group_id: UUID) -> None:
    """Delete a group; its members lose its grants with their next request. Raises NotFound, PermissionDenied."""
    actor.require(TakesAway("members.manage"))
    refuse_self(actor, of_group(group_id))
    with changing(actor, of_group(group_id)) as reason:
        group = _locked(actor, group_id)
        reason.text = f"the group {group.name} was deleted"
        left = GroupMember.objects.filter(group_id=group_id).values_list("membership__user__email", flat=True)
        given = Grant.objects.select_related("role", "project").filter(group_id=group_id)
        grants = [f"{one.built_in or one.role}{f' in {one.project}' if one.project else ''}" for one in given]
        changes = {"members": [sorted(left), []], "grants": [sorted(grants), []]}
        Group.objects.filter(id=group_id).delete()
    record(GROUP_DELETED, actor=actor, target=("group", group_id, group.name), changes=changes)


@operation(MEMBER_JOINED)
def add_member(*, actor: Actor, group_id: UUID, user_id: UUID) -> None:
    """Add a person to a group, whose grants the actor must have. Raises NotFound, PermissionDenied."""
    actor.require("members.manage")
    member = _member(actor, user_id)
    with changing(actor, Q(id=member.id)):
        group = _locked(actor, group_id)
        for grant in Grant.objects.select_related("role").filter(group=group):
            check_lasting(actor, permissions_in(grant), grant.expires_at, grant.project_id)
        if GroupMember.objects.filter(group_id=group_id, membership=member).exists():
            unchanged("the person is in the group already")
            return
        GroupMember.objects.create(group=group, membership=member)
    changes = {"member": [None, member.user.email]}
    record(MEMBER_JOINED, actor=actor, target=("group", group_id, group.name), changes=changes)


@operation(MEMBER_LEFT)
def remove_member(*, actor: Actor, group_id: UUID, user_id: UUID) -> None:
    """Remove a person from a group, effective with their next request. Raises NotFound, PermissionDenied."""
    actor.require(TakesAway("members.manage"))
    member = _member(actor, user_id)
    with changing(actor, Q(id=member.id)) as reason:
        group = _locked(actor, group_id)
        reason.text = f"{member.user.email} left the group {group.name}"
        if not GroupMember.objects.filter(group_id=group_id, membership=member).delete()[0]:
            raise NotFound
    changes = {"member": [member.user.email, None]}
    record(MEMBER_LEFT, actor=actor, target=("group", group_id, group.name), changes=changes)


def is_closed_to(actor: Actor, group_id: UUID) -> bool:
    """Return whether a group opens what the actor does not see: a restricted project, or an object shared with it."""
    rows = Grant.objects.filter(group_id=group_id).exclude(project=None)
    return closed_to(actor, rows.values_list("project_id", flat=True)) or opens_unseen(actor, group_id)


def _member(actor: Actor, user_id: UUID) -> Membership:
    member = Membership.objects.select_related("user").filter(user_id=user_id).first()
    if member is None:
        raise NotFound
    refuse_self(actor, Q(id=member.id))
    return member


def _locked(actor: Actor, group_id: UUID) -> Group:
    """Return the group, locked, if the actor has all that its grants allow, and sees into all projects that they open."""
    group = Group.objects.select_for_update(no_key=True).filter(id=group_id).first()
    if group is None:
        raise NotFound
    if is_closed_to(actor, group_id):
        raise PermissionDenied(CLOSED)
    for grant in Grant.objects.select_related("role").filter(group_id=group_id):
        check_within(actor, permissions_in(grant), grant.project_id)
    return group
