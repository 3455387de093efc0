"""People in the audit log: `person:ID` in every text, their label under a key of their own (`AuditSubject`).

The key is created with a person's first entry. A process without the master key writes the pseudonym alone; the next one
that holds it adds the label.

A pseudonym given with a key is a digest of the label and a secret salt: entries are hashed with it, so they prove the name to
a reader of an export, which has the salt. Once the salt is destroyed, they reveal nothing about the name. `deploy/verify_audit.py` checks it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from tenants.clock import DatabaseNow
from tenants.encryption import DataKey, KeyUnavailable, data_key
from tenants.encryption.keys import unwrapped
from tenants.encryption.subject_keys import fresh, has_master_key, seal, unseal, unwrap
from tenants.ids import uuid7, uuid8
from tenants.isolation.scoping import current_tenant_id
from tenants.models import AuditSubject, TenantKey
from tenants.rows import prepared_cursor

ERASED, UNKNOWN = "erased person", "unknown person"
LABEL = "label"
MOST_LABELS = 20_000
COMMITTED = 8
BY_DIGEST = """
SELECT s.id, s.reference, s.data_key_id, s.wrapped, s.label, s.erased_at{} FROM tenants_auditsubject s{}
WHERE s.tenant_id = %s AND s.reference = ANY(%s::bytea[])
"""
BARE = BY_DIGEST.format("", "")
WITH_KEYS = BY_DIGEST.format(
    ", k.version, k.wrapped, k.master_id",
    " LEFT JOIN tenants_datakey k ON k.tenant_id = s.tenant_id AND k.id = s.data_key_id",
)


@dataclass(frozen=True)
class Subject:
    """A person as the log knows them. `key` is None where this process holds no master key, or it is destroyed.

    `salt` proves the label; it is empty where the pseudonym was given without a key.
    """

    id: UUID
    key: bytes | None
    label: str = UNKNOWN
    salt: str = ""


def address(text: str) -> str:
    """Return the reference of a person by email address or, without one, by what labels them."""
    return f"address:{text.lower()}"


def account(account_id: UUID) -> str:
    """Return the reference of an account: its requests by key are under a key of their own."""
    return f"account:{account_id}"


def subjects_for(wanted: Mapping[str, str]) -> dict[str, Subject]:
    """Return the subject of each reference in the open scope, created if new; `wanted` maps references to labels.

    Call it before the head of the chain is locked: two who create the same person wait for each other, in one order.
    """
    if not wanted:
        return {}
    digests = {_digest(reference): reference for reference in wanted}
    found = _by_digest(digests)
    if missing := sorted(set(digests) - set(found)):
        rows = [AuditSubject(reference=digest) for digest in missing]
        for row in rows:
            _give_key(row, wanted[digests[bytes(row.reference or b"")]], is_new=True)
        AuditSubject.objects.bulk_create(rows, ignore_conflicts=True)
        found = _by_digest(digests)
    if has_master_key():
        for digest in sorted(digest for digest, row in found.items() if row.wrapped is None):
            row = found[digest]
            _give_key(row, wanted[digests[digest]], is_new=False)
            kept = {"data_key_id": row.data_key_id, "wrapped": row.wrapped, "label": row.label}
            if not AuditSubject.objects.filter(id=row.id, wrapped=None, erased_at=None).update(**kept):
                found |= _by_digest([digest])
    return {digests[digest]: _subject(row) for digest, row in found.items()}


def subjects_by_id(ids: Iterable[UUID]) -> dict[UUID, Subject]:
    """Return the known ones of these subjects of the open scope, in one statement."""
    wanted = set(ids)
    return {row.id: _subject(row) for row in _rows().filter(id__in=wanted)} if wanted else {}


def subjects_named(text: str) -> list[UUID]:
    """Return the subjects of the open scope whose label contains a text, ignoring case."""
    rows = _rows().exclude(label=None).order_by("-id")[:MOST_LABELS]
    return [row.id for row in rows if text.lower() in _subject(row).label.lower()]


def erase(references: Iterable[str]) -> list[UUID]:
    """Destroy the keys of the subjects with these references in the open scope; return their ids."""
    rows = AuditSubject.objects.filter(reference__in=[_digest(one) for one in references])
    ids = list(rows.select_for_update(no_key=True).order_by("reference").values_list("id", flat=True))
    AuditSubject.objects.filter(id__in=ids).update(
        reference=None, data_key=None, wrapped=None, label=None, erased_at=DatabaseNow()
    )
    return ids


def _rows() -> QuerySet[AuditSubject]:
    rows = AuditSubject.objects.all()
    return rows.select_related("data_key") if has_master_key() else rows


def _by_digest(digests: Iterable[bytes]) -> dict[bytes, AuditSubject]:
    tenant_id, found = current_tenant_id(), {}
    with prepared_cursor() as cursor:  # before each entry of the log
        cursor.execute(WITH_KEYS if has_master_key() else BARE, [tenant_id, list(digests)])
        for id, reference, key_id, wrapped, label, erased_at, *key in cursor.fetchall():
            row = AuditSubject(
                id=id, tenant_id=tenant_id, reference=reference, wrapped=wrapped, label=label, erased_at=erased_at
            )
            if key and key_id is not None:
                version, of_key, master_id = key
                row.data_key = TenantKey(
                    id=key_id, tenant_id=tenant_id, version=version, wrapped=of_key, master_id=master_id
                )
            found[bytes(reference)] = row
    return found


def _digest(reference: str) -> bytes:
    return hashlib.sha256(current_tenant_id().bytes + reference.encode()).digest()


def committed(label: str, salt: str) -> UUID:
    """Return the id that proves a label, given the salt."""
    return uuid8(hashlib.sha256(f"exchequer person\n{salt}\n{label}".encode()).digest())


def _give_key(row: AuditSubject, label: str, *, is_new: bool) -> None:
    """Give a subject its key and label, and a new one its id; no key without the master key: an entry never waits for one."""
    wrapper = _wrapper()
    salt = secrets.token_hex(16) if is_new and wrapper is not None and label else ""
    if is_new:
        row.id = committed(label, salt) if salt else uuid7()
    if wrapper is not None:
        key, row.wrapped = fresh(wrapper, row.id)
        row.data_key_id = wrapper.id
        row.label = seal(key, LABEL, row.id, f"{salt}\n{label}" if salt else label)


def _wrapper() -> DataKey | None:
    if not has_master_key():
        return None
    try:
        return data_key(current_tenant_id())
    except KeyUnavailable:
        return None


def _subject(row: AuditSubject) -> Subject:
    if row.erased_at is not None:
        return Subject(row.id, None, ERASED)
    if row.wrapped is None or not has_master_key() or row.data_key is None:
        return Subject(row.id, None)
    try:
        key = unwrap(unwrapped(row.data_key), row.id, bytes(row.wrapped))
        text = unseal(key, LABEL, row.id, bytes(row.label or b""))
    except KeyUnavailable:
        return Subject(row.id, None)
    salt, _, label = text.partition("\n") if row.id.version == COMMITTED else ("", "", text)
    return Subject(row.id, key, label or UNKNOWN, salt)
