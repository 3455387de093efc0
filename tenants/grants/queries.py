"""Queries of rights: roles, groups, service accounts, grants, and who may do what because of which of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from tenants.access.permissions import PROJECT_PERMISSIONS, ROLE_PERMISSIONS, ROLE_WORDS
from tenants.access.rights import permissions_of
from tenants.access.wording import allowed_words
from tenants.isolation.scoping import current_tenant_id
from tenants.models import ApiKey, Grant, Group, GroupMember, Role, ServiceAccount
from tenants.projects.sight import named
from tenants.rights.held import LIVE

HOLDERS = """
SELECT 'person' AS kind, m.user_id, u.email, u.name, ARRAY(
  SELECT p.group_id FROM tenants_groupmember p JOIN tenants_group g ON g.id = p.group_id WHERE p.membership_id = m.id ORDER BY g.name)
FROM tenants_membership m JOIN tenants_user u ON u.id = m.user_id WHERE m.tenant_id = %(tenant)s
UNION ALL SELECT 'service account', id, name, '', '{}' FROM tenants_serviceaccount WHERE tenant_id = %(tenant)s AND disabled_at IS NULL
ORDER BY 1, 3
"""
#: Grants by the id of their holder.
ByHolder = dict[UUID, list["GrantRow"]]


@dataclass(frozen=True, kw_only=True)
class RoleRow:
    """A role. A built-in one has no id and is never changed."""

    id: UUID | None
    name: str
    description: str
    permissions: list[str]
    built_in: bool


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """A group and its people, by address."""

    id: UUID
    name: str
    created_at: datetime
    members: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ServiceAccountRow:
    """A service account, with the number of its keys that work, and why it may do something, once asked for (`key_reasons`)."""

    id: UUID
    name: str
    description: str
    created_at: datetime
    disabled_at: datetime | None
    keys: int
    reasons: tuple[AccessRow, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class GrantRow:
    """A grant. Of `user_id`, `group_id` and `service_account_id` one is set; `holder` is its name.

    `role_id` is empty for a built-in role, `project` for the whole tenant. `permissions` are those of the role, in a project
    those that can be limited to one.
    """

    id: UUID
    user_id: UUID | None
    group_id: UUID | None
    service_account_id: UUID | None
    holder: str
    role: str
    role_id: UUID | None
    permissions: frozenset[str]
    project_id: UUID | None
    project: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None

    @property
    def kind(self) -> str:
        """Return what the holder is, in words."""
        return "person" if self.user_id else "group" if self.group_id else "service account"


@dataclass(frozen=True, kw_only=True)
class AccessRow:
    """One reason why somebody may do something: a grant, their own or by a group.

    `project` and `group` are names, or empty: the whole organisation, a grant of their own.
    """

    holder: str
    kind: str
    role: str
    project: str
    group: str
    granted_by: str
    permissions: tuple[str, ...]
    expires_at: datetime | None
    grant: GrantRow

    @property
    def because(self) -> str:
        """Return the reason in words: "member of the group Research, granted by olga@example.org"."""
        by = f" by {self.granted_by}" if self.granted_by else ""
        return f"member of the group {self.group}, granted{by}" if self.group else f"granted{by}"

    @property
    def words(self) -> str:
        """Return what it allows, in words."""
        return allowed_words(self.permissions)


@dataclass(frozen=True, kw_only=True)
class HolderAccess:
    """A person, by address and name, or a service account, with every reason why they may do something."""

    id: UUID
    holder: str
    name: str
    kind: str
    reasons: tuple[AccessRow, ...]


def roles() -> list[RoleRow]:
    """Return the built-in roles, then the tenant's own by name."""
    built_in = [
        RoleRow(id=None, name=name, description=ROLE_WORDS[name], permissions=sorted(allowed), built_in=True)
        for name, allowed in ROLE_PERMISSIONS.items()
    ]
    names = ("id", "name", "description", "permissions")
    return built_in + [RoleRow(**row, built_in=False) for row in Role.objects.order_by("name").values(*names)]


def groups() -> list[GroupRow]:
    """Return the groups by name, in two statements."""
    members: dict[UUID, list[dict[str, Any]]] = {}
    places = GroupMember.objects.order_by("membership__user__email")
    for group, user_id, email in places.values_list("group_id", "membership__user_id", "membership__user__email"):
        members.setdefault(group, []).append({"user_id": user_id, "email": email})
    rows = Group.objects.order_by("name").values("id", "name", "created_at")
    return [GroupRow(**row, members=members.get(row["id"], [])) for row in rows]


