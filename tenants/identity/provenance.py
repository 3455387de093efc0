"""Provenance of credentials, and the one way to revoke all that descends from one; who makes one is in `creators`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from tenants.access.actor import Actor
from tenants.access.rights import NO_RIGHTS, Rights
from tenants.audit import AuditAction, record
from tenants.clock import DatabaseNow
from tenants.identity import creators
from tenants.models import ApiKey, Credential

KEY_NARROWED = AuditAction("tenants.api_key.narrowed")
#: What every key and every role includes: without it nothing of the organisation opens. Alone it is useless.
ALWAYS = "tenant.view"

NOT_REVOKED = Q(revoked_at=None)
WORDS = {"apikey": "API key", "endpointkey": "endpoint key", "scimtoken": "SCIM token"}


@dataclass(frozen=True)
class Kind:
    """A kind of credential: its name in the audit log, and whether a creator with certain rights could create it.

    `page` is the page of the tenant that lists it, for a notification before it expires.
    """

    name: str
    model: type[Credential]
    revoked: AuditAction
    label: Callable[[Any], str]
    could_make: Callable[[Any, Rights], bool]
    live: Q = NOT_REVOKED
    related: tuple[str, ...] = ()
    adopted: AuditAction | None = None
    page: Callable[[Any], str] = lambda row: "api-keys/"


@dataclass(frozen=True, kw_only=True)
class Descendant:
    """A credential that is revoked with its creator, for display. `last_used_at` is None if use is not recorded."""

    kind: str
    id: UUID
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @property
    def kind_words(self) -> str:
        """Return the name of its kind."""
        return WORDS.get(self.kind, self.kind)


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Register a kind of credential."""
    _kinds[kind.name] = kind


def is_backed(row: Credential) -> bool:
    """Return whether the creator of a credential could create it now: checked at use, as a grant ends by itself."""
    (kind,) = (one for one in _kinds.values() if isinstance(row, one.model))
    return kind.could_make(row, creators.rights_behind(row))


def above(row: Credential) -> list[UUID]:
    """Return the API keys that a credential descends from, the nearest first."""
    found: list[UUID] = []
    parent = row.parent_key_id
    while parent is not None:
        found.append(parent)
        parent = ApiKey.objects.filter(id=parent).values_list("parent_key_id", flat=True).first()
    return found


def descendants(root: Q) -> list[Descendant]:
    """Return the live credentials that descend from a root (`of_member`, `of_service_account`), newest last."""
    return [_shown(kind, row) for kind, row in _rows(_below_root(root, lock=False), lock=False)]


def known_to(user_id: UUID) -> list[Descendant]:
    """Return the live API keys of service accounts whose secret a person was shown, newest last."""
    live = Q(expires_at=None) | Q(expires_at__gt=DatabaseNow())
    rows = ApiKey.objects.filter(live, NOT_REVOKED, service_account__isnull=False, created_by_id=user_id)
    return [_shown(_kinds["apikey"], row) for row in rows.order_by("created_at", "id")]


def expiring(within: timedelta) -> list[tuple[Kind, Any]]:
    """Return the live credentials of the open scope that expire so soon, with their kind; none that was made for less time."""
    soon = Q(
        expires_at__gt=DatabaseNow(), expires_at__lte=DatabaseNow() + within, created_at__lt=F("expires_at") - within
    )
    return [
        (kind, row)
        for kind in _kinds.values()
        for row in kind.model.objects.filter(kind.live, soon).select_related(*kind.related).order_by("expires_at")
    ]


def numbers() -> dict[UUID, int]:
    """Return the number of live credentials that descend from each API key that has any."""
    below: Counter[UUID] = Counter()
    creators: dict[UUID, UUID] = {}
    for kind in _kinds.values():
        rows = kind.model.objects.filter(kind.live, parent_key_id__isnull=False).values_list("id", "parent_key_id")
        found = dict(rows)
        below.update(found.values())
        if kind.model is ApiKey:
            creators = found
    # Bottom-up: descendants of a key count for its creator once the key's own count is complete.
    open_keys = Counter(creators.values())
    complete = [key_id for key_id in creators if not open_keys[key_id]]
    while complete:
        key_id = complete.pop()
        creator = creators[key_id]
        below[creator] += below[key_id]
        open_keys[creator] -= 1
        if not open_keys[creator] and creator in creators:
            complete.append(creator)
    return dict(below)


def revoke_descendants(
    *, actor: Actor, key_id: UUID | None = None, root: Q | None = None, reason: str
) -> dict[str, list[str]]:
    """Revoke all live credentials that descend from a key or a root, which the caller has locked.

    Each gets its audit entry; returns the ids by kind.
    """
    below = _below_key(key_id) if root is None else _below_root(root)
    taken: dict[str, list[str]] = {name: [] for name in _kinds}
    for kind, row in _rows(below, lock=True):
        _revoke(actor, kind, row, reason)
        taken[kind.name].append(str(row.pk))
    return taken


def end_below(key_id: UUID, until: datetime) -> int:
    """Let all live credentials that descend from a locked key end at a time, if not before; return how many did later."""
    later, ended = Q(expires_at=None) | Q(expires_at__gt=until), 0
    below = _below_key(key_id)
    for kind in _kinds.values():
        ended += kind.model.objects.filter(below, kind.live).filter(later).update(expires_at=until)
    return ended


def shrink(*, actor: Actor, root: Q, to: Rights, reason: str) -> None:
    """Revoke permanently what a root could not create with these rights: raising them again restores nothing.

    An API key loses the scopes beyond them, and is revoked if none is left; so are its descendants.
    """
    for kind, row, left in _left(_rows(_below_root(root), lock=True), to):
        if left is None:
            _revoke(actor, kind, row, reason)
        elif left != frozenset(row.scopes):
            ApiKey.objects.filter(id=row.id).update(scopes=sorted(left))
            changes = {"scopes": [row.scopes, sorted(left)]}
            record(KEY_NARROWED, actor=actor, target=("apikey", row.id, row.name), changes=changes, reason=reason)


