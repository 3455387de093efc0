"""The key table deduplicates: an interval has an effect only if its key was inserted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from billing.pg_arrays import FROM_MICROS, array, bytea, micros
from billing.usage.intervals import KeyClaim
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict
from tenants.isolation.scoping import current_tenant_id

USAGE_CONFLICTED = AuditAction("billing.usage.conflicted")

INSERT = f"""
INSERT INTO billing_usagekey (tenant_id, key_hash, payload_hash, event_at, batch_id)
SELECT %(tenant)s, k.key, k.payload, {FROM_MICROS.format("k.at")}, %(batch)s::uuid
FROM unnest(%(keys)s::bytea[], %(payloads)s::bytea[], %(times)s::bigint[]) AS k(key, payload, at)
ORDER BY k.key ON CONFLICT DO NOTHING RETURNING key_hash
"""  # noqa: S608
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
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            {
                "tenant": current_tenant_id(),
                "batch": batch_id,
                "keys": array(first, bytea),
                "payloads": array((item.payload_hash for item in first.values()), bytea),
                "times": array((item.interval.start for item in first.values()), micros),
            },
        )
        inserted = {bytes(row[0]) for row in cursor.fetchall()}
        replayed = {key: item for key, item in first.items() if key not in inserted}
        if replayed:
            cursor.execute(KNOWN, [current_tenant_id(), array(replayed, bytea)])
            counts |= {bytes(key): bytes(payload) for key, payload in cursor.fetchall()}
    # The stored content decides, else the first in this batch.
    clashes = [item for item in claims if counts[item.key_hash] != item.payload_hash]
    return Claimed([item for key, item in first.items() if key in inserted], clashes)


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
