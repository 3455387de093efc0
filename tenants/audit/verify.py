"""Verify a chain, a tenant's or the platform's: every entry links to the one before it, none is missing, the head is the last."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, QuerySet

from tenants.audit.chain import FIELDS, GENESIS, PLATFORM, PLATFORM_FIELDS, TENANT, VERSION, Versions, link
from tenants.audit.checkpoints import PLATFORM_CHAIN, copied, copies, exported, signature_fault
from tenants.audit.queries import batched
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import (
    AuditCheckpoint,
    AuditEntry,
    AuditHead,
    AuditPublicKey,
    OperatorAct,
    OperatorHead,
    PlatformCheckpoint,
)

#: Entries that one request verifies: about half a second.
PART = 10_000
#: Checkpoints that are compared at a time, and the largest number of an entry that the name of a file takes.
AT_ONCE, LAST = 500, 10**12 - 1


@dataclass(frozen=True)
class ChainCheck:
    """Result of a verification. `bad_seq` and `fault` name the first entry that does not fit."""

    entries: int
    head_seq: int
    bad_seq: int | None = None
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Return whether no fault was found."""
        return self.bad_seq is None


@dataclass(frozen=True)
class CopiesCheck:
    """Result of comparing a chain with its signed checkpoints in the object store.

    `missing`: how many checkpoints of the database have no file there. `fault` is empty if nothing contradicts.
    """

    files: int
    missing: int = 0
    fault: str = ""


@dataclass(frozen=True)
class Part:
    """The verification of a part of a chain. `next_seq` begins the next part; None at the end, and after a fault."""

    first_seq: int
    head_seq: int
    check: ChainCheck
    next_seq: int | None


def verify_entries(
    entries: Iterable[Mapping[str, Any]],
    head_seq: int,
    head_hash: bytes,
    versions: Versions = TENANT,
    after: tuple[int, bytes] = (0, GENESIS),
) -> ChainCheck:
    """Walk entries in order of `seq` and compare the last with the head. Pure; see `chain` for the hash.

    `after` is number and hash of the entry before the first one, which is taken as valid.
    """
    (expected, previous), version = after, 1
    for entry in entries:
        expected += 1
        if entry["seq"] != expected:
            return ChainCheck(
                expected - 1,
                head_seq,
                expected,
                f"entry {expected} is missing; the next one is {entry['seq']}",
            )
        if bytes(entry["prev_hash"]) != previous:
            return ChainCheck(
                expected - 1,
                head_seq,
                expected,
                f"entry {expected} does not follow entry {expected - 1}",
            )
        if not version <= entry["schema_version"] <= VERSION:
            return ChainCheck(
                expected - 1,
                head_seq,
                expected,
                f"entry {expected} has the unexpected version {entry['schema_version']}",
            )
        version = entry["schema_version"]
        if link(previous, entry, versions) != bytes(entry["hash"]):
            return ChainCheck(
                expected - 1,
                head_seq,
                expected,
                f"entry {expected} was changed after it was written",
            )
        previous = bytes(entry["hash"])
    if expected != head_seq or previous != head_hash:
        return ChainCheck(
            expected,
            head_seq,
            expected + 1,
            f"the log ends at entry {expected}, its head says {head_seq}",
        )
    return ChainCheck(expected, head_seq)


def verify(first: int = 1, last: int | None = None) -> ChainCheck:
    """Verify the chain of the tenant whose scope is open, streaming; memory stays constant.

    The head is read first: entries that commit meanwhile lie beyond it and wait for the next run. Of a part from `first`
    to `last` the entry before it is taken as valid, and the one after it, if any, in place of the head.
    """
    head = AuditHead.objects.first()
    head_seq, head_hash = (head.seq, bytes(head.hash)) if head else (0, GENESIS)
    if last is not None and last < head_seq:
        following = AuditEntry.objects.filter(seq=last + 1).first()
        head_seq, head_hash = last, bytes(following.prev_hash) if following else b""
    before = AuditEntry.objects.filter(seq=first - 1).first() if first > 1 else None
    if first > 1 and before is None:
        return ChainCheck(first - 2, head_seq, first - 1, f"entry {first - 1} is missing")
    after = (before.seq, bytes(before.hash)) if before else (0, GENESIS)
    rows = AuditEntry.objects.filter(seq__gt=after[0], seq__lte=head_seq).order_by("seq")
    walked = rows.values("prev_hash", "hash", *FIELDS).iterator(chunk_size=2000)
    check = verify_entries(walked, head_seq, head_hash, after=after)
    if check.ok and last is None:
        beyond = AuditEntry.objects.filter(seq__gt=head_seq).order_by("seq").values_list("seq", flat=True).first()
        fresh = AuditHead.objects.values_list("seq", flat=True).first() or 0
        if beyond is not None and beyond > fresh:
            return ChainCheck(
                check.entries,
                head_seq,
                beyond,
                f"entry {beyond} lies beyond the head",
            )
    signed = AuditCheckpoint.objects.filter(seq__gt=after[0], seq__lte=head_seq).order_by("seq")
    return _against(check, head_seq, signed, AuditEntry.objects.all())


