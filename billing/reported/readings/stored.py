"""Readings as they are stored, and what of their series a change of some can touch. Each kind of look-up is one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import MeterReading
from billing.pg_arrays import array, bytea, iso, parsed
from billing.rating.aggregation import LATEST, MAX, TIME_WEIGHTED, UNIQUE, Reading
from billing.reported.counter_entries import StoredPiece
from billing.usage.intervals import Interval, digest
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

LOCK = "SELECT count(pg_advisory_xact_lock(hashtextextended('billing.readings' || %s || g, 0))) FROM unnest(%s::text[]) AS g"
COLUMNS = """r.key_hash, r.group_hash, m.key AS meter, r.meter_id, m.aggregation, r.project_id, r.batch_id, r.period, r.at, r.value, r.label,
  r.source, r.resource, r.dims, r.hold_id"""
FROM = "billing_meterreading r JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id"
LIVE = "r.tenant_id = %(tenant)s AND r.voided_at IS NULL"
BY_KEY = f"SELECT {COLUMNS} FROM {FROM} WHERE r.tenant_id = %(tenant)s AND r.key_hash = ANY(%(keys)s::bytea[])"  # noqa: S608
# The one reading of a series' month, or of a label in it, that counts.
ONE = f"""
SELECT {COLUMNS} FROM unnest(%(groups)s::bytea[], %(months)s::date[], %(labels)s::text[]) AS g(hash, month, label)
CROSS JOIN LATERAL (
  SELECT * FROM billing_meterreading r WHERE {LIVE} AND r.group_hash = g.hash AND r.period = g.month AND r.label = g.label
  ORDER BY {{order}} LIMIT 1) r
JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
"""  # noqa: S608
ORDERS = {
    MAX: "r.value DESC, r.at, r.key_hash",
    LATEST: "r.at DESC, r.value DESC, r.key_hash DESC",
    UNIQUE: "r.at, r.key_hash",
}
PIECE = "p.key_hash, p.reading_key, p.group_hash, p.series_hash, p.starts_at, p.ends_at, p.quantity"
COUNTED = {
    MAX: f"""
SELECT {PIECE} FROM unnest(%(groups)s::bytea[], %(months)s::date[], %(labels)s::text[]) AS g(hash, month, label)
JOIN billing_meterpiece p ON p.tenant_id = %(tenant)s AND p.group_hash = g.hash AND p.voided_at IS NULL
JOIN billing_meterreading r ON r.tenant_id = %(tenant)s AND r.key_hash = p.reading_key AND r.period = g.month
""",  # noqa: S608
    UNIQUE: f"""
SELECT {PIECE} FROM unnest(%(groups)s::bytea[], %(months)s::date[], %(labels)s::text[]) AS g(hash, month, label)
JOIN billing_meterreading r ON r.tenant_id = %(tenant)s AND r.group_hash = g.hash AND r.period = g.month AND r.label = g.label
JOIN billing_meterpiece p ON p.tenant_id = %(tenant)s AND p.reading_key = r.key_hash AND p.voided_at IS NULL
""",  # noqa: S608
}
COUNTED[LATEST] = COUNTED[MAX]
# From the last reading before a change to the first one after it.
WINDOWS = f"""
SELECT g.hash, coalesce((SELECT max(r.at) FROM billing_meterreading r WHERE {LIVE} AND r.group_hash = g.hash AND r.at < g.first), g.first) AS since,
  (SELECT min(r.at) FROM billing_meterreading r WHERE {LIVE} AND r.group_hash = g.hash AND r.at > g.last) AS until
