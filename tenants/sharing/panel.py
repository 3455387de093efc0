"""What a page needs to show with whom an object is shared, and to share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tenants.access.actor import Actor
from tenants.models import Group, Membership
from tenants.sharing.shares import ShareRow, is_managed, kind_of, shares_of

MOST_OFFERED = 500


@dataclass(frozen=True)
class SharePanel:
    """The shares of one object, and who else may be chosen: `(value, words)`, up to MOST_OFFERED people.

    Nobody for who may not list the members: guests of a project see no address book of the organisation.
    """

    kind: str
    object_id: UUID
    shares: tuple[ShareRow, ...]
    people: Sequence[tuple[str, str]]
    groups: Sequence[tuple[str, str]]
    lists_members: bool = True


def share_panel(actor: Actor, kind: str, object_id: UUID, target: object = None) -> SharePanel | None:
    """Return the panel of an object; None for those who may not share it. `target` has its `project_id`, if it has one."""
    if not actor.can(kind_of(kind).permission, target) or not is_managed(actor, kind, object_id):
        return None
    shares = tuple(shares_of(kind, object_id))
    if not actor.can("members.view"):
        return SharePanel(kind, object_id, shares, (), (), lists_members=False)
    known = {one.holder_id for one in shares}
    members = Membership.objects.exclude(user_id__in=known).order_by("user__email")
    people = members.values_list("user_id", "user__name", "user__email")[:MOST_OFFERED]
    groups = Group.objects.exclude(id__in=known).order_by("name").values_list("id", "name")[:MOST_OFFERED]
    return SharePanel(
        kind,
        object_id,
        shares,
        [(str(user), f"{name} ({email})" if name else email) for user, name, email in people],
        [(str(group), name) for group, name in groups],
    )
