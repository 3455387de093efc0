"""The key table deduplicates: an interval has an effect only if its key was inserted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from billing.pg_arrays import hashes, instants
from billing.usage.intervals import KeyClaim
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

USAGE_CONFLICTED = AuditAction("billing.usage.conflicted")

# Answers with the new keys only where some were known.
INSERT = """
WITH fresh AS (
  INSERT INTO billing_usagekey (tenant_id, key_hash, payload_hash, event_at, batch_id)
  SELECT %(tenant)s, k.key, k.payload, k.at, %(batch)s::uuid
  FROM unnest(%(keys)s::bytea[], %(payloads)s::bytea[], %(times)s::timestamptz[]) AS k(key, payload, at)
  ORDER BY k.key ON CONFLICT DO NOTHING RETURNING key_hash
)
SELECT CASE WHEN count(*) < cardinality(%(keys)s::bytea[]) THEN coalesce(array_agg(key_hash), '{}') END FROM fresh
"""
KNOWN = "SELECT key_hash, payload_hash FROM billing_usagekey WHERE tenant_id = %s AND key_hash = ANY(%s::bytea[])"


class UsageConflict(Conflict):
    """A known key was sent with different content. The first content counts."""

    code = "usage_conflict"


@dataclass(frozen=True, slots=True)
class Claimed:
    """Which claims were new, and which have a key known with other content."""

    fresh: list[KeyClaim]
    clashes: Sequence[KeyClaim] = ()

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The clashing keys, each once."""
        return tuple(dict.fromkeys(item.interval.key for item in self.clashes))


def claim(claims: Sequence[KeyClaim], batch_id: UUID | None = None) -> Claimed:
    """Insert the keys in one statement and return the claims with new keys; the caller audits the clashes.

    Keys are inserted in order, so that two batches never deadlock. `batch_id`: the reporting request that brought them.
    """
    first: dict[bytes, KeyClaim] = {}
    counts = {item.key_hash: first.setdefault(item.key_hash, item).payload_hash for item in claims}
    fresh = list(first.values())
    with prepared_cursor() as cursor:
        cursor.execute(
            INSERT,
            {
                "tenant": current_tenant_id(),
                "batch": batch_id,
                "keys": hashes(list(first)),
                "payloads": hashes([item.payload_hash for item in fresh]),
                "times": instants([item.start for item in fresh]),
            },
        )
        (inserted,) = cursor.fetchone()
        if inserted is not None:
            new = set(map(bytes, inserted))
            replayed = [key for key in first if key not in new]
            fresh = [item for key, item in first.items() if key in new]
            cursor.execute(KNOWN, [current_tenant_id(), hashes(replayed)])
            counts |= {bytes(key): bytes(payload) for key, payload in cursor.fetchall()}
    # The stored content decides, else the first in this batch.
    clashes = [item for item in claims if counts[item.key_hash] != item.payload_hash]
    return Claimed(fresh, clashes)


def report(clashes: Sequence[KeyClaim]) -> None:
    """Audit clashes, if there are any."""
    if clashes:
        _report(actor=Actor.system(current_tenant_id(), "metering"), clashes=clashes)


@operation(USAGE_CONFLICTED)
def _report(*, actor: Actor, clashes: Sequence[KeyClaim]) -> None:
    for item in clashes[:100]:
        usage = item.interval
        refused = {"start": usage.start, "end": usage.end, "resource": usage.resource, "meter": usage.meter}
        record(
            USAGE_CONFLICTED,
            actor=actor,
            target=("usage", item.key_hash.hex(), usage.key),
            changes={"source": [usage.source, usage.source], "refused": [None, refused]},
            reason=f"{len(clashes)} conflicting keys in one batch",
        )
