"""Usage as it is reported: an interval, its key, and the series that its quantity is summed under."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Interval:
    """Time `[start, end)` for which a resource was used; the quantity is its seconds, unless one is given.

    A given `quantity` is a count that belongs to the moment `start`: it is never split, and `end` only says how long
    it took. (`source`, `key`) counts once for ever within a tenant; the same with other content is a conflict. What was
    sent is the `content` where the interval itself does not tell it, such as of an event that names no time.
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


@dataclass(frozen=True, slots=True)
class Series:
    """What usage is told apart by, beside meter, project and price. `hash` stands for it in every row.

    `dims` is JSON, `carried` what it says.
    """

    hash: bytes
    resource: str
    job_id: UUID | None
    attempt_id: UUID | None
    source: str
    dims: str
    carried: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """An interval with the hash of its key and of everything that it says, sixteen bytes each."""

    interval: Interval
    series: Series
    key_hash: bytes
    payload_hash: bytes


def claims(intervals: Iterable[Interval]) -> list[KeyClaim]:
    """Hash intervals; equal series share one object."""
    known: dict[tuple[object, ...], Series] = {}
    result = []
    for item in intervals:
        mark = (item.resource, item.job_id, item.attempt_id, item.source, *sorted(item.dims.items()))
        series = known.get(mark)
        if series is None:
            dims = json.dumps(dict(item.dims), sort_keys=True, separators=(",", ":"))
            hashed = digest(item.resource, str(item.job_id), str(item.attempt_id), item.source, dims)
            series = known[mark] = Series(
                hashed, item.resource, item.job_id, item.attempt_id, item.source, dims, item.dims
            )
        start, end = item.start.astimezone(UTC).isoformat(), item.end.astimezone(UTC).isoformat()
        counted = () if item.quantity is None else (str(item.quantity.normalize()),)
        said = (item.content,) if item.content else (item.project_id.hex, start, end, series.hash.hex(), *counted)
        payload = digest(item.meter, *said)
        result.append(KeyClaim(item, series, digest(item.source, item.key), payload))
    return result


def series_of(claimed: Iterable[KeyClaim]) -> dict[bytes, Series]:
    """Return the series of claims by their hash."""
    return {item.series.hash: item.series for item in claimed}


def digest(*parts: str) -> bytes:
    """Return sixteen bytes that stand for these texts in this order; each one's length keeps them apart."""
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def void_key(key: bytes) -> bytes:
    """Return the key of the counter-entries to an event: three parts, so that no (source, id) can take it."""
    return digest("void", key.hex(), "")
