"""The operator who asks, for one request, and what their roles allow."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tenants.access.operator_roles import OPERATOR_PERMISSIONS, OPERATOR_ROLES
from tenants.errors import PermissionDenied

#: What no key of an operator may do, whatever its roles: it needs the person.
NEEDS_THE_PERSON = frozenset({"prices.manage", "tenants.look_inside", "tenants.export", "tenants.erase"})


class OperatorLacks(PermissionDenied):
    """Your role does not include this. Ask an administrator of the platform."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator, by session or by key."""

    id: UUID
    label: str
    roles: tuple[str, ...] = ()
    key_id: UUID | None = None
    ip: str = ""
    request_id: str = ""

    @property
    def role(self) -> str:
        """Return the roles as text, or `none`."""
        return ", ".join(self.roles) or "none"

    def can(self, permission: str) -> bool:
        """Return whether a role includes a permission. One unknown to all roles is a bug and raises KeyError."""
        if permission not in OPERATOR_PERMISSIONS:
            raise KeyError(f"{permission!r} is in no role; see tenants/access/operator_roles.py")
        if self.key_id is not None and permission in NEEDS_THE_PERSON:
            return False
        return any(permission in OPERATOR_ROLES.get(role, ()) for role in self.roles)

    def require(self, permission: str) -> None:
        """Raise OperatorLacks unless a role includes the permission."""
        if not self.can(permission):
            raise OperatorLacks(permission=permission)
