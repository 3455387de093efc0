"""Usage as reported: an interval, its key, and its series."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID


@dataclass(slots=True)  # one that is frozen takes three times as long to make
class Interval:
    """Time `[start, end)` of use of a resource; the quantity is its seconds, unless one is given.

    A given `quantity` is a count that belongs to the moment `start`: it is never split, and `end` only says how long it
    took. (`source`, `key`) counts once within a tenant; the same with other content is a conflict. `content` is what
    was sent, if the interval alone does not determine it, as for an event without a time. `hold_id`: the hold for outside
    work that a reported event names.
    """

    key: str
    meter: str
    resource: str
    project_id: UUID
    start: datetime
    end: datetime
    dims: Mapping[str, str] = field(default_factory=dict)
    job_id: UUID | None = None
    attempt_id: UUID | None = None
    source: str = ""
    quantity: Decimal | None = None
    content: str = ""
    hold_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """The identity of usage, besides meter, project and price. Rows refer to it by `hash`.

    `dims` is JSON, `carried` its decoded form.
    """

    hash: bytes
    resource: str
    job_id: UUID | None
    attempt_id: UUID | None
    source: str
    dims: str
    carried: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(slots=True)
class KeyClaim:
    """An interval with the hashes of its key and of its content, sixteen bytes each."""

    interval: Interval
    series: Series
    key_hash: bytes
    payload_hash: bytes


def claims(intervals: Iterable[Interval]) -> list[KeyClaim]:
    """Hash intervals; equal series share one object. What intervals of one kind have in common is written once."""
    kinds: dict[tuple[object, ...], tuple[Series, str, str]] = {}
    known: dict[bytes, Series] = {}
    result = []
    for item in intervals:
        kind = (
            item.resource,
            item.job_id,
            item.attempt_id,
            item.source,
            item.meter,
            item.project_id,
            *item.dims.items(),
        )
        found = kinds.get(kind)
        if found is None:
            made = _series(item)
            series = known.setdefault(made.hash, made)
            found = kinds[kind] = (series, framed(item.meter, item.project_id.hex), framed(series.hash.hex()))
        series, before, after = found
        if item.content:
            payload = _hash(f"{len(item.meter)}:{item.meter}{len(item.content)}:{item.content}")
        else:
            start, end = item.start.astimezone(UTC).isoformat(), item.end.astimezone(UTC).isoformat()
            counted = "" if item.quantity is None else framed(str(item.quantity.normalize()))
            payload = _hash(f"{before}{len(start)}:{start}{len(end)}:{end}{after}{counted}")
        key_hash = _hash(f"{len(item.source)}:{item.source}{len(item.key)}:{item.key}")
        result.append(KeyClaim(item, series, key_hash, payload))
    return result


def _series(item: Interval) -> Series:
    dims = json.dumps(dict(item.dims), sort_keys=True, separators=(",", ":"))
    hashed = digest(item.resource, str(item.job_id), str(item.attempt_id), item.source, dims)
    return Series(hashed, item.resource, item.job_id, item.attempt_id, item.source, dims, item.dims)


def series_of(claimed: Iterable[KeyClaim]) -> dict[bytes, Series]:
    """Return the series of claims by their hash."""
    return {item.series.hash: item.series for item in claimed}


def digest(*parts: str) -> bytes:
    """Return a sixteen-byte hash of these texts in this order; the length of each is included."""
    return _hash(framed(*parts))


def framed(*parts: str) -> str:
    """Return texts in one, each after its length."""
    return "".join([f"{len(part)}:{part}" for part in parts])


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def void_key(key: bytes) -> bytes:
    """Return the key of an event's counter-entries: three parts, so that no (source, id) can collide."""
    return digest("void", key.hex(), "")
