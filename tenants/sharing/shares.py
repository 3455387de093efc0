"""Share single objects with people and groups, and find what is shared with an actor.

An app registers each kind of object with its two tables. A share opens an object that a restriction or a project hides,
and nothing else: it gives no permission, and what is seen by it alone is used and not managed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import Permission
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from tenants.access.actor import Actor
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.events.events import MemberRemoved, subscribe
from tenants.isolation.pages import as_texts, read_together
from tenants.models import ApiKey, Group, GroupMember, Membership
from tenants.sharing.tables import SharedWithGroup, SharedWithPerson

#: What works with objects of every kind, whether they may be listed or not.
USES = ("jobs.launch", "endpoints.manage")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object that can be shared.

    `visible(actor)` are its rows that an actor sees, `managed(actor)` those that it sees without a share. `permission` is
    needed to share one, in its project if it has one. `page` names the route of its page.
    """

    name: str
    people: type[SharedWithPerson]
    groups: type[SharedWithGroup]
    permission: str
    visible: Callable[[Actor], QuerySet[Any]]
    managed: Callable[[Actor], QuerySet[Any]]
    shared: AuditAction
    unshared: AuditAction
    page: str

    @property
    def codename(self) -> str:
        """Return guardian's permission."""
        return f"view_{str(self.people._meta.model_name).removesuffix('userpermission')}"


class SharedOnly(PermissionDenied):
    """This is only shared with you: use it, but do not change it. Ask its creator, an owner, an admin, or somebody with a role in its project."""

    code = "shared_only"


