"""Verify a chain, a tenant's or the platform's: every entry links to the one before it, none is missing, the head is the last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tenants.audit.chain import FIELDS, GENESIS, PLATFORM, PLATFORM_FIELDS, TENANT, VERSION, Versions, link
from tenants.models import AuditEntry, AuditHead, OperatorAct, OperatorHead


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


def verify_entries(
    entries: Iterable[Mapping[str, Any]], head_seq: int, head_hash: bytes, versions: Versions = TENANT
) -> ChainCheck:
    """Walk entries in order of `seq` and compare the last with the head. Pure; see `chain` for the hash."""
    expected, previous, version = 0, GENESIS, 1
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


def verify() -> ChainCheck:
    """Verify the chain of the tenant whose scope is open, streaming; memory stays constant.

    The head is read first: entries that commit meanwhile lie beyond it and wait for the next run.
    """
    head = AuditHead.objects.first()
    head_seq, head_hash = (head.seq, bytes(head.hash)) if head else (0, GENESIS)
    rows = AuditEntry.objects.filter(seq__lte=head_seq).order_by("seq").values("prev_hash", "hash", *FIELDS)
    check = verify_entries(rows.iterator(chunk_size=2000), head_seq, head_hash)
    if check.ok:
        beyond = AuditEntry.objects.filter(seq__gt=head_seq).order_by("seq").values_list("seq", flat=True).first()
        fresh = AuditHead.objects.values_list("seq", flat=True).first() or 0
        if beyond is not None and beyond > fresh:
            return ChainCheck(
                check.entries,
                head_seq,
                beyond,
                f"entry {beyond} lies beyond the head",
            )
    return check


def verify_platform() -> ChainCheck:
    """Verify the chain of the operator log, as `verify` does a tenant's (control and console)."""
    head = OperatorHead.objects.get()
    rows = OperatorAct.objects.filter(seq__lte=head.seq).order_by("seq").values("prev_hash", "hash", *PLATFORM_FIELDS)
    check = verify_entries(rows.iterator(chunk_size=2000), head.seq, bytes(head.hash), PLATFORM)
    beyond = OperatorAct.objects.filter(seq__gt=OperatorHead.objects.get().seq).order_by("seq").first()
    if check.ok and beyond is not None:
        return ChainCheck(check.entries, head.seq, beyond.seq, f"entry {beyond.seq} lies beyond the head")
    return check
