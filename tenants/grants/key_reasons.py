"""Why a key may do what it may: the grants of the member or the service account that it belongs to, within its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS
from tenants.clock import now
from tenants.grants.queries import AccessRow, HolderAccess, ServiceAccountRow, grants, holders, reason
from tenants.identity.provenance import ALWAYS
from tenants.models import Membership

if TYPE_CHECKING:
    from tenants.queries import ApiKeyRow

#: Stands for a project that the reader may not name; no grant that they see is in it.
UNNAMED = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class KeyReasons:
    """The holder of a key with the grants that give it something, each with what it gives; and scopes that none gives.

    `kind` is person, service account, or installation: of a key that the installation made, which has its scopes by no grant.
    """

    holder: str
    kind: str
    reasons: tuple[AccessRow, ...]
    idle: tuple[str, ...]


def explained(actor: Actor, keys: Sequence[ApiKeyRow]) -> Sequence[ApiKeyRow]:
    """Return the keys, those that work with their reasons, in as many statements as the access page needs.

    As they are for a reader who may not see grants. No reason names a project whose name the reader does not see.
    """
    if not keys or not actor.can("members.view"):
        return keys
    moment = now()
    known = {(one.kind, one.id): one for one in holders()}
    people = dict(Membership.objects.values_list("id", "user_id"))
    return [replace(key, access=_of(key, known, people)) if _works(key, moment) else key for key in keys]


def explained_accounts(actor: Actor, accounts: Sequence[ServiceAccountRow]) -> Sequence[ServiceAccountRow]:
    """Return the service accounts with their reasons, in one statement; as they are for a reader who may not see grants."""
    if not actor.can("members.view"):
        return accounts
    found: dict[UUID | None, list[AccessRow]] = {}
    for row in grants(~Q(service_account=None)):
        found.setdefault(row.service_account_id, []).append(reason(row.holder, "service account", row))
    return [replace(one, reasons=tuple(found.get(one.id, ()))) for one in accounts]


def _works(key: ApiKeyRow, moment: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > moment)


def _of(key: ApiKeyRow, known: dict[tuple[str, UUID], HolderAccess], people: Mapping[UUID, UUID]) -> KeyReasons:
    scopes = PERMISSIONS & frozenset(key.scopes)
    account = key.service_account_id
    if account is None and key.membership_id is None:
        return KeyReasons(holder="", kind="installation", reasons=(), idle=())
    # Not its creator: who replaces another member's key answers for a key with that member's rights.
    member = people.get(key.membership_id) if key.membership_id else None
    kind, holder_id = ("service account", account) if account else ("person", member)
    holder = known.get((kind, holder_id)) if holder_id else None
    project = UNNAMED if key.project_withheld else key.project_id
    reasons = [] if holder is None else [_within(row, scopes, project) for row in holder.reasons]
    given = tuple(row for row in reasons if set(row.permissions) - {ALWAYS})
    idle = scopes.difference(*(row.permissions for row in reasons)) - {ALWAYS}
    return KeyReasons(
        holder=holder.holder if holder else "",
        kind=kind,
        reasons=given,
        idle=tuple(sorted(idle)),
    )


def _within(row: AccessRow, scopes: frozenset[str], project_id: UUID | None) -> AccessRow:
    """Return a grant with what it gives a key of these scopes, limited to a project if the key is."""
    allowed = scopes & frozenset(row.permissions)
    if project_id is not None:
        here = row.grant.project_id in (None, project_id)
        allowed = allowed & PROJECT_PERMISSIONS if here else frozenset()
    return replace(row, permissions=tuple(sorted(allowed)))
