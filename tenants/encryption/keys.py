"""Data keys of tenants: created at first use, unwrapped when needed, rotated and rewrapped by commands.

Creating a key and changing the master key exclude each other by a transaction-level advisory lock: no data key stays
under a master key being replaced.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max

from tenants.encryption import handouts
from tenants.encryption.master import KEY_BYTES, KeyUnavailable, MasterKey, given, master_key
from tenants.ids import uuid7
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import MasterKeyRecord, PlatformKey, TenantKey

LOCK = "exchequer master key"
KEPT_KEYS = 1024


class UnknownKey(KeyUnavailable):
    """The key of this file does not belong to this organisation."""


@dataclass(frozen=True)
class DataKey:
    """A data key in the clear. It stays in memory."""

    id: UUID
    secret: bytes = field(repr=False)


def data_key(tenant_id: UUID, key_id: UUID | None = None) -> DataKey:
    """Return the tenant's newest data key, created at first use, or the one named by `key_id`.

    On a node the platform hands it out, for the work that this thread does. Raises UnknownKey if it is not the tenant's,
    KeyUnavailable without its master key.
    """
    if handouts.is_node():
        return _handed_out(tenant_id, key_id)
    with tenant_scope(tenant_id):
        rows = TenantKey.objects.order_by("-version")
        row = (rows.filter(id=key_id) if key_id else rows).first()
        if row is None and key_id is not None:
            raise UnknownKey
        row = row or new_version(tenant_id, after=0)
    return unwrapped(row)


def unwrapped(row: TenantKey) -> DataKey:
    """Return the data key of a row. Raises KeyUnavailable without its master key."""
    return _unwrapped(row.id, row.tenant_id, row.version, bytes(row.wrapped), row.master_id)


def newest_version(tenant_id: UUID) -> int:
    """Return the version of the data key for new files; 0 before the first."""
    with tenant_scope(tenant_id):
        return TenantKey.objects.aggregate(last=Max("version"))["last"] or 0


def new_version(tenant_id: UUID, *, after: int) -> TenantKey:
    """Create the version after `after` of a tenant's data key, or take the one created meanwhile."""
    with tenant_scope(tenant_id):
        lock_shared()
        version = after + 1
        master = in_use()
        row = TenantKey(id=uuid7(), tenant_id=tenant_id, version=version, master_id=master.id)
        row.wrapped = master.wrap(os.urandom(KEY_BYTES), _context(tenant_id, row.id, version))
        TenantKey.objects.bulk_create([row], ignore_conflicts=True)
        return TenantKey.objects.get(version=version)


def rewrap(new: MasterKey, *known: MasterKey) -> int:
    """Wrap every data key and the platform key with `new`, all or none; return how many data keys changed. Needs the control role.

    `known` are master keys in addition to those given to this process. Raises KeyUnavailable.
    """
    extra = {key.id: key for key in known}
    with transaction.atomic(), all_tenants("the data keys of every tenant are wrapped again"):
        _lock("pg_advisory_xact_lock")
        MasterKeyRecord.objects.exclude(id=new.id).update(current=False)
        if not MasterKeyRecord.objects.filter(id=new.id).update(current=True):
            MasterKeyRecord.objects.create(id=new.id)
        changed = 0
        for row in TenantKey.objects.exclude(master_id=new.id).order_by("id"):
            _rewrap(row, _context(row.tenant_id, row.id, row.version), new, extra)
            changed += 1
        for pair in PlatformKey.objects.exclude(master_id=new.id).order_by("id"):
            _rewrap(pair, platform_context(pair.id), new, extra)
    return changed


def _rewrap(row: TenantKey | PlatformKey, context: bytes, new: MasterKey, extra: dict[str, MasterKey]) -> None:
    old = extra.get(row.master_id) or master_key(row.master_id)
    row.wrapped, row.master_id = new.wrap(old.unwrap(bytes(row.wrapped), context), context), new.id
    row.save(update_fields=["wrapped", "master"])


def fault() -> str:
    """Return why this process cannot use its master key; empty if it can, or is a node, which has none. Raises DatabaseError."""
    if handouts.is_node():
        return ""
    current = MasterKeyRecord.objects.filter(current=True).values_list("id", flat=True).first()
    try:
        key = given()
        if current is not None:
            master_key(current)
    except KeyUnavailable:
        if current is None:
            return (
                "EXCHEQUER_MASTER_KEY is not set. It encrypts stored files; create one with `openssl rand -base64 32`."
            )
        return (
            f"EXCHEQUER_MASTER_KEY is not the key that this installation's files are encrypted under ({current}): "
            "give that key, or EXCHEQUER_MASTER_KEY_PREVIOUS beside a new one."
        )
    return "" if key else "EXCHEQUER_MASTER_KEY is not set."


def _handed_out(tenant_id: UUID, key_id: UUID | None) -> DataKey:
    try:
        work = handouts.current(tenant_id)
        if key_id not in work.keys:
            answer = handouts.ask(work, "key", **({"key": str(key_id)} if key_id else {}))
            found = UUID(answer["id"]), base64.b64decode(answer["secret"], validate=True)
            work.keys[key_id] = work.keys[found[0]] = found
    except handouts.Unknown as error:
        raise UnknownKey from error
    except (handouts.NotHandedOut, KeyError, ValueError) as error:
        raise KeyUnavailable from error
    return DataKey(*work.keys[key_id])


@lru_cache(maxsize=KEPT_KEYS)
def _unwrapped(key_id: UUID, tenant_id: UUID, version: int, wrapped: bytes, master_id: str) -> DataKey:
    """Unwrap once per process: the row is read each time, so a removed key stops working at once."""
    return DataKey(key_id, master_key(master_id).unwrap(wrapped, _context(tenant_id, key_id, version)))


def in_use() -> MasterKey:
    """Return the master key in use: the first one given to this installation, until it is rotated."""
    known = MasterKeyRecord.objects.filter(current=True)
    row = known.first()
    if row is None:
        MasterKeyRecord.objects.bulk_create([MasterKeyRecord(id=given().id)], ignore_conflicts=True)
        row = known.get()
    return master_key(row.id)


def platform_context(key_id: UUID) -> bytes:
    """Return what is authenticated with the wrapped platform key."""
    return f"exchequer platform key 1|{key_id}".encode()


def lock_shared() -> None:
    """Keep the master key from being replaced until the transaction ends."""
    _lock("pg_advisory_xact_lock_shared")


def _context(tenant_id: UUID, key_id: UUID, version: int) -> bytes:
    return f"exchequer data key 1|{tenant_id}|{key_id}|{version}".encode()


def _lock(function: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [LOCK])