@dataclass(frozen=True)
class ShareRow:
    """Somebody with whom an object is shared: exactly one of person and group."""

    user_id: UUID | None
    group_id: UUID | None
    name: str

    @property
    def holder_id(self) -> UUID:
        """Return the id of the person or the group."""
        return cast(UUID, self.user_id or self.group_id)


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Register a kind when Django starts."""
    _kinds[kind.name] = kind


def kinds() -> Iterable[Kind]:
    """Return the registered kinds."""
    return tuple(_kinds.values())


def kind_of(name: str) -> Kind:
    """Return a registered kind. Raises KeyError."""
    return _kinds[name]


def shared_with(actor: Actor, kind: str, path: str = "id") -> Q:
    """Return the condition of objects that are shared with an actor, or with a group of its.

    A key sees what is shared with the member that it descends from, unless it is limited to a project.
    """
    if actor.kind == "system" or actor.only_project is not None:
        return Q(pk__in=())
    of = _kinds[kind]
    own_id = cast(UUID, actor.id)
    member = Membership.objects.filter(user_id=own_id)
    if actor.kind == "api_key":
        member = Membership.objects.filter(id__in=ApiKey.objects.filter(id=own_id).values("membership_id"))
    groups = GroupMember.objects.filter(membership__in=member.values("id")).values("group_id")
    people = of.people.objects.filter(user_id__in=member.values("user_id")).values("content_object_id")
    return Q(**{f"{path}__in": people}) | Q(
        **{f"{path}__in": of.groups.objects.filter(group_id__in=groups).values("content_object_id")}
    )


def is_managed(actor: Actor, kind: str, object_id: UUID) -> bool:
    """Return whether an actor sees an object without a share: what it may change there, its permissions say."""
    return _kinds[kind].managed(actor).filter(id=object_id).exists()


def check_managed(actor: Actor, kind: str, object_id: UUID) -> None:
    """Raise SharedOnly for an object that an actor sees by a share alone."""
    if not is_managed(actor, kind, object_id):
        raise SharedOnly


def opens_unseen(actor: Actor, group_id: UUID) -> bool:
    """Return whether something is shared with a group that the actor does not see: nobody opens it to others."""
    return any(
        of.groups.objects.filter(group_id=group_id)
        .exclude(content_object_id__in=of.visible(actor).values("id"))
        .exists()
        for of in _kinds.values()
    )


def reaches_unseen(actor: Actor, other: Actor) -> bool:
    """Return whether another actor sees, by a share or as its own, what this one does not see."""
    # The same rights without the identity: what is left are shares, and what the other one made itself.
    nobody = replace(other, id=UUID(int=0), owner=None)
    return any(
        of.visible(other)
        .exclude(id__in=of.visible(nobody).values("id"))
        .exclude(id__in=of.visible(actor).values("id"))
        .exists()
        for of in _kinds.values()
        if any(other.can_somewhere(permission) for permission in (f"{of.name}s.view", *USES))
    )


def shares_of(kind: str, object_id: UUID) -> list[ShareRow]:
    """Return with whom an object is shared: people by address, then groups by name."""
    of = _kinds[kind]
    people = as_texts("user_id", of.people.objects.filter(content_object_id=object_id), "user_id", "user__email")
    groups = as_texts("group_id", of.groups.objects.filter(content_object_id=object_id), "group_id", "group__name")
    found = read_together([people, groups])
    return [
        ShareRow(**{"user_id": None, "group_id": None, column: UUID(row_id)}, name=name)
        for column in ("user_id", "group_id")
        for row_id, name in sorted(found.get(column, ()), key=lambda row: row[1])
    ]


def shares_seen(actor: Actor, kind: str, object_id: UUID) -> list[ShareRow]:
    """Return `shares_of` an object for somebody who may share it. Raises NotFound, PermissionDenied."""
    of = _kinds[kind]
    _may_share(actor, of, of.visible(actor).filter(id=object_id))
    return shares_of(kind, object_id)


def share(
    *, actor: Actor, kind: str, object_id: UUID, user_id: UUID | None = None, group_id: UUID | None = None
) -> ShareRow:
    """Share an object with one member or one group. Raises NotFound, Invalid, PermissionDenied."""
    if (user_id is None) == (group_id is None):
        raise Invalid(fields={"user": ["Name one member as user, or one group as group."]})
    of = _kinds[kind]
    return operation(of.shared)(_share)(actor=actor, of=of, object_id=object_id, user_id=user_id, group_id=group_id)


def unshare(*, actor: Actor, kind: str, object_id: UUID, holder_id: UUID) -> None:
    """End the share of an object with a member or a group; without one nothing changes.

    Raises NotFound, PermissionDenied.
    """
    of = _kinds[kind]
    operation(of.unshared)(_unshare)(actor=actor, of=of, object_id=object_id, holder_id=holder_id)


@subscribe(MemberRemoved)
def end_shares_of_a_leaver(event: MemberRemoved) -> None:
    """End all shares with a person who left."""
    system = Actor.system(event.tenant_id, "leaver")
    for of in kinds():
        rows = of.people.objects.filter(user_id=event.user_id)
        for object_id in rows.values_list("content_object_id", flat=True):
            unshare(actor=system, kind=of.name, object_id=object_id, holder_id=event.user_id)


def forget(kind: str, object_id: UUID) -> None:
    """Delete the shares of an object that is about to be deleted."""
    of = _kinds[kind]
    for table in (of.people, of.groups):
        table.objects.filter(content_object_id=object_id).delete()


def _share(*, actor: Actor, of: Kind, object_id: UUID, user_id: UUID | None, group_id: UUID | None) -> ShareRow:
    # The membership first, as where it ends: what is shared at once with somebody who leaves would be theirs again later.
    people = Membership.objects.select_for_update(of=("self",), no_key=True).select_related("user")
    member = people.filter(user_id=user_id).first() if user_id else None
    row = _own(actor, of, object_id)
    group = Group.objects.filter(id=group_id).first() if group_id else None
    if member is None and group is None:
        raise NotFound
    made = ShareRow(user_id, group_id, str(member.user.email if member else group))
    if made in shares_of(of.name, object_id):
        unchanged("it was shared before")
        return made
    right = Permission.objects.get(codename=of.codename, content_type__app_label=of.people._meta.app_label)
    if member is not None:
        of.people.objects.create(permission=right, user_id=user_id, content_object=row)
    else:
        of.groups.objects.create(permission=right, group_id=group_id, content_object=row)
    record(of.shared, actor=actor, target=row, changes={"shared_with": [None, str(user_id or group_id)]})
    return made


def _unshare(*, actor: Actor, of: Kind, object_id: UUID, holder_id: UUID) -> None:
    row = _own(actor, of, object_id, TakesAway(of.permission))
    of_person = of.people.objects.filter(content_object_id=object_id, user_id=holder_id).delete()[0]
    of_group = of.groups.objects.filter(content_object_id=object_id, group_id=holder_id).delete()[0]
    if not of_person and not of_group:
        unchanged("it was not shared")
        return
    record(of.unshared, actor=actor, target=row, changes={"shared_with": [str(holder_id), None]})


def _own(actor: Actor, of: Kind, object_id: UUID, permission: str = "") -> Model:
    rows = of.visible(actor).select_for_update(of=("self",), no_key=True)
    return _may_share(actor, of, rows.filter(id=object_id), permission)


def _may_share(actor: Actor, of: Kind, rows: QuerySet[Any], permission: str = "") -> Model:
    row: Any = rows.annotate(managed=Exists(of.managed(actor).filter(id=OuterRef("pk")))).first()
    if row is None:
        raise NotFound
    actor.require(permission or of.permission, row)
    if not row.managed:
        raise SharedOnly
    return cast(Model, row)
