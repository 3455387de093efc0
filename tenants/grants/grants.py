"""Grants: roles given to people, groups and service accounts, in the whole tenant or in one project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.permissions import PROJECT_PERMISSIONS, ROLES
from tenants.access.rights import permissions_of
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.identity.holders import changing, check_lasting, keep_an_owner, of_group, refuse_self
from tenants.models import Grant, Group, Membership, Role, ServiceAccount
from tenants.projects.sight import check_sight

T = TypeVar("T")

GRANT_GIVEN = AuditAction("tenants.grant.given")
GRANT_WITHDRAWN = AuditAction("tenants.grant.withdrawn", while_closing=True)


class AlreadyGranted(Conflict):
    """This holder has this role there already."""

    code = "already_granted"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who a grant is for: exactly one of a person of the organisation, a group, and a service account."""

    user_id: UUID | None = None
    group_id: UUID | None = None
    service_account_id: UUID | None = None

    def columns(self) -> dict[str, UUID | None]:
        """Return the columns of a grant. Raises NotFound for a foreign holder, Invalid unless there is exactly one."""
        if sum(one is not None for one in (self.user_id, self.group_id, self.service_account_id)) != 1:
            raise Invalid(fields={"holder": ["Name one of user_id, group_id and service_account_id."]})
        member = None
        if self.user_id is not None:
            member = _known(Membership.objects.filter(user_id=self.user_id).values_list("id", flat=True).first())
        if self.group_id is not None:
            _known(Group.objects.filter(id=self.group_id).first())
        if self.service_account_id is not None:
            _known(ServiceAccount.objects.filter(id=self.service_account_id).first())
        return {
            "membership_id": member,
            "group_id": self.group_id,
            "service_account_id": self.service_account_id,
        }


@operation(GRANT_GIVEN)
def give(
    *,
    actor: Actor,
    holder: Holder,
    role: str | UUID,
    project_id: UUID | None = None,
    expires_at: datetime | None = None,
) -> Grant:
    """Give a role: the name of a built-in one, or the id of one of the tenant's own.

    Nobody gives what they do not have, nor for longer than they have it, nor anything to themselves. Raises Invalid,
    NotFound, AlreadyGranted, PermissionDenied.
    """
    actor.require("members.manage")
    columns = holder.columns()
    built_in, own = _role(role)
    _check_scope(built_in, columns, project_id, expires_at)
    if project_id is not None:
        check_sight(actor, project_id)  # nobody opens a project that they do not see into
    allowed = permissions_of(built_in, own.permissions if own else None)
    check_within(actor, allowed, project_id)
    given = allowed if project_id is None else allowed & PROJECT_PERMISSIONS
    with changing(actor, *affected(columns)) as reason:
        refuse_self(actor, *affected(columns))
        check_lasting(actor, given, expires_at, project_id)
        reason.text = "another role was granted"
        same = Q(**columns, built_in=built_in, role=own, project_id=project_id)
        Grant.objects.filter(same, expires_at__lte=DatabaseNow()).delete()  # one that expired is no obstacle
        try:
            with transaction.atomic():
                grant = Grant.objects.create(
                    **columns,
                    built_in=built_in,
                    role=own,
                    project_id=project_id,
                    created_by=actor.said,
                    expires_at=expires_at,
                )
        except IntegrityError as taken:
            raise AlreadyGranted from taken
    record(GRANT_GIVEN, actor=actor, target=target_of(grant), changes={"grant": [None, facts(grant)]})
    return grant


@operation(GRANT_WITHDRAWN)
def withdraw(*, actor: Actor, grant_id: UUID) -> None:
    """Withdraw a grant, effective with the holder's next request.

    Credentials that the remaining rights could not have created are revoked, or narrowed to them. Raises NotFound,
    LastOwner, PermissionDenied.
    """
    actor.require(TakesAway("members.manage"))
    grant = Grant.objects.select_related("role").filter(id=grant_id).first()
    if grant is None:
        raise NotFound
    columns = holder_columns(grant)
    if grant.project_id is not None:
        check_sight(actor, grant.project_id)
    check_within(actor, permissions_in(grant), grant.project_id)
    target, told = target_of(grant), facts(grant)
    with changing(actor, *affected(columns)) as reason:
        refuse_self(actor, *affected(columns))
        reason.text = "a grant was withdrawn"
        if not Grant.objects.filter(id=grant_id).delete()[0]:
            raise NotFound
        if grant.built_in == "owner":
            keep_an_owner()
    record(GRANT_WITHDRAWN, actor=actor, target=target, changes={"grant": [told, None]})


def beyond(actor: Actor, permissions: frozenset[str], project_id: UUID | None) -> frozenset[str]:
    """Return which of these permissions, those of a project there, the actor lacks."""
    if project_id is None:
        return permissions - actor.permissions
    return (permissions & PROJECT_PERMISSIONS) - actor.permissions - actor.in_projects.get(project_id, frozenset())


def check_within(actor: Actor, permissions: frozenset[str], project_id: UUID | None) -> None:
    """Raise unless the actor has all of these permissions, those of a project there."""
    if lacking := beyond(actor, permissions, project_id):
        words = ", ".join(sorted(lacking))
        raise PermissionDenied(f"You cannot grant or withdraw permissions you do not have: {words}.")


def permissions_in(grant: Grant) -> frozenset[str]:
    """Return the permissions that a grant's role has."""
    return permissions_of(grant.built_in, grant.role.permissions if grant.role else None)


def holder_columns(grant: Grant) -> dict[str, UUID | None]:
    """Return the columns that name a grant's holder, as `Holder.columns` does."""
    return {name: getattr(grant, name) for name in ("membership_id", "group_id", "service_account_id")}


def affected(columns: dict[str, UUID | None]) -> tuple[Q, Q]:
    """Return the memberships and the service accounts whose rights a grant changes."""
    group, account = columns["group_id"], columns["service_account_id"]
    members = Q(id=columns["membership_id"]) if group is None else of_group(group)
    return members, Q(id=account)


def _role(role: str | UUID) -> tuple[str, Role | None]:
    if isinstance(role, UUID):
        return "", _known(Role.objects.filter(id=role).first())
    if role not in ROLES:
        raise Invalid(fields={"role": [f"Use one of {', '.join(ROLES)}, or the id of a role of the organisation."]})
    return role, None


def _check_scope(
    built_in: str, columns: dict[str, UUID | None], project_id: UUID | None, expires_at: datetime | None
) -> None:
    if built_in == "owner" and (columns["membership_id"] is None or project_id is not None or expires_at is not None):
        raise Invalid(fields={"role": ["Only a person is an owner: of the whole organisation, and without an end."]})
    if expires_at is not None and expires_at <= now():
        raise Invalid(fields={"expires_at": ["Choose a time in the future."]})


def target_of(grant: Grant) -> tuple[str, UUID, str]:
    """Return the holder of a grant as the object of an audit entry."""
    if grant.membership is not None:
        return ("member", grant.membership.user_id, grant.membership.user.email)
    if grant.group is not None:
        return ("group", grant.group.id, grant.group.name)
    account = _known(grant.service_account)
    return ("service_account", account.id, account.name)


def facts(grant: Grant) -> dict[str, str]:
    """Return what a grant gives, for the audit log."""
    told = {"role": grant.built_in or str(grant.role)}
    if grant.project is not None:
        told["project"] = grant.project.slug
    if grant.expires_at is not None:
        told["until"] = grant.expires_at.isoformat()
    return told


def _known(row: T | None) -> T:
    if row is None:
        raise NotFound
    return row
