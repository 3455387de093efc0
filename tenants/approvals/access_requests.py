"""Requests for a role, in one project or in the whole organisation, until a date if wanted. Any member may ask."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from tenants.access.actor import Actor
from tenants.access.permissions import PROJECT_PERMISSIONS, ROLE_WORDS
from tenants.access.rights import permissions_of
from tenants.approvals import approvals, kinds
from tenants.clock import now
from tenants.errors import Invalid, NotFound
from tenants.grants import grants
from tenants.models import Approval, Membership, Project, Role
from tenants.parsing import parse_moment, uuid_in
from tenants.projects.sight import in_sight_of, named

KIND = "access"
#: An owner makes owners, without being asked here.
ASKED_FOR = tuple(role for role in ROLE_WORDS if role != "owner")


def request(
    *,
    actor: Actor,
    role: str,
    reason: str,
    project_id: UUID | None = None,
    until: datetime | None = None,
) -> Approval:
    """Ask for a role: a built-in one, or the id of one of the organisation's own. Raises Invalid, NotFound.

    A person asks for themselves; who may manage access answers.
    """
    if actor.kind != "user" or actor.id is None:
        raise Invalid("A person asks for access, not a key. Log in and ask on the page Approvals.")
    name, permissions = _role(role)
    project = Project.objects.filter(named("id", actor), id=project_id).first() if project_id is not None else None
    if project_id is not None:
        if project is None:
            raise NotFound
        permissions &= PROJECT_PERMISSIONS
        if not permissions:
            raise Invalid(fields={"role": [f"The role {name} gives nothing that can be limited to a project."]})
    seen = project_id is None or in_sight_of(actor, project_id)  # in a restricted one a role opens it, too
    if seen and permissions <= actor.permissions | actor.in_projects.get(project_id or UUID(int=0), frozenset()):
        raise Invalid(fields={"role": ["You have all that this role gives there."]})
    if until is not None and until <= now():
        raise Invalid(fields={"until": ["Use a time in the future."]})
    wanted = {
        "user_id": str(actor.id),
        "role": role,
        "role_name": name,
        "project": str(project.id) if project else None,
        "project_name": project.name if project else None,
        "until": None if until is None else until.isoformat(),
    }
    return approvals.request(
        actor=actor, kind=KIND, target=actor.label[:120], wanted=wanted, reason=reason, project_id=project_id
    )


def _role(role: str) -> tuple[str, frozenset[str]]:
    if role in ASKED_FOR:
        return role, permissions_of(role, None)
    role_id = uuid_in(role)
    own = Role.objects.filter(id=role_id).first() if role_id is not None else None
    if own is None:
        raise Invalid(fields={"role": [f"Use one of {', '.join(ASKED_FOR)}, or the id of a role of the organisation."]})
    return own.name, permissions_of("", own.permissions)


def _apply(actor: Actor, row: Approval) -> None:
    wanted = row.wanted
    role = wanted["role"]
    if not Membership.objects.filter(user_id=UUID(wanted["user_id"])).exists():
        raise approvals.Outdated(f"{row.target} is no longer a member. Decline this request.")
    grants.give(
        actor=actor,
        holder=grants.Holder(user_id=UUID(wanted["user_id"])),
        role=role if role in ASKED_FOR else UUID(role),
        project_id=UUID(wanted["project"]) if wanted["project"] else None,
        expires_at=parse_moment(wanted["until"], "until") if wanted["until"] else None,
    )


def _describe(wanted: Mapping[str, Any], target: str) -> str:
    where = f"in the project {wanted['project_name']}" if wanted["project"] else "in the whole organisation"
    return f"Give {target} the role {wanted['role_name']} {where}{kinds.until_words(wanted['until'])}."


kinds.register(
    kinds.ApprovalKind(
        name=KIND, title="Access", permission="members.manage", asks="tenant.view", apply=_apply, describe=_describe
    )
)
