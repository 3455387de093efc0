"""Rights: what a holder's grants allow together. Grants only add; none denies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS, ROLE_PERMISSIONS

#: Opens every restricted project.
VIEW_ALL = "projects.view_restricted"


@dataclass(frozen=True)
class Rights:
    """Permissions in the whole tenant, further ones by project, and the names of the tenant-wide roles.

    `opened`: the projects that a grant in them opens, where they are restricted.
    """

    everywhere: frozenset[str] = frozenset()
    in_projects: Mapping[UUID, frozenset[str]] = field(default_factory=dict, hash=False)
    roles: tuple[str, ...] = ()
    opened: frozenset[UUID] = frozenset()

    @property
    def role(self) -> str:
        """Return the tenant-wide roles as text, or `none`."""
        return ", ".join(self.roles) or "none"

    def there(self, project: UUID) -> frozenset[str]:
        """Return what they allow in a project."""
        return self.everywhere | self.in_projects.get(project, frozenset())

    def sees(self, project: UUID) -> bool:
        """Return whether they open a project that is restricted."""
        return VIEW_ALL in self.everywhere or project in self.opened

    def common(self, other: Rights) -> Rights:
        """Return what both allow."""
        projects = {*self.in_projects, *other.in_projects}
        both = {project: self.there(project) & other.there(project) for project in projects}
        opened = {project for project in self.opened | other.opened if self.sees(project) and other.sees(project)}
        return Rights(self.everywhere & other.everywhere, both, self.roles, frozenset(opened))

    def within(self, scopes: Iterable[str], project: UUID | None = None) -> Rights:
        """Return these rights limited to the scopes of a key, and to one project if the key is."""
        limit = frozenset(scopes)
        if project is not None:
            there = {project: self.there(project) & limit & PROJECT_PERMISSIONS}
            return Rights(
                in_projects=there, roles=self.roles, opened=frozenset({project} if self.sees(project) else ())
            )
        limited = {project: allowed & limit for project, allowed in self.in_projects.items()}
        return Rights(self.everywhere & limit, limited, self.roles, self.opened)


NO_RIGHTS = Rights()
#: Those of what Exchequer itself made.
ALL_RIGHTS = Rights(PERMISSIONS)


def permissions_of(built_in: str, own: Iterable[str] | None) -> frozenset[str]:
    """Return the permissions of a built-in role, or those of a tenant's own; both may name none that is unknown."""
    return ROLE_PERMISSIONS.get(built_in, frozenset()) if built_in else PERMISSIONS & frozenset(own or ())


def rights_from(grants: Iterable[Mapping[str, Any]]) -> Rights:
    """Add up grants as `exchequer_grants` returns them.

    Each has `built_in` (a name, or empty), `role` and `permissions` (of a role of the tenant's own, else null), and
    `project` (an id; null is the whole tenant). In a project a role gives only what can be limited to one.
    """
    everywhere: frozenset[str] = frozenset()
    in_projects: dict[UUID, frozenset[str]] = {}
    roles: list[str] = []
    for grant in grants:
        allowed = permissions_of(grant["built_in"], grant["permissions"])
        if grant["project"] is None:
            everywhere |= allowed
            roles.append(grant["built_in"] or grant["role"])
        else:
            project = UUID(grant["project"])
            in_projects[project] = in_projects.get(project, frozenset()) | (allowed & PROJECT_PERMISSIONS)
    order = {name: at for at, name in enumerate(ROLE_PERMISSIONS)}
    roles = sorted(set(roles), key=lambda name: (order.get(name, len(order)), name))
    return Rights(everywhere, MappingProxyType(in_projects), tuple(roles), frozenset(in_projects))
