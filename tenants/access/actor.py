"""Who acts: a person, an API key, or Exchequer itself. The first argument of every operation."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from tenants.access.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.errors import PermissionDenied

Kind = Literal["user", "api_key", "system"]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One actor in one tenant, with the rights it has for the length of one request or one operation."""

    kind: Kind
    tenant_id: UUID
    label: str
    permissions: frozenset[str]
    id: UUID | None = None
    role: str = ""
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""

    @classmethod
    def member(
        cls,
        *,
        tenant_id: UUID,
        user_id: UUID,
        email: str,
        role: str,
        ip: str = "",
        user_agent: str = "",
        request_id: str = "",
    ) -> "Actor":
        """Return the actor for a person with a role; an unknown role may do nothing."""
        return cls(
            kind="user",
            tenant_id=tenant_id,
            id=user_id,
            label=email,
            role=role,
            permissions=ROLE_PERMISSIONS.get(role, frozenset()),
            ip=ip,
            user_agent=user_agent,
            request_id=request_id,
        )

    @classmethod
    def system(cls, tenant_id: UUID, label: str) -> "Actor":
        """Return Exchequer itself, named by the part that acts: `controller`, `bootstrap`."""
        return cls(
            kind="system",
            tenant_id=tenant_id,
            label=label,
            role="system",
            permissions=PERMISSIONS,
        )

    def can(self, permission: str) -> bool:
        """Return whether the actor has a permission. A permission that no role knows is a bug and raises."""
        if permission not in PERMISSIONS:
            raise KeyError(f"{permission!r} is in no role; see tenants/access/permissions.py")
        return permission in self.permissions

    def require(self, permission: str, target: object = None) -> None:
        """Raise `PermissionDenied` unless the actor has the permission; a key is told which scope it lacks."""
        if not self.can(permission):
            words = key_lacks(permission) if self.kind == "api_key" else None
            raise PermissionDenied(words, permission=permission)


def key_lacks(permission: str) -> str:
    """Return what an API key without a scope is told."""
    return f"This key lacks the scope {permission}. Make one that has it."
