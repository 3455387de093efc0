"""Why a key may do what it may: the grants of the member or the service account that it belongs to, within its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS
from tenants.grants.queries import AccessRow, ByHolder, ServiceAccountRow, by_holder, reasons_of
from tenants.identity.provenance import ALWAYS

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
    """Return the keys, those that work with their reasons, in one statement.

    As they are for a reader who may not see grants. No reason names a project whose name the reader does not see.
    """
    if not keys or not actor.can("members.view"):
        return keys
    given = by_holder()
    return [replace(key, access=_of(key, given)) if key.works else key for key in keys]


def explained_accounts(actor: Actor, accounts: Sequence[ServiceAccountRow]) -> Sequence[ServiceAccountRow]:
    """Return the service accounts with their reasons, in one statement; as they are for a reader who may not see grants."""
    if not actor.can("members.view"):
        return accounts
    given = by_holder(~Q(service_account=None))
    return [replace(one, reasons=tuple(reasons_of(given, "service account", one.id, one.name, ()))) for one in accounts]


def _of(key: ApiKeyRow, by: ByHolder) -> KeyReasons:
    scopes = PERMISSIONS & frozenset(key.scopes)
    if key.service_account_id is None and key.membership_id is None:
        return KeyReasons(holder="", kind="installation", reasons=(), idle=())
    kind = "service account" if key.service_account_id else "person"
    # Not its creator: who replaces another member's key answers for a key with that member's rights.
    holder_id = key.service_account_id or key.user_id
    project = UNNAMED if key.project_withheld else key.project_id
    rows = reasons_of(by, kind, holder_id, key.holder, key.groups) if holder_id and key.holder else ()
    reasons = [_within(row, scopes, project) for row in rows]
    given = tuple(row for row in reasons if set(row.permissions) - {ALWAYS})
    idle = scopes.difference(*(row.permissions for row in reasons)) - {ALWAYS}
    return KeyReasons(holder=key.holder, kind=kind, reasons=given, idle=tuple(sorted(idle)))


def _within(row: AccessRow, scopes: frozenset[str], project_id: UUID | None) -> AccessRow:
    """Return a grant with what it gives a key of these scopes, limited to a project if the key is."""
    allowed = scopes & frozenset(row.permissions)
    if project_id is not None:
        here = row.grant.project_id in (None, project_id)
        allowed = allowed & PROJECT_PERMISSIONS if here else frozenset()
    return replace(row, permissions=tuple(sorted(allowed)))
