"""What an actor may give and withdraw, so that pages offer nothing that the operation would refuse."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tenants import queries as tenancy
from tenants.access.actor import Actor
from tenants.access.permissions import PROJECT_PERMISSIONS, ROLE_WORDS
from tenants.access.standing import TakesAway
from tenants.grants import queries
from tenants.grants.grants import beyond
from tenants.grants.queries import GrantRow, GroupRow, RoleRow


def tabs(actor: Actor) -> dict[str, bool]:
    """Return which of the pages of rights the actor may open."""
    return {"sees_access": actor.can("members.view"), "sees_accounts": actor.can("apikeys.view")}


def offered(actor: Actor) -> dict[str, Any]:
    """Return the holders, roles and projects that the form to give a grant offers."""
    groups = [(f"group:{group.id}", group.name) for group in queries.groups() if not includes(group, actor)]
    people = [(f"user:{one.user_id}", one.email) for one in tenancy.members() if one.user_id != actor.id]
    accounts = [(f"account:{one.id}", one.name) for one in queries.service_accounts() if one.disabled_at is None]
    roles = [(str(role.id or role.name), words) for role in queries.roles() if (words := _role_words(actor, role))]
    holders = [("People", people), ("Groups", groups), ("Service accounts", accounts)]
    return {"holders": holders, "roles": roles, "projects": tenancy.projects()}


def includes(group: GroupRow, actor: Actor) -> bool:
    """Return whether the actor is in a group: nobody changes their own rights."""
    return any(one["user_id"] == actor.id for one in group.members)


def own_groups(actor: Actor) -> frozenset[UUID]:
    """Return the groups that the actor is in."""
    return frozenset(group.id for group in queries.groups() if includes(group, actor))


def may_withdraw(actor: Actor, row: GrantRow, own: frozenset[UUID]) -> bool:
    """Return whether the actor may withdraw a grant; `own` are the actor's groups."""
    return (
        actor.can(TakesAway("members.manage"))
        and row.user_id != actor.id
        and row.group_id not in own
        and not beyond(actor, row.permissions, row.project_id)
    )


def _role_words(actor: Actor, role: RoleRow) -> str:
    """Return a role as the form names it, or nothing if the actor may not give it anywhere."""
    permissions = frozenset(role.permissions)
    name = f"{role.name.capitalize()}: {ROLE_WORDS[role.name]}" if role.built_in else role.name
    if role.description and not role.built_in:
        name = f"{role.name}: {role.description}"
    if not beyond(actor, permissions, None):
        return name
    limited = permissions & PROJECT_PERMISSIONS
    in_a_project = limited and limited <= actor.permissions and role.name != "owner"
    return f"{name} (in a project only)" if in_a_project else ""
