"""The one way to change what people hold: their memberships are locked, and their credentials follow.

Lock order: the owners' grants, then memberships by id, then service accounts, roles, groups and grants. A credential that is made
meanwhile waits for its creator's membership (`creators.locked_creator`) and then reads the rights of after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Model, Q

from tenants.access.actor import Actor
from tenants.access.rights import Rights
from tenants.errors import Conflict, Invalid, PermissionDenied
from tenants.identity import creators, provenance
from tenants.lookalikes import speaks_for_another
from tenants.models import Grant, GroupMember, Membership, Project, ServiceAccount
from tenants.operations import check_text
from tenants.rights import held


class LastOwner(Conflict):
    """An organisation needs at least one owner. Make another member an owner first."""

    code = "last_owner"


NOBODY = Q(pk__in=())


@dataclass
class Reason:
    """Why credentials are revoked, for their entries in the audit log."""

    text: str = ""


def begin(actor: Actor) -> None:
    """Lock the owners' grants, and the actor's own rights: all changes of what people hold run one after the other.

    Two changes that each leave an owner could together leave none. Raises AccessEnded if the actor lost rights since the
    request began.
    """
    list(held.owners().select_for_update(no_key=True).order_by("id").values_list("id"))
    if not actor.permissions <= creators.lock_creator(actor).permissions:
        raise creators.AccessEnded


def refuse_self(actor: Actor, members: Q = NOBODY, accounts: Q = NOBODY) -> None:
    """Raise if the actor is among these holders: nobody changes their own rights, nor lengthens them.

    A key counts as the person who answers for it, and as the member or the service account whose rights it has.
    """
    if actor.kind == "system":
        return
    person, root = creators.person_of(actor), creators.root_of(actor)
    account = root.service_account_id
    behind = Q(user_id=person, user_id__isnull=False) | Q(id=root.membership_id, id__isnull=False)
    if Membership.objects.filter(members, behind).exists() or (
        account is not None and ServiceAccount.objects.filter(accounts, id=account).exists()
    ):
        raise PermissionDenied("You cannot change your own rights. Ask another admin or owner.")


def check_lasting(
    actor: Actor, permissions: frozenset[str], until: datetime | None = None, project_id: UUID | None = None
) -> None:
    """Raise unless the actor's own rights to these permissions last as long as what is given; None is without an end."""
    root = creators.root_of(actor)
    if not root:
        return
    own = held.rights_until(until, membership_id=root.membership_id, service_account_id=root.service_account_id)
    there = own.everywhere if project_id is None else own.everywhere | own.in_projects.get(project_id, frozenset())
    if lacking := sorted(permissions - there):
        raise PermissionDenied(
            f"Your own rights end before that: {', '.join(lacking)}. Choose an earlier end, or ask somebody whose rights last."
        )


def check_seeing(actor: Actor, project_ids: Iterable[UUID], until: datetime | None) -> None:
    """Raise unless the actor's own rights open these projects, where they are restricted, for as long; None is for ever."""
    root = creators.root_of(actor)
    if not root:
        return
    own = held.rights_until(until, membership_id=root.membership_id, service_account_id=root.service_account_id)
    beyond = [one for one in project_ids if not own.sees(one)]
    if beyond and Project.objects.filter(id__in=beyond, restricted=True).exists():
        raise PermissionDenied(
            "Your own role in a restricted project ends before that. Choose an earlier end, or ask somebody whose role lasts."
        )


def keep_an_owner() -> None:
    """Raise LastOwner if no owner is left who can log in; for changes that take an owner away."""
    if not held.owners().filter(membership__user__is_active=True).exists():
        raise LastOwner


@contextmanager
def changing(actor: Actor, members: Q = NOBODY, accounts: Q = NOBODY) -> Iterator[Reason]:
    """Lock these memberships and service accounts; afterwards narrow the credentials of those who lost rights.

    All such changes of a tenant run one after the other. Raises AccessEnded.
    """
    begin(actor)
    before = _locked_rights(members, accounts)
    reason = Reason()
    yield reason
    # Most people have made no credential: a group of thousands is no longer a matter of thousands of walks.
    people = provenance.with_credentials([row_id for model, row_id in before if model is Membership])
    now = held.rights_of_members(sorted(people))
    for (model, row_id), rights in before.items():
        if model is ServiceAccount:
            kept = rights.common(held.rights_of(service_account_id=row_id))
            root = provenance.of_service_account(row_id)
            provenance.shrink(actor=actor, root=root, to=kept, reason=reason.text)
        elif row_id in people:
            lower(actor, row_id, rights, now[row_id], reason=reason.text)


def _locked_rights(members: Q, accounts: Q) -> dict[tuple[type[Model], UUID], Rights]:
    locked = Membership.objects.select_for_update(no_key=True).filter(members).order_by("id")
    people = held.rights_of_members(list(locked.values_list("id", flat=True)))
    found: dict[tuple[type[Model], UUID], Rights] = {(Membership, row_id): rights for row_id, rights in people.items()}
    programs = ServiceAccount.objects.select_for_update(no_key=True).filter(accounts).order_by("id")
    for row_id in programs.values_list("id", flat=True):
        found[ServiceAccount, row_id] = held.rights_of(service_account_id=row_id)
    return found


def lower(actor: Actor, membership_id: UUID, before: Rights, now: Rights, *, reason: str) -> None:
    """Narrow a locked member's credentials to the rights that are left of those of before.

    Rights beyond the previous ones are unusable already, and more rights must not revive them: not even those of a grant
    that expired, which no operation ended.
    """
    kept = before.common(now)
    provenance.shrink(actor=actor, root=provenance.of_member(membership_id), to=kept, reason=reason)


def of_group(group_id: UUID) -> Q:
    """Return the memberships in a group."""
    return Q(id__in=GroupMember.objects.filter(group_id=group_id).values("membership_id"))


def of_role(role_id: UUID) -> Q:
    """Return the memberships that hold a role, themselves or by a group."""
    grants = Grant.objects.filter(role_id=role_id)
    groups = GroupMember.objects.filter(group_id__in=grants.exclude(group=None).values("group_id"))
    return Q(id__in=grants.exclude(membership=None).values("membership_id")) | Q(id__in=groups.values("membership_id"))


def accounts_of_role(role_id: UUID) -> Q:
    """Return the service accounts that hold a role."""
    return Q(id__in=Grant.objects.filter(role_id=role_id).exclude(service_account=None).values("service_account_id"))


def check_name(name: Any, maximum: int = 120) -> str:
    """Return the name of a key, a group or a service account; raise `Invalid` for one that reads as somebody who acts."""
    text = check_text(name, "name", maximum)
    if speaks_for_another(text):
        raise Invalid(
            fields={"name": ["Use no address and no name such as operator: texts would read as if they acted."]}
        )
    return text
