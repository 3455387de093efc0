"""The rights that a holder has now, and the holders of a permission. All within the open scope."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from tenants.access.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.access.rights import NO_RIGHTS, VIEW_ALL, Rights, rights_from
from tenants.clock import DatabaseNow
from tenants.models import Grant, GroupMember, Membership, Project, ServiceAccount
from tenants.projects.sight import SEE_SUMS

LIVE = Q(expires_at=None) | Q(expires_at__gt=DatabaseNow())
GRANT = ("membership_id", "group_id", "built_in", "role__name", "role__permissions", "project_id")


def rights_of(*, membership_id: UUID | None = None, service_account_id: UUID | None = None) -> Rights:
    """Return the rights of a membership, its groups' included, or of a service account."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT exchequer_grants(%s, %s)", [membership_id, service_account_id])
        return rights_from(json.loads(cursor.fetchone()[0]))


def rights_of_person(user_id: UUID) -> Rights | None:
    """Return the rights of a person; None for one that is no member or deactivated."""
    member = Membership.objects.filter(user_id=user_id, user__is_active=True).values_list("id", flat=True).first()
    return None if member is None else rights_of(membership_id=member)


def rights_of_account(service_account_id: UUID) -> Rights:
    """Return the rights of a service account; a disabled one has none."""
    live = ServiceAccount.objects.filter(id=service_account_id, disabled_at=None).exists()
    return rights_of(service_account_id=service_account_id) if live else NO_RIGHTS


def rights_until(
    moment: datetime | None, *, membership_id: UUID | None = None, service_account_id: UUID | None = None
) -> Rights:
    """Return those rights of a holder that last until a time, or, for None, without an end."""
    lasting = Q(expires_at=None) if moment is None else Q(expires_at=None) | Q(expires_at__gte=moment)
    groups = GroupMember.objects.filter(membership=membership_id).values("group")
    person = Q(membership__isnull=False, membership=membership_id) | Q(group__in=groups)
    account = Q(service_account__isnull=False, service_account=service_account_id)
    rows = Grant.objects.filter(lasting, person if membership_id else account).values_list(*GRANT)
    return rights_from(_as_grant(*row[2:]) for row in rows)


def groups_of(membership: str = "pk") -> ArraySubquery:
    """Return, as an expression, the ids of a membership's groups, by name. `membership`: the path to it."""
    places = GroupMember.objects.filter(membership=OuterRef(membership)).order_by("group__name")
    return ArraySubquery(places.values("group_id"))


def rights_of_members(only: Sequence[UUID] | None = None) -> dict[UUID, Rights]:
    """Return the rights of every member, or of these, by membership; in two statements."""
    members = Membership.objects.all() if only is None else Membership.objects.filter(id__in=only)
    groups: dict[UUID, list[UUID]] = dict(members.values_list("id", groups_of()))
    if only is None:
        return rights_in(groups)
    theirs = {group for own in groups.values() for group in own}
    return rights_in(groups, Grant.objects.filter(Q(membership__in=only) | Q(group__in=theirs)))


def rights_in(groups: Mapping[UUID, Sequence[UUID]], grants: QuerySet[Grant] | None = None) -> dict[UUID, Rights]:
    """Return the rights of memberships, given with their groups, by these grants or all; in one statement."""
    found: dict[UUID, list[dict[str, Any]]] = {member: [] for member in groups}
    members: dict[UUID, list[UUID]] = {}
    for member, own in groups.items():
        for group in own:
            members.setdefault(group, []).append(member)
    rows = Grant.objects.all() if grants is None else grants
    for member, group, *given in rows.filter(LIVE, service_account=None).values_list(*GRANT):
        for holder in [member] if member else members.get(group, ()):
            if holder in found:
                found[holder].append(_as_grant(*given))
    return {member: rights_from(given) for member, given in found.items()}


def holding(permission: str) -> QuerySet[Membership]:
    """Return the memberships with a permission in the whole tenant, by a grant of their own or of a group.

    Raises KeyError for an unknown permission.
    """
    if permission not in PERMISSIONS:
        raise KeyError(permission)
    built_in = [role for role, allowed in ROLE_PERMISSIONS.items() if permission in allowed]
    fitting = Grant.objects.filter(
        LIVE, Q(built_in__in=built_in) | Q(role__permissions__contains=[permission]), project=None
    )
    places = GroupMember.objects.filter(
        membership=OuterRef("pk"), group__in=fitting.exclude(group=None).values("group")
    )
    return Membership.objects.filter(Exists(fitting.filter(membership=OuterRef("pk"))) | Exists(places))


def opening(project_id: UUID | None) -> Q:
    """Return the condition of memberships that see into a project: for a restricted one, those whose rights open it.

    None is the whole tenant, which all see.
    """
    if project_id is None or not Project.objects.filter(id=project_id, restricted=True).exists():
        return Q()
    inside = Grant.objects.filter(LIVE, project=project_id)
    groups = GroupMember.objects.filter(group__in=inside.exclude(group=None).values("group"))
    return (
        Q(id__in=inside.exclude(membership=None).values("membership"))
        | Q(id__in=groups.values("membership"))
        | Q(id__in=holding(VIEW_ALL).values("id"))
    )


def naming(project_id: UUID | None) -> Q:
    """Return the condition of memberships that may name a project: those of `opening`, and those who see all sums."""
    seen = opening(project_id)
    return seen | Q(id__in=holding(SEE_SUMS).values("id")) if seen else seen


def owners() -> QuerySet[Grant]:
    """Return the grants that make somebody an owner."""
    return Grant.objects.filter(built_in="owner")


def give(membership: Membership, role: str, *, by: str = "") -> Grant:
    """Give a member a built-in role in the whole tenant."""
    return Grant.objects.create(membership=membership, built_in=role, created_by=by)


def _as_grant(built_in: str, role: str | None, permissions: list[str] | None, project: UUID | None) -> dict[str, Any]:
    return {"built_in": built_in, "role": role, "permissions": permissions, "project": project and str(project)}
