"""Queries of rights: roles, groups, service accounts, grants, and who may do what because of which of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Q

from tenants.access.permissions import PROJECT_PERMISSIONS, ROLE_PERMISSIONS, ROLE_WORDS
from tenants.access.rights import permissions_of
from tenants.access.wording import allowed_words
from tenants.clock import DatabaseNow
from tenants.models import ApiKey, Grant, Group, GroupMember, Membership, Role, ServiceAccount
from tenants.projects.sight import named
from tenants.rights.held import LIVE


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
    live = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()), revoked_at=None)
    keys = dict(live.exclude(service_account=None).values_list("service_account_id").annotate(Count("id")))
    names = [name for name in ServiceAccountRow.__dataclass_fields__ if name not in ("keys", "reasons")]
    rows = ServiceAccount.objects.order_by("name").values(*names)
    return [ServiceAccountRow(**row, keys=keys.get(row["id"], 0)) for row in rows]


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

    Each with all grants; in four statements.
    """
    by_group, own = _by_holder(grants())
    places: dict[UUID, list[UUID]] = {}
    for user_id, group in GroupMember.objects.order_by("group__name").values_list("membership__user_id", "group_id"):
        places.setdefault(user_id, []).append(group)
    people = Membership.objects.order_by("user__email").values_list("user_id", "user__email", "user__name")
    for user_id, email, name in people:
        of_groups = (row for group in places.get(user_id, []) for row in by_group.get(group, []))
        rows = [*own.get(user_id, []), *of_groups]
        reasons = tuple(reason(email, "person", row) for row in rows)
        yield HolderAccess(id=user_id, holder=email, name=name, kind="person", reasons=reasons)
    peopled = {group for groups in places.values() for group in groups}
    for group, rows in by_group.items():
        if group not in peopled:
            reasons = tuple(reason(row.holder, "group", row) for row in rows)
            yield HolderAccess(id=group, holder=rows[0].holder, name="", kind="group", reasons=reasons)
    for row_id, name in ServiceAccount.objects.filter(disabled_at=None).order_by("name").values_list("id", "name"):
        kind = "service account"
        reasons = tuple(reason(name, kind, row) for row in own.get(row_id, []))
        yield HolderAccess(id=row_id, holder=name, name="", kind=kind, reasons=reasons)


def access() -> Iterator[AccessRow]:
    """Yield who may do what and why: for each person and service account each grant that gives it."""
    for holder in holders():
        yield from holder.reasons


def access_of(user_id: UUID) -> list[AccessRow]:
    """Return why one person may do something."""
    groups_of = GroupMember.objects.filter(membership__user_id=user_id).values("group_id")
    rows = grants(Q(membership__user_id=user_id) | Q(group__in=groups_of))
    return [reason(row.holder, "person", row) for row in rows]


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


def _by_holder(rows: list[GrantRow]) -> tuple[dict[UUID, list[GrantRow]], dict[UUID, list[GrantRow]]]:
    """Return the grants of groups, and those of people and service accounts."""
    of_groups: dict[UUID, list[GrantRow]] = {}
    own: dict[UUID, list[GrantRow]] = {}
    for row in rows:
        if row.group_id is not None:
            of_groups.setdefault(row.group_id, []).append(row)
        elif holder := row.user_id or row.service_account_id:
            own.setdefault(holder, []).append(row)
    return of_groups, own


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
