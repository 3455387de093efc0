"""Counter-entries of reported usage: what was stored is read, and taken back in money, budgets and sums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.pg_arrays import array, bytea, iso, parsed
from billing.queries.calendar import tenant_currencies, tenant_today
from billing.rating.calendar import hour_of
from billing.rating.tags import tags_in
from billing.reported.returns import Taken, return_money
from billing.usage.corrections import take_back
from billing.usage.intervals import void_key
from billing.usage.reserved_sources import own_sources
from billing.usage.rollups import Place, Segment
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

SEGMENTS = """
SELECT e.key_hash, e.part, e.series_hash AS series, e.started_at AS start, e.ended_at AS "end", e.period, e.day, e.meter_id, e.project_id, e.price_id, e.rate_id,
  e.measured, e.billable, e.amount, e.discount, e.batch_id, e.hold_id, e.recorded_at, s.dims, b.person
FROM {found}
JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash
LEFT JOIN billing_usagebatch b ON b.tenant_id = e.tenant_id AND b.id = e.batch_id
WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage'"""
KEYED = (
    SEGMENTS.format(found="billing_usageevent e")
    + " AND (%(keys)s::bytea[] IS NULL OR e.key_hash = ANY(%(keys)s::bytea[])) AND "
)
# Of meters that take readings, the readings are voided, and what they count follows.
OF_BATCHES = (
    KEYED
    + """e.batch_id = ANY(%(batches)s::uuid[]) AND NOT EXISTS (
  SELECT FROM billing_meter m WHERE m.tenant_id = e.tenant_id AND m.id = e.meter_id AND m.aggregation NOT IN ('sum', 'count'))"""
)
# Reported before senders were recorded: from none of the platform's own sources, and not paid from a hold.
BEFORE_SENDERS = KEYED + "e.batch_id IS NULL AND e.hold_id IS NULL AND s.source <> ALL(%(own)s::text[])"
OF_PIECES = SEGMENTS.format(
    found="unnest(%(series)s::bytea[], %(starts)s::timestamptz[], %(keys)s::bytea[]) AS k(series, at, key) "
    "JOIN billing_usageevent e ON e.series_hash = k.series AND e.started_at = k.at AND e.key_hash = k.key"
)
OF_PLACE = ("day", "period", "meter_id", "project_id", "price_id", "rate_id")
NAMES = ("part", "start", "end", "measured", "billable", "amount", "discount", "batch_id", "hold_id")
CLAIM = """
INSERT INTO billing_usagekey (tenant_id, key_hash, payload_hash, event_at, batch_id)
SELECT %s, k, k, exchequer_now(), NULL FROM unnest(%s::bytea[]) AS k ORDER BY k ON CONFLICT DO NOTHING RETURNING key_hash
"""
# In the lock order of usage.
ROLLUPS = """
SELECT r.id, r.series_hash, r.hour, r.day, r.period, r.project_id, r.meter_id, r.price_id, r.rate_id FROM billing_usagerollup r
WHERE r.tenant_id = %s AND r.series_hash = ANY(%s::bytea[]) AND r.hour = ANY(%s::timestamptz[])
ORDER BY r.series_hash, r.hour, r.day, r.period, r.project_id, r.meter_id, r.price_id, r.rate_id FOR NO KEY UPDATE OF r
"""


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """What a reading counts: usage under `key_hash` in the series `series_hash`; `group_hash` is the series of the reading."""

    key_hash: bytes
    reading_key: bytes
    group_hash: bytes
    series_hash: bytes
    starts_at: datetime
    ends_at: datetime
    quantity: Decimal


def claim_voids(keys: Iterable[bytes]) -> set[bytes]:
    """Claim the keys of counter-entries, in order; return those of these keys that were not voided before."""
    marks = {void_key(key): key for key in keys}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [current_tenant_id(), array(marks, bytea)])
        return {marks[bytes(key)] for (key,) in cursor.fetchall()}


def reverse(taken: Sequence[Taken], reason: str) -> None:
    """Write the counter-entries of segments whose voids are claimed."""
    if taken:
        return_money(taken, reason)
        _return_usage(taken)


def of_events(which: str, batches: Collection[UUID], keys: Sequence[bytes] | None) -> list[Taken]:
    """Return the segments of events: OF_BATCHES or BEFORE_SENDERS, of these keys if some are given."""
    named = None if keys is None else array(keys, bytea)
    return _segments(which, {"batches": list(batches), "keys": named, "own": own_sources()})


def of_pieces(pieces: Sequence[StoredPiece]) -> list[Taken]:
    """Return the segments of what readings count."""
    places: dict[str, Any] = {
        "series": array((one.series_hash for one in pieces), bytea),
        "starts": array((one.starts_at for one in pieces), iso),
        "keys": array((one.key_hash for one in pieces), bytea),
    }
    return _segments(OF_PIECES, places) if pieces else []


def _segments(which: str, arguments: dict[str, Any]) -> list[Taken]:
    with connection.cursor() as cursor:
        cursor.execute(which, {"tenant": current_tenant_id(), **arguments})
        rows = named_rows(cursor)
    currencies = tenant_currencies()
    return [
        Taken(
            Segment(
                Place(
                    series=bytes(row.series),
                    hour=hour_of(row.start),
                    currency=currencies.of(row.day),
                    **{name: getattr(row, name) for name in OF_PLACE},
                ),
                key_hash=bytes(row.key_hash),
                **{name: getattr(row, name) for name in NAMES},
            ),
            row.recorded_at,
            tags_in(parsed(row.dims)),
            row.person,
        )
        for row in rows
    ]


def _return_usage(taken: Sequence[Taken]) -> None:
    segments = [item.segment for item in taken]
    with connection.cursor() as cursor:
        series = array({segment.series for segment in segments}, bytea)
        hours = list({segment.place.hour for segment in segments})
        cursor.execute(ROLLUPS, [current_tenant_id(), series, hours])
        sums = {(bytes(series), *place): rollup_id for rollup_id, series, *place in cursor.fetchall()}
    entries = []
    for segment in segments:
        at = segment.place
        place = (at.series, at.hour, at.day, at.period, at.project_id, at.meter_id, at.price_id, at.rate_id)
        counter_entry = replace(
            segment,
            place=replace(at),  # its period may become a later one
            key_hash=void_key(segment.key_hash),
            measured=-segment.measured,
            billable=-segment.billable,
            amount=-segment.amount,
            discount=-segment.discount,
            kind="void",
        )
        entries.append((sums[place], counter_entry))
    take_back(entries, zone=tenant_today().zone)
