"""Signed checkpoints: who rewrites a whole chain in the database cannot rewrite what was signed and lies elsewhere.

The `ops` process alone holds the signing key. Each checkpoint goes to the object store first, then into a table.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import connection

from tenants.audit.chain import plain
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import AuditCheckpoint, AuditPublicKey, OperatorHead, PlatformCheckpoint

EVERY_S, EVERY_ENTRIES, AT_ONCE = 600, 1_000, 500
PLATFORM_CHAIN = "platform"
FORMAT = "exchequer audit checkpoint 1"
SIGNED = ("at", "chain", "format", "hash", "key_id", "seq")
DUE = """
SELECT h.tenant_id, h.seq, h.hash FROM tenants_audithead h LEFT JOIN LATERAL (
  SELECT c.seq, c.at FROM tenants_auditcheckpoint c WHERE c.tenant_id = h.tenant_id ORDER BY c.seq DESC LIMIT 1) last ON true
WHERE h.seq > coalesce(last.seq, 0)
  AND (last.seq IS NULL OR h.seq - last.seq >= %s OR last.at <= exchequer_now() - make_interval(secs => %s))
ORDER BY last.at NULLS FIRST, h.tenant_id
"""

Keep = Callable[[str, bytes], None]
Kept = Callable[[str, str, str], Iterator[tuple[str, bytes]]]
Signed = Callable[[UUID, Mapping[str, Any]], None]
_keep: list[Keep] = []
_kept: list[Kept] = []
_signed: list[Signed] = []


def register(keep: Keep, kept: Kept) -> None:
    """Register who writes and reads files of the object store, an upper app: `keep(name, content)`, and
    `kept(folder, first, last)`, which yields names and contents of those whose names lie between two, in order.
    """
    _keep.append(keep)
    _kept.append(kept)


def on_signed(pass_on: Signed) -> None:
    """Register what happens with a new checkpoint of a tenant, in its scope: `pass_on(row_id, exported checkpoint)`."""
    _signed.append(pass_on)


@dataclass(frozen=True)
class Head:
    """Where a chain stands. `tenant_id` is None for the operator log."""

    tenant_id: UUID | None
    seq: int
    hash: bytes

    @property
    def chain(self) -> str:
        """Return the name of the chain."""
        return str(self.tenant_id) if self.tenant_id else PLATFORM_CHAIN


@dataclass(frozen=True)
class PublicKey:
    """A key that signs checkpoints; `public_key` is raw Ed25519 in base64."""

    id: str
    public_key: str
    created_at: datetime


def sign_due() -> int:
    """Sign the heads of up to `AT_ONCE` chains that are due (control role, no transaction open); return how many.

    Nothing without the signing key. A chain is due with its first entry, then after 10 minutes or 1,000 entries.
    Raises SweepFailed if some could not be signed.
    """
    if not settings.EXCHEQUER.audit_key:
        return 0
    key = signing_key()
    AuditPublicKey.objects.get_or_create(
        id=key_id(key.public_key()), defaults={"public": key.public_key().public_bytes_raw()}
    )
    signed = 0
    with sweep("checkpoints") as each:
        for head in each.over(_due(), AT_ONCE):
            with each(chain=head.chain):
                _sign(key, head)
                signed += 1
    return signed


def signing_key() -> Ed25519PrivateKey:
    """Return the key given to this process."""
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(settings.EXCHEQUER.audit_key))


def key_id(public: Ed25519PublicKey) -> str:
    """Return the fingerprint of a public key."""
    return "ed25519:" + hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def public_keys() -> list[PublicKey]:
    """Return every key that ever signed here, the first first."""
    return [
        PublicKey(row.id, base64.b64encode(bytes(row.public)).decode(), row.created_at)
        for row in AuditPublicKey.objects.order_by("created_at")
    ]


def message(said: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed: the named fields, sorted keys, no white space."""
    return json.dumps({name: said[name] for name in SIGNED}, sort_keys=True, separators=(",", ":")).encode()


def exported(rows: Iterable[AuditCheckpoint | PlatformCheckpoint]) -> Iterator[dict[str, Any]]:
    """Yield stored checkpoints as they are exported, with their signatures in hexadecimal."""
    for row in rows:
        chain = str(row.tenant_id) if isinstance(row, AuditCheckpoint) else PLATFORM_CHAIN
        yield _said(chain, row.seq, bytes(row.hash), row.at, row.signed_by) | {"signature": bytes(row.signature).hex()}


def copies(chain: str, first: int, last: int) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a chain in the object store, of the checkpoints from entry `first` to `last`, with their names."""
    for kept in _kept:
        yield from kept(f"{chain}/", _name(chain, first), _name(chain, last))


def copied(chain: str, name: str, content: bytes) -> dict[str, Any]:
    """Return the checkpoint in a file of the object store. Raises ValueError if it holds none, or not that of its name."""
    try:
        said: dict[str, Any] = json.loads(content)
        bytes.fromhex(said["signature"])
        if not set(SIGNED) <= set(said) or name != _name(said["chain"], said["seq"]) or said["chain"] != chain:
            raise ValueError(name)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the file {name} in the object store is not the checkpoint that it is named after") from error
    return said


def signature_fault(said: Mapping[str, Any], keys: Mapping[str, bytes]) -> str:
    """Return why a checkpoint proves nothing under these public keys; empty if it does."""
    public = keys.get(said["key_id"])
    if public is None:
        return f"the checkpoint at entry {said['seq']} is signed with an unknown key ({said['key_id']})"
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(said["signature"]), message(said))
    except InvalidSignature:
        return f"the signature of the checkpoint at entry {said['seq']} is not valid"
    return ""


def _due() -> list[Head]:
    with connection.cursor() as cursor:
        cursor.execute(DUE, [EVERY_ENTRIES, EVERY_S])
        due = [Head(tenant_id, seq, bytes(head)) for tenant_id, seq, head in cursor.fetchall()]
    head = OperatorHead.objects.get()
    last = PlatformCheckpoint.objects.order_by("-seq").first()
    if head.seq > (last.seq if last else 0) and (
        last is None or head.seq - last.seq >= EVERY_ENTRIES or (now() - last.at).total_seconds() >= EVERY_S
    ):
        due.append(Head(None, head.seq, bytes(head.hash)))
    return due


def _sign(key: Ed25519PrivateKey, head: Head) -> None:
    at, signed_by = now(), key_id(key.public_key())
    said = _said(head.chain, head.seq, head.hash, at, signed_by)
    signature = key.sign(message(said))
    line = json.dumps(said | {"signature": signature.hex()}, sort_keys=True) + "\n"
    for keep in _keep:
        keep(_name(head.chain, head.seq), line.encode())
    row = {"seq": head.seq, "hash": head.hash, "at": at, "signed_by": signed_by, "signature": signature}
    if head.tenant_id is None:
        PlatformCheckpoint.objects.bulk_create([PlatformCheckpoint(**row)], ignore_conflicts=True)
        return
    with tenant_scope(head.tenant_id):
        (stored,) = AuditCheckpoint.objects.bulk_create([AuditCheckpoint(**row)], ignore_conflicts=True)
        for pass_on in _signed:
            pass_on(stored.id, said | {"signature": signature.hex()})


def _name(chain: str, seq: int) -> str:
    return f"{chain}/{seq:012d}.jsonl"


def _said(chain: str, seq: int, digest: bytes, at: datetime, signed_by: str) -> dict[str, Any]:
    values = {"chain": chain, "seq": seq, "hash": digest, "at": at, "key_id": signed_by, "format": FORMAT}
    return {name: plain(value) for name, value in values.items()}
