"""The actor: a person, an API key, the system, or an operator who looks inside. The first argument of every operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from tenants.access.permissions import LOOK_INSIDE, PERMISSIONS, ROLE_PERMISSIONS
from tenants.access.rights import Rights
from tenants.access.standing import CHANGE_NOTHING, WORDS, Standing, withholds
from tenants.errors import PermissionDenied

Kind = Literal["user", "api_key", "system", "operator"]


class TenantSuspended(PermissionDenied):
    """This organisation is suspended. Contact the operator of this installation."""

    code = "tenant_suspended"


@dataclass(frozen=True)
class InProject:
    """A target that is no row yet: what is to be made in a project, or in the whole tenant."""

    project_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One actor in one tenant, with its rights for one request or one operation.

    `permissions` hold in the whole tenant, those of `in_projects` in one project each. `role` names the roles. `standing`
    is the tenant's: one that is not active withholds permissions from everybody but the system. `only_project`: a key's
    limit; then nothing that is shared from elsewhere is seen with it. `owner`: of a key that replaced others, the first of
    them. `restricts`: the tenant has restricted something, so
    that what the actor sees has to be asked; false only for a tenant whose row shows that it has not.
    """

    kind: Kind
    tenant_id: UUID
    label: str
    permissions: frozenset[str]
    in_projects: Mapping[UUID, frozenset[str]] = field(default_factory=dict, hash=False)
    id: UUID | None = None
    role: str = ""
    only_project: UUID | None = None
    owner: UUID | None = None
    standing: Standing = "active"
    restricts: bool = True
    credential: str = ""
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""

    @property
    def owner_id(self) -> UUID | None:
        """Return in whose name the actor owns what it makes: its own, or that of the first of the keys that it replaced."""
        return self.owner or self.id

    @property
    def own_ids(self) -> frozenset[UUID]:
        """Return the ids under which things are the actor's own."""
        return frozenset(one for one in (self.id, self.owner) if one is not None)

    @property
    def said(self) -> str:
        """Return who acts as texts name them: a key is called one, since people choose the names of keys."""
        return f"the key {self.label}" if self.kind == "api_key" else self.label

    @property
    def standing_words(self) -> str:
        """Return what the tenant's standing withholds, empty for an active one."""
        return WORDS[self.standing]

    @classmethod
    def member(cls, *, tenant_id: UUID, user_id: UUID, email: str, role: str) -> "Actor":
        """Return the actor for a person with a built-in role in the whole tenant; an unknown role has no permissions."""
        rights = Rights(ROLE_PERMISSIONS.get(role, frozenset()), roles=(role,))
        return cls.person(tenant_id=tenant_id, user_id=user_id, email=email, rights=rights)

    @classmethod
    def person(cls, *, tenant_id: UUID, user_id: UUID, email: str, rights: Rights) -> "Actor":
        """Return the actor for a person with these rights."""
        return cls(
            kind="user",
            tenant_id=tenant_id,
            id=user_id,
            label=email,
            role=rights.role,
            permissions=rights.everywhere,
            in_projects=rights.in_projects,
        )

    @classmethod
    def system(cls, tenant_id: UUID, label: str) -> "Actor":
        """Return the system actor, named by its component: `controller`, `bootstrap`."""
        return cls(
            kind="system",
            tenant_id=tenant_id,
            label=label,
            role="system",
            permissions=PERMISSIONS,
        )

    @classmethod
    def looking_inside(cls, tenant_id: UUID, **told: Any) -> "Actor":
        """Return the actor for an operator who looks inside a tenant: it reads, and is nobody's member."""
        return cls(
            kind="operator",
            tenant_id=tenant_id,
            label="operator",
            role="operator, looking inside",
            permissions=LOOK_INSIDE,
            **told,
        )

    def can(self, permission: str, target: object = None) -> bool:
        """Return whether the actor has a permission in the whole tenant, or in the target's project.

        A target is what the permission is asked for: an object with a `project_id`, or None for the whole tenant. A
        permission unknown to all roles is a bug and raises.
        """
        if permission not in PERMISSIONS:
            raise KeyError(f"{permission!r} is in no role; see tenants/access/permissions.py")
        if self._is_withheld(permission):
            return False
        project: Any = getattr(target, "project_id", None)
        return permission in self.permissions or permission in self.in_projects.get(project, ())

    def can_somewhere(self, permission: str) -> bool:
        """Return whether the actor has a permission in the whole tenant or in any project: then a page may offer it."""
        if self._is_withheld(permission):
            return False
        return self.can(permission) or any(permission in allowed for allowed in self.in_projects.values())

    def require_standing(self, permission: str) -> None:
        """Raise TenantSuspended if the tenant's standing withholds a permission, whatever the actor's rights."""
        if self._is_withheld(permission):
            raise TenantSuspended(WORDS[self.standing], permission=permission, standing=self.standing)

    def require_changes(self) -> None:
        """Raise TenantSuspended if the tenant closes or is closed: then people and keys change nothing."""
        if self.standing in CHANGE_NOTHING and self.kind != "system":
            raise TenantSuspended(WORDS[self.standing], standing=self.standing)

    def require(self, permission: str, target: object = None) -> None:
        """Raise `PermissionDenied` unless the actor has the permission; for a key the message names the missing scope."""
        if not self.can(permission, target):
            raise self._refusal(permission)

    def require_somewhere(self, permission: str) -> None:
        """Raise `PermissionDenied` unless `can_somewhere`: for the door of what is then required with its target."""
        if not self.can_somewhere(permission):
            raise self._refusal(permission)

    def _is_withheld(self, permission: str) -> bool:
        """Return whether the tenant's standing takes the permission away: the system's own work goes on."""
        return withholds(self.standing, permission) and self.kind != "system"

    def _refusal(self, permission: str) -> PermissionDenied:
        if self._is_withheld(permission):
            return TenantSuspended(WORDS[self.standing], permission=permission, standing=self.standing)
        return PermissionDenied(key_lacks(permission) if self.kind == "api_key" else None, permission=permission)


def key_lacks(permission: str) -> str:
    """Return the message for an API key without a scope."""
    return f"This key lacks the scope {permission}. Create one that has it."