FROM unnest(%(groups)s::bytea[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS g(hash, first, last)
"""  # noqa: S608
WITHIN = f"""
SELECT {COLUMNS} FROM unnest(%(groups)s::bytea[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS w(hash, since, until)
JOIN billing_meterreading r ON {LIVE} AND r.group_hash = w.hash AND r.at >= w.since AND r.at <= coalesce(w.until, 'infinity')
JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
"""  # noqa: S608
SPANS = f"""
SELECT {PIECE} FROM unnest(%(groups)s::bytea[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS w(hash, since, until)
JOIN billing_meterpiece p ON p.tenant_id = %(tenant)s AND p.group_hash = w.hash AND p.voided_at IS NULL
  AND p.starts_at >= w.since AND p.starts_at < coalesce(w.until, 'infinity')
"""  # noqa: S608
DUE = f"""
SELECT {COLUMNS} FROM unnest(%(groups)s::bytea[]) AS g(hash)
CROSS JOIN LATERAL (SELECT * FROM billing_meterreading r WHERE {LIVE} AND r.group_hash = g.hash ORDER BY {ORDERS[LATEST]} LIMIT 1) r
JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored reading, with all that the usage it counts needs."""

    key_hash: bytes
    group_hash: bytes
    meter: str
    meter_id: UUID
    aggregation: str
    project_id: UUID
    batch_id: UUID
    period: date
    at: datetime
    value: Decimal
    label: str
    source: str
    resource: str
    dims: Mapping[str, str]
    hold_id: UUID | None

    @property
    def reading(self) -> Reading:
        """What decides between the readings of a series."""
        return Reading(self.key_hash, self.at, self.value, self.label)


@dataclass(slots=True)
class Neighbourhood:
    """The part of a series that a change touches: its readings, what they count now, and whether its end is open."""

    aggregation: str
    open_end: bool = False
    readings: list[Stored] = field(default_factory=list)
    counted: list[StoredPiece] = field(default_factory=list)


def group_of(usage: Interval, meter_id: UUID) -> bytes:
    """Return the hash of the series of a reading: who reports it does not matter."""
    dims = sorted(usage.dims.items())
    return digest(
        "series", meter_id.hex, usage.project_id.hex, usage.resource, *(text for pair in dims for text in pair)
    )


def lock_series(groups: Collection[bytes]) -> None:
    """Lock series to the end of the transaction, in order: after usage keys, before holds."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [str(current_tenant_id()), sorted(group.hex() for group in set(groups))])


def by_key(keys: Collection[bytes]) -> list[Stored]:
    """Return readings by their usage keys."""
    return _read(BY_KEY, {"keys": array(keys, bytea)}) if keys else []


def last_of(groups: Collection[bytes]) -> list[Stored]:
    """Return the last reading of each of these series."""
    return _read(DUE, {"groups": array(groups, bytea)})


def store(readings: Sequence[Stored]) -> None:
    """Store new readings."""
    MeterReading.objects.bulk_create(
        MeterReading(
            key_hash=one.key_hash,
            group_hash=one.group_hash,
            meter_id=one.meter_id,
            project_id=one.project_id,
            batch_id=one.batch_id,
            period=one.period,
            at=one.at,
            value=one.value,
            label=one.label,
            source=one.source,
            resource=one.resource,
            dims=dict(one.dims),
            hold_id=one.hold_id,
        )
        for one in readings
    )


def neighbourhoods(changed: Iterable[Stored]) -> list[Neighbourhood]:
    """Return what new or voided readings touch, of locked series."""
    by_kind: dict[str, list[Stored]] = defaultdict(list)
    for one in changed:
        by_kind[one.aggregation].append(one)
    found: list[Neighbourhood] = []
    for kind, readings in by_kind.items():
        found += _windows(readings) if kind == TIME_WEIGHTED else _places(kind, readings)
    return found


def _places(kind: str, changed: Sequence[Stored]) -> list[Neighbourhood]:
    places = {(one.group_hash, one.period, one.label): Neighbourhood(kind) for one in changed}
    asked: dict[str, Any] = {
        "groups": array((group for group, _, _ in places), bytea),
        "months": array((month for _, month, _ in places), iso),
        "labels": [label for _, _, label in places],
    }
    labels: dict[bytes, tuple[date, str]] = {}
    for one in _read(ONE.format(order=ORDERS[kind]), asked):
        places[one.group_hash, one.period, one.label].readings.append(one)
    counted = _pieces(COUNTED[kind], asked)
    labels = {one.key_hash: (one.period, one.label) for one in by_key({piece.reading_key for piece in counted})}
    for piece in counted:
        places[(piece.group_hash, *labels[piece.reading_key])].counted.append(piece)
    return list(places.values())


def _windows(changed: Sequence[Stored]) -> list[Neighbourhood]:
    moments: dict[bytes, list[datetime]] = defaultdict(list)
    for one in changed:
        moments[one.group_hash].append(one.at)
    asked: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "groups": array(moments, bytea),
        "firsts": array((min(found) for found in moments.values()), iso),
        "lasts": array((max(found) for found in moments.values()), iso),
    }
    with connection.cursor() as cursor:
        cursor.execute(WINDOWS, asked)
        windows = {bytes(row.hash): (row.since, row.until) for row in named_rows(cursor)}
    found = {group: Neighbourhood(TIME_WEIGHTED, open_end=until is None) for group, (_, until) in windows.items()}
    asked |= {
        "groups": array(windows, bytea),
        "since": array((since for since, _ in windows.values()), iso),
        "until": array((until for _, until in windows.values()), iso),
    }
    for one in _read(WITHIN, asked):
        found[one.group_hash].readings.append(one)
    for piece in _pieces(SPANS, asked):
        found[piece.group_hash].counted.append(piece)
    return list(found.values())


def _read(statement: str, asked: Mapping[str, Any]) -> list[Stored]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"tenant": current_tenant_id(), **asked})
        rows = named_rows(cursor)
    return [
        Stored(
            **row._asdict()
            | {"key_hash": bytes(row.key_hash), "group_hash": bytes(row.group_hash), "dims": parsed(row.dims)}
        )
        for row in rows
    ]


def _pieces(statement: str, asked: Mapping[str, Any]) -> list[StoredPiece]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"tenant": current_tenant_id(), **asked})
        rows = named_rows(cursor)
    hashes = ("key_hash", "reading_key", "group_hash", "series_hash")
    return [StoredPiece(**row._asdict() | {name: bytes(getattr(row, name)) for name in hashes}) for row in rows]
