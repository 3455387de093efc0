"""A tenant's own roles: sets of permissions that its admins put together."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, ROLES
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.identity import provenance
from tenants.identity.holders import accounts_of_role, begin, changing, check_lasting, of_role, refuse_self
from tenants.lookalikes import hides, imitates
from tenants.models import Grant, Role
from tenants.operations import check_text

ROLE_CREATED = AuditAction("tenants.role.created")
ROLE_CHANGED = AuditAction("tenants.role.changed")
ROLE_DELETED = AuditAction("tenants.role.deleted")
#: Names that a role of an organisation's own must not look like.
RESERVED = (*ROLES, "system", "key", "none")


class NameTaken(Conflict):
    """This name is taken. Choose another one."""

    code = "name_taken"


class RoleInUse(Conflict):
    """This role is granted. Withdraw its grants first."""

    code = "role_in_use"


@operation(ROLE_CREATED)
def create_role(*, actor: Actor, name: str, permissions: Sequence[str], description: str = "") -> Role:
    """Create a role with permissions that the actor has. Raises Invalid, NameTaken, PermissionDenied."""
    actor.require("members.manage")
    begin(actor)
    fields = {
        "name": _check_name(name),
        "description": _check_description(description),
        "permissions": _check_permissions(actor, permissions),
    }
    try:
        with transaction.atomic():
            role = Role.objects.create(**fields)
    except IntegrityError as taken:
        raise NameTaken from taken
    changes = {"permissions": [None, role.permissions]}
    record(ROLE_CREATED, actor=actor, target=("role", role.id, role.name), changes=changes)
    return role


@operation(ROLE_CHANGED)
def change_role(
    *,
    actor: Actor,
    role_id: UUID,
    name: str | None = None,
    permissions: Sequence[str] | None = None,
    description: str | None = None,
) -> Role:
    """Change a role for all who hold it, effective with their next request; omitted fields stay.

    Credentials of its holders that the new permissions could not have created are revoked, or narrowed to them. Raises
    Invalid, NameTaken, NotFound, PermissionDenied.
    """
    actor.require("members.manage")
    with changing(actor, of_role(role_id), accounts_of_role(role_id)) as reason:
        role = _locked(role_id)
        before = {"name": role.name, "description": role.description, "permissions": role.permissions}
        after = {
            "name": role.name if name is None else _check_name(name),
            "description": role.description if description is None else _check_description(description),
            "permissions": role.permissions if permissions is None else _check_permissions(actor, permissions),
        }
        _within(actor, role.permissions)
        refuse_self(actor, of_role(role_id), accounts_of_role(role_id))
        check_lasting(actor, frozenset(after["permissions"]) - frozenset(role.permissions))
        if after == before:
            unchanged("the role is as wanted")
            return role
        reason.text = f"the role {role.name} changed"
        try:
            with transaction.atomic():
                Role.objects.filter(id=role_id).update(**after)
        except IntegrityError as taken:
            raise NameTaken from taken
        changes = {field: [before[field], after[field]] for field in after if after[field] != before[field]}
        record(ROLE_CHANGED, actor=actor, target=("role", role_id, role.name), changes=changes)
    return Role.objects.get(id=role_id)


@operation(ROLE_DELETED)
def delete_role(*, actor: Actor, role_id: UUID) -> None:
    """Delete a role that nobody holds. Raises NotFound, RoleInUse, PermissionDenied."""
    actor.require("members.manage")
    begin(actor)
    role = _locked(role_id)
    _within(actor, role.permissions)
    if Grant.objects.filter(role_id=role_id).exists():
        raise RoleInUse
    Role.objects.filter(id=role_id).delete()
    changes = {"permissions": [role.permissions, None]}
    record(ROLE_DELETED, actor=actor, target=("role", role_id, role.name), changes=changes)


def _locked(role_id: UUID) -> Role:
    role = Role.objects.select_for_update(no_key=True).filter(id=role_id).first()
    if role is None:
        raise NotFound
    return role


def _check_name(name: str) -> str:
    name = check_text(name, "name", 60)
    if "," in name or hides(name):
        raise Invalid(
            fields={"name": ["Leave out commas and invisible characters: several roles are listed together."]}
        )
    if imitates(name, RESERVED):
        raise Invalid(fields={"name": [f"{name} reads like a built-in name. Choose another one."]})
    return name


def _check_description(text: str) -> str:
    return check_text(text, "description", 200) if text else ""


def _check_permissions(actor: Actor, permissions: Sequence[str]) -> list[str]:
    unknown = sorted(set(permissions) - PERMISSIONS)
    if unknown or not permissions:
        words = f"Unknown: {', '.join(unknown)}." if unknown else "Choose at least one permission."
        raise Invalid(fields={"permissions": [words]})
    _within(actor, permissions)
    return sorted({*permissions, provenance.ALWAYS})


def _within(actor: Actor, permissions: Sequence[str]) -> None:
    """Raise unless the actor has all of these permissions: nobody grants, or takes, what they do not have."""
    beyond = sorted((PERMISSIONS & set(permissions)) - actor.permissions)
    if beyond:
        raise PermissionDenied(f"You cannot change a role with permissions you do not have: {', '.join(beyond)}.")
