"""Counter-entries: within an open month they reduce its sums, of a closed one they are corrections in an open month."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from billing.periods.months import billing_now
from billing.usage import rollups
from billing.usage.rollups import Segment


def take_back(counter_entries: Sequence[tuple[UUID, Segment]], *, zone: str) -> None:
    """Store counter-entries, each with the locked hourly sum that counted its usage first."""
    billing = billing_now([segment.day for _, segment in counter_entries])
    within, late = [], []
    for rollup_id, segment in counter_entries:
        segment.place.period = billing.of(segment.day)
        if segment.place.period == segment.month:
            within.append((rollup_id, segment))
        else:
            late.append(segment)
    if within:
        rollups.reverse(within)
    rollups.write(late, {}, zone=zone)