def verify_part(first_seq: int = 1) -> Part:
    """Verify up to `PART` entries of the open scope's chain from one on, so that a request ends whatever the log holds.

    Raises Invalid for a number beyond the log.
    """
    head_seq = AuditHead.objects.values_list("seq", flat=True).first() or 0
    if first_seq > max(head_seq, 1):
        raise Invalid(fields={"from": [f"The log has {head_seq} entries."]})
    last = first_seq + PART - 1
    ends = last >= head_seq
    check = verify(first_seq, None if ends else last)
    return Part(first_seq, head_seq, check, None if ends or not check.ok else last + 1)


def verify_newest() -> Part:
    """Verify the newest `PART` entries, of a shorter log all."""
    head_seq = AuditHead.objects.values_list("seq", flat=True).first() or 0
    return verify_part(max(1, head_seq - PART + 1))


def verify_platform() -> ChainCheck:
    """Verify the chain of the operator log, as `verify` does a tenant's (control and console)."""
    head = OperatorHead.objects.get()
    rows = OperatorAct.objects.filter(seq__lte=head.seq).order_by("seq").values("prev_hash", "hash", *PLATFORM_FIELDS)
    check = verify_entries(rows.iterator(chunk_size=2000), head.seq, bytes(head.hash), PLATFORM)
    beyond = OperatorAct.objects.filter(seq__gt=OperatorHead.objects.get().seq).order_by("seq").first()
    if check.ok and beyond is not None:
        return ChainCheck(check.entries, head.seq, beyond.seq, f"entry {beyond.seq} lies beyond the head")
    return _against(check, head.seq, PlatformCheckpoint.objects.order_by("seq"), OperatorAct.objects.all())


def verify_copies(tenant_id: UUID | None, first: int = 1, last: int | None = None) -> CopiesCheck:
    """Compare a chain, the operator log's without a tenant, with its checkpoints in the object store (control role).

    Who rewrites a chain in the database can rewrite its table of checkpoints, too. No transaction may be open: files are
    read before the one that compares `AT_ONCE` of them. Raises Unavailable if the store does not answer.
    """
    chain, end = str(tenant_id or PLATFORM_CHAIN), LAST if last is None else last
    with _rows_of(tenant_id) as (stored, _):
        keys = {row.id: bytes(row.public) for row in AuditPublicKey.objects.all()}
        known = stored.filter(seq__gte=first, seq__lte=end).aggregate(newest=Max("seq"), number=Count("seq"))
    files = found = 0
    for some in batched(copies(chain, first, end), AT_ONCE):
        try:
            signed = [copied(chain, name, content) for name, content in some]
        except ValueError as error:
            return CopiesCheck(files, fault=str(error))
        with _rows_of(tenant_id) as (stored, entries):
            seqs = {said["seq"] for said in signed}
            found += stored.filter(seq__in=seqs, seq__lte=known["newest"] or 0).count()
            _, fault = _contradiction(signed, keys, entries)
        if fault:
            return CopiesCheck(files, fault=fault)
        files += len(signed)
    return CopiesCheck(files, max(0, known["number"] - found))


@contextmanager
def _rows_of(tenant_id: UUID | None) -> Iterator[tuple[QuerySet[Any], QuerySet[Any]]]:
    """Open the scope of a chain; yields its checkpoints and its entries."""
    if tenant_id is None:
        yield PlatformCheckpoint.objects.all(), OperatorAct.objects.all()
        return
    with tenant_scope(tenant_id):
        yield AuditCheckpoint.objects.all(), AuditEntry.objects.all()


def _against(check: ChainCheck, head_seq: int, stored: QuerySet[Any], entries: QuerySet[Any]) -> ChainCheck:
    """Return the check, or the first checkpoint that the chain or its signature contradicts."""
    if not check.ok:
        return check
    keys = {row.id: bytes(row.public) for row in AuditPublicKey.objects.all()}
    for some in batched(exported(stored.iterator(chunk_size=AT_ONCE)), AT_ONCE):
        bad_seq, fault = _contradiction(some, keys, entries)
        if fault:
            return ChainCheck(check.entries, head_seq, bad_seq, fault)
    return check


def _contradiction(signed: list[dict[str, Any]], keys: Mapping[str, bytes], entries: QuerySet[Any]) -> tuple[int, str]:
    """Return the first of these checkpoints that its signature or the chain contradicts, and why; empty if none."""
    hashes = dict(entries.filter(seq__in=[one["seq"] for one in signed]).values_list("seq", "hash"))
    for said in signed:
        fault = signature_fault(said, keys)
        if not fault and bytes(hashes.get(said["seq"], b"")).hex() != said["hash"]:
            fault = f"the log was rewritten: entry {said['seq']} is not the one that was signed at {said['at']}"
        if fault:
            return said["seq"], fault
    return 0, ""
