"""The only writer of the audit log, and the decorator that makes an operation record its entry.

`record` defers an entry to the end of the outermost scope, where the chain's head is locked. No lock is awaited while
holding the head, so two operations of a tenant never deadlock.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, ParamSpec, TypeVar, cast

from django.db.models import Model

from tenants.access.actor import Actor
from tenants.audit.chain import VERSION, link, plain
from tenants.audit.pseudonyms import without_people
from tenants.ids import uuid7
from tenants.isolation.scoping import Deferred, before_commit, current_tenant_id, tenant_scope
from tenants.rows import prepared_cursor

CREATORS = """
SELECT id, coalesce(service_account_id, created_by_id) FROM tenants_apikey WHERE tenant_id = %s AND id = ANY(%s::uuid[])
"""
HEAD = "SELECT seq, hash, exchequer_now() FROM tenants_audithead WHERE tenant_id = %s FOR NO KEY UPDATE"
FIRST_HEAD = """
INSERT INTO tenants_audithead (id, tenant_id, seq, hash) VALUES (gen_random_uuid(), %s, 0, %s) ON CONFLICT (tenant_id) DO NOTHING
"""
APPEND = """
WITH moved AS (UPDATE tenants_audithead SET seq = %(seq)s, hash = %(hash)s WHERE tenant_id = %(tenant)s)
INSERT INTO tenants_auditentry SELECT * FROM json_populate_recordset(NULL::tenants_auditentry, %(entries)s::json)
"""
P = ParamSpec("P")
R = TypeVar("R")
Target = Model | tuple[str, Any, str] | None
Outcome = Literal["done", "refused", "failed"]


class MissingAuditEntry(RuntimeError):
    """An operation ended without recording its action."""


class AuditAction(str):
    """Name of an action, `app.noun.verbed`; `AuditAction.known` is the set of all.

    A tenant that closes allows one only if it is marked `while_closing`: it concerns one's own account, reads, or stops work.
    """

    known: set[str] = set()
    allowed_while_closing: set[str] = set()
    __slots__ = ()

    def __new__(cls, name: str, *, while_closing: bool = False) -> "AuditAction":
        if not re.fullmatch(r"[a-z_]+\.[a-z_]+\.[a-z_]+", name):
            raise ValueError(f"{name!r} does not read app.noun.verbed")
        cls.known.add(name)
        if while_closing:
            cls.allowed_while_closing.add(name)
        return super().__new__(cls, name)


@dataclass
class Trail:
    """What the current operation has recorded."""

    entries: list[tuple[str, Deferred]] = field(default_factory=list)
    unchanged: bool = False


_trail: ContextVar[Trail | None] = ContextVar("audit_trail", default=None)


def operation(action: AuditAction, *, savepoint: bool = True) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a keyword-only function `f(*, actor, ...)` one atomic, audited operation in the actor's tenant.

    Raises `MissingAuditEntry` if the body neither recorded `action` nor called `unchanged`, and `TenantSuspended` where the
    tenant closes and its people change nothing any more. `savepoint=False`: what it raises ends the caller's transaction, too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if args:
                raise TypeError(f"{function.__name__} takes keyword arguments only")
            actor = cast(Actor, kwargs["actor"])
            if _trail.get() is None and action not in AuditAction.allowed_while_closing:
                actor.require_changes()
            with tenant_scope(actor.tenant_id, savepoint=savepoint):
                trail = Trail()
                token = _trail.set(trail)
                try:
                    result = function(*args, **kwargs)
                finally:
                    _trail.reset(token)
                if not trail.unchanged and not any(name == action and entry.kept for name, entry in trail.entries):
                    raise MissingAuditEntry(f"{function.__qualname__} did not record {action}")
                return result

        run.audit_action = action  # type: ignore[attr-defined]
        return run

    return decorate


def record(
    action: AuditAction,
    *,
    actor: Actor,
    target: Target = None,
    changes: Mapping[str, Any] | None = None,
    reason: str = "",
    outcome: Outcome = "done",
    error_code: str = "",
) -> None:
    """Add one entry to the current operation. `changes` maps a field to `[old, new]`; never put a secret in it.

    Addresses of people may be in any text: they are replaced before the entry is hashed.
    """
    trail = _trail.get()
    if trail is None:
        raise MissingAuditEntry(f"{action} was recorded outside an operation")
    made = _entry(action, actor, target, changes or {}, reason)
    entry = before_commit(write, made | {"outcome": outcome, "error_code": error_code})
    trail.entries.append((action, entry))


def unchanged(reason: str) -> None:
    """Mark the current operation as a no-op; no audit entry is written."""
    trail = _trail.get()
    if trail is None or not reason:
        raise MissingAuditEntry("unchanged() needs an open operation and a reason")
    trail.unchanged = True


def _entry(action: str, actor: Actor, target: Target, changes: Mapping[str, Any], reason: str) -> dict[str, Any]:
    kind, target_id, label = _describe(target)
    return {
        "actor_type": actor.kind,
        "actor_id": actor.id,
        "actor_label": actor.label,
        "action": str(action),
        "target_type": kind[:40],
        "target_id": target_id,
        "target_label": plain(label),
        "changes": plain(changes),
        "reason": plain(reason),
        "ip": actor.ip[:45],
        "user_agent": plain(actor.user_agent)[:254],
        "request_id": plain(actor.request_id)[:64],
        "schema_version": VERSION,
        "on_behalf_of": None,
        "credential": actor.credential or (f"key:{actor.id}" if actor.kind == "api_key" else ""),
    }


def write(entries: list[dict[str, Any]]) -> None:
    """Append entries to the tenant's chain: the head's row lock, taken last, keeps the sequence gapless."""
    tenant_id = current_tenant_id()
    entries = without_people(_with_creators(entries))
    with prepared_cursor() as cursor:
        cursor.execute(HEAD, [tenant_id])
        found = cursor.fetchone()
        if found is None:  # the tenant's first entry
            cursor.execute(FIRST_HEAD, [tenant_id, bytes(32)])
            cursor.execute(HEAD, [tenant_id])
            found = cursor.fetchone()
        seq, head, occurred_at = found
        head = bytes(head)
        rows = []
        for entry in entries:
            seq += 1
            row = {**entry, "tenant_id": tenant_id, "seq": seq, "occurred_at": occurred_at}
            digest = link(head, row)
            rows.append({**row, "id": uuid7(), "prev_hash": head, "hash": digest})
            head = digest
        written = json.dumps(rows, default=_written)
        cursor.execute(APPEND, {"tenant": tenant_id, "seq": seq, "hash": head, "entries": written})


def _written(value: Any) -> str:
    """Return ids, times and bytes as PostgreSQL reads them."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _with_creators(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries with the person or service account that each key acts for."""
    ids = {entry["actor_id"] for entry in entries if entry["actor_type"] == "api_key"}
    if not ids:
        return entries
    with prepared_cursor() as cursor:
        cursor.execute(CREATORS, [current_tenant_id(), list(ids)])
        creators = dict(cursor.fetchall())
    return [{**entry, "on_behalf_of": creators.get(entry["actor_id"])} for entry in entries]


def _describe(target: Target) -> tuple[str, str, str]:
    if target is None:
        return "", "", ""
    if isinstance(target, tuple):
        kind, target_id, label = target
        return kind, str(target_id), str(label)
    return target._meta.model_name or "", str(target.pk), str(target)