def service_accounts() -> list[ServiceAccountRow]:
    """Return the service accounts by name."""
    live = ApiKey.objects.filter(LIVE, service_account=OuterRef("pk"), revoked_at=None).order_by()
    number = Subquery(live.values("service_account").annotate(number=Count("pk")).values("number"))
    names = [name for name in ServiceAccountRow.__dataclass_fields__ if name != "reasons"]
    rows = ServiceAccount.objects.annotate(keys=Coalesce(number, 0)).order_by("name").values(*names)
    return [ServiceAccountRow(**row) for row in rows]


def grants(holder: Q | None = None) -> list[GrantRow]:
    """Return the grants in force, of all holders or of one: people first, by name.

    Those in a project whose name the reader does not see are left out.
    """
    rows = Grant.objects.filter(LIVE, named()).select_related(
        "membership__user", "group", "service_account", "role", "project"
    )
    rows = rows.defer("membership__user__password")
    found = [_row(row) for row in (rows if holder is None else rows.filter(holder))]
    order = ("person", "group", "service account")
    return sorted(found, key=lambda row: (order.index(row.kind), row.holder.lower(), row.project, row.role))


def grants_in(project_id: UUID) -> list[GrantRow]:
    """Return the grants in force in one project: people first, by name."""
    return grants(Q(project_id=project_id))


def holders() -> Iterator[HolderAccess]:
    """Yield the people, the groups with grants and without people, and the service accounts that are not disabled.

    Each with all grants; in two statements.
    """
    given = by_holder()
    with connection.cursor() as cursor:
        cursor.execute(HOLDERS, {"tenant": current_tenant_id()})
        rows = cursor.fetchall()
    groups = {row.group_id: row.holder for grants in given.values() for row in grants if row.group_id}
    peopled = {group for *_, own in rows for group in own}
    alone: list[tuple[Any, ...]] = [
        ("group", group, name, "", []) for group, name in groups.items() if group not in peopled
    ]
    order = ("person", "group", "service account")
    for kind, row_id, holder, name, own in sorted([*rows, *alone], key=lambda row: order.index(row[0])):
        reasons = tuple(reasons_of(given, kind, row_id, holder, own))
        yield HolderAccess(id=row_id, holder=holder, name=name, kind=kind, reasons=reasons)


def access() -> Iterator[AccessRow]:
    """Yield who may do what and why: for each person and service account each grant that gives it."""
    for holder in holders():
        yield from holder.reasons


def access_of(user_id: UUID) -> list[AccessRow]:
    """Return why one person may do something."""
    groups_of = GroupMember.objects.filter(membership__user_id=user_id).values("group_id")
    rows = grants(Q(membership__user_id=user_id) | Q(group__in=groups_of))
    return [reason(row.holder, "person", row) for row in rows]


def by_holder(holder: Q | None = None) -> ByHolder:
    """Return the grants in force by the id of the person, group or service account that has them."""
    found: ByHolder = {}
    for row in grants(holder):
        if row_id := row.user_id or row.group_id or row.service_account_id:
            found.setdefault(row_id, []).append(row)
    return found


def reasons_of(given: ByHolder, kind: str, holder_id: UUID, holder: str, groups: Sequence[UUID]) -> Iterator[AccessRow]:
    """Yield the grants of a holder, then those of its groups, as reasons why it may do something."""
    for row_id in (holder_id, *groups):
        for row in given.get(row_id, ()):
            yield reason(holder, kind, row)


def reason(holder: str, kind: str, row: GrantRow) -> AccessRow:
    """Return a grant as the reason why its holder, or somebody in its group, may do something."""
    return AccessRow(
        holder=holder,
        kind=kind,
        role=row.role,
        project=row.project,
        group=row.holder if row.group_id else "",
        granted_by=row.created_by,
        permissions=tuple(sorted(row.permissions)),
        expires_at=row.expires_at,
        grant=row,
    )


def _row(row: Grant) -> GrantRow:
    allowed = permissions_of(row.built_in, row.role.permissions if row.role else None)
    holder = row.membership.user.email if row.membership else (row.group or row.service_account)
    return GrantRow(
        id=row.id,
        user_id=row.membership.user_id if row.membership else None,
        group_id=row.group_id,
        service_account_id=row.service_account_id,
        holder=str(holder),
        role=row.built_in or str(row.role),
        role_id=row.role_id,
        permissions=allowed if row.project_id is None else allowed & PROJECT_PERMISSIONS,
        project_id=row.project_id,
        project=row.project.name if row.project else "",
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