def ending(root: Q, to: Rights) -> list[Descendant]:
    """Return the credentials that `shrink` would revoke, and change nothing."""
    return _lost(_rows(_below_root(root, lock=False), lock=False), to)


def endings(to: Mapping[UUID, Rights]) -> dict[UUID, list[Descendant]]:
    """Return what `ending` returns for many roots, memberships and service accounts by id: one reading for all of them."""
    of_all = Q(membership_id__in=list(to)) | Q(service_account_id__in=list(to))
    roots_of: dict[UUID | None, set[UUID | None]] = {}
    below: dict[UUID | None, list[tuple[Kind, Any]]] = {root: [] for root in to}
    for kind, row in _rows(_below_root(of_all, lock=False), lock=False):
        roots = {row.membership_id, row.service_account_id} | roots_of.get(row.parent_key_id, set())
        if isinstance(row, ApiKey):
            roots_of[row.id] = roots
        for root in roots & below.keys():
            below[root].append((kind, row))
    return {root: _lost(below[root], rights) for root, rights in to.items()}


def _lost(rows: Iterable[tuple[Kind, Any]], to: Rights) -> list[Descendant]:
    return [_shown(kind, row) for kind, row, left in _left(rows, to) if left is None]


def _left(rows: Iterable[tuple[Kind, Any]], to: Rights) -> Iterator[tuple[Kind, Any, frozenset[str] | None]]:
    """Yield credentials with what is left of them under a root with these rights: scopes of an API key, None for nothing.

    Others than API keys are yielded only if nothing is left.
    """
    # A key of a service account descends from the key that created it, too. Where that one has another root, only the
    # root that shrinks here counts.
    rights: dict[UUID | None, Rights] = {}
    for kind, row in rows:
        own = rights.get(row.parent_key_id, to)
        if not isinstance(row, ApiKey):
            if not kind.could_make(row, own):
                yield kind, row, None
            continue
        left = frozenset(row.scopes) & own.everywhere
        hidden = row.project is not None and row.project.restricted and not own.sees(row.project.id)
        if hidden or left <= {ALWAYS} < frozenset(row.scopes) or ALWAYS not in left:
            rights[row.id] = NO_RIGHTS
            yield kind, row, None
            continue
        rights[row.id] = own.within(left, row.project_id)
        yield kind, row, left


def adopt(*, actor: Actor, membership_id: UUID) -> list[str]:
    """Make the actor the creator of adoptable credentials that descend from a membership; returns the ids."""
    creator = creators.lock_creator(actor)
    adopted = []
    for kind, row in _rows(of_member(membership_id), lock=True):
        if kind.adopted is None or not kind.could_make(row, creator.rights):
            continue
        until = creator.until(row.expires_at) if row.expires_at else creator.expires_at
        kind.model.objects.filter(id=row.pk).update(**creator.origin(), expires_at=until)
        record(kind.adopted, actor=actor, target=(kind.name, row.pk, kind.label(row)))
        adopted.append(str(row.pk))
    return adopted


def of_member(membership_id: UUID) -> Q:
    """Return the root of the credentials that descend from a member."""
    return Q(membership_id=membership_id)


def of_service_account(service_account_id: UUID) -> Q:
    """Return the root of the credentials that descend from a service account: its keys first."""
    return Q(service_account_id=service_account_id)


def with_credentials(membership_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of these memberships from which live credentials descend; one statement a kind."""
    found: set[UUID] = set()
    for kind in _kinds.values():
        rows = kind.model.objects.filter(kind.live, membership_id__in=membership_ids)
        found.update(row_id for row_id in rows.values_list("membership_id", flat=True).distinct() if row_id)
    return found


def _below_root(root: Q, *, lock: bool = True) -> Q:
    """Return the filter for a root's credentials, and for those of other roots that its keys created."""
    return root | _below(set(ApiKey.objects.filter(root, revoked_at=None).values_list("id", flat=True)), lock=lock)


def _below_key(key_id: UUID | None) -> Q:
    """Return the filter for a key's descendants; each key is locked before its children are read."""
    return _below(set() if key_id is None else {key_id}, lock=True)


def _below(level: set[UUID], *, lock: bool) -> Q:
    """Return the filter for what keys created, level by level."""
    found = set(level)
    while level:
        rows = ApiKey.objects.filter(parent_key_id__in=level, revoked_at=None).order_by("id")
        level = {row.id for row in (rows.select_for_update(no_key=True) if lock else rows).only("id")} - found
        found |= level
    return Q(parent_key_id__in=found)


def _rows(below: Q, *, lock: bool) -> Iterator[tuple[Kind, Any]]:
    """Yield live credentials with their kind: API keys first, parents before children."""
    for kind in sorted(_kinds.values(), key=lambda kind: kind.model is not ApiKey):
        rows = kind.model.objects.filter(below, kind.live).select_related(*kind.related).order_by("id")
        yield from ((kind, row) for row in (rows.select_for_update(of=("self",), no_key=True) if lock else rows))


def _shown(kind: Kind, row: Any) -> Descendant:
    return Descendant(
        kind=kind.name,
        id=row.pk,
        name=kind.label(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=getattr(row, "last_used_at", None),
    )


def _revoke(actor: Actor, kind: Kind, row: Any, reason: str) -> None:
    kind.model.objects.filter(id=row.pk).update(revoked_at=DatabaseNow())
    record(kind.revoked, actor=actor, target=(kind.name, row.pk, kind.label(row)), reason=reason)
