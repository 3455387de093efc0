"""The operator who asks, for one request, and what their roles allow."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tenants.access.operator_roles import OPERATOR_PERMISSIONS, OPERATOR_ROLES
from tenants.errors import PermissionDenied

#: What no key of an operator may do, whatever its roles: it needs the person.
NEEDS_THE_PERSON = frozenset(
    {"prices.manage", "seller.manage", "tenants.look_inside", "tenants.export", "tenants.erase"}
)


class OnlyAPerson(PermissionDenied):
    """A key cannot do this. Log in to the console."""

    code = "only_a_person"


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
        """Return the roles as text; without one nobody logs in."""
        return ", ".join(self.roles)

    def can(self, permission: str) -> bool:
        """Return whether a role includes a permission. One unknown to all roles is a bug and raises KeyError."""
        if permission not in OPERATOR_PERMISSIONS:
            raise KeyError(f"{permission!r} is in no role; see tenants/access/operator_roles.py")
        return self._by_role(permission) and not self._needs_the_person(permission)

    def require(self, permission: str) -> None:
        """Raise OperatorLacks unless a role includes the permission, and OnlyAPerson for a key that may not use it."""
        if self.can(permission):
            return
        if self._by_role(permission) and self._needs_the_person(permission):
            raise OnlyAPerson(permission=permission)
        raise OperatorLacks(permission=permission)

    def _by_role(self, permission: str) -> bool:
        return any(permission in OPERATOR_ROLES.get(role, ()) for role in self.roles)

    def _needs_the_person(self, permission: str) -> bool:
        return self.key_id is not None and permission in NEEDS_THE_PERSON
