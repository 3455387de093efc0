"""The actor: a person, an API key, or the system. The first argument of every operation."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from tenants.access.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.errors import PermissionDenied

Kind = Literal["user", "api_key", "system"]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One actor in one tenant, with its rights for one request or one operation."""

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
    def member(cls, *, tenant_id: UUID, user_id: UUID, email: str, role: str) -> "Actor":
        """Return the actor for a person with a role; an unknown role has no permissions."""
        return cls(
            kind="user",
            tenant_id=tenant_id,
            id=user_id,
            label=email,
            role=role,
            permissions=ROLE_PERMISSIONS.get(role, frozenset()),
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

    def can(self, permission: str) -> bool:
        """Return whether the actor has a permission. A permission unknown to all roles is a bug and raises."""
        if permission not in PERMISSIONS:
            raise KeyError(f"{permission!r} is in no role; see tenants/access/permissions.py")
        return permission in self.permissions

    def require(self, permission: str, target: object = None) -> None:
        """Raise `PermissionDenied` unless the actor has the permission; for a key the message names the missing scope."""
        if not self.can(permission):
            words = key_lacks(permission) if self.kind == "api_key" else None
            raise PermissionDenied(words, permission=permission)


def key_lacks(permission: str) -> str:
    """Return the message for an API key without a scope."""
    return f"This key lacks the scope {permission}. Create one that has it."
