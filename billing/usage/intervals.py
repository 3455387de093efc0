"""Usage as reported: an interval, its key, and its series."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from uuid import UUID

from billing.rating.quantity import WHOLE


@dataclass(slots=True)  # one that is frozen takes three times as long to make
class Interval:
    """Time `[start, end)` of use of a resource; the quantity is its seconds, unless one is given.

    A given `quantity` is a count that belongs to the moment `start`: it is never split, and `end` only says how long it
    took. (`source`, `key`) counts once within a tenant; the same with other content is a conflict. `content` is what
    was sent, if the interval alone does not determine it, as for an event without a time. `hold_id`: the hold for outside
    work that a reported event names. `share`: the thousandths of a unit that are used, and for which the time counts; what
    is less than a whole also says so in `dims` (`billing.rating.quantity`).
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
    share: int = WHOLE


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


@dataclass(frozen=True, slots=True)
class Kind:
    """What intervals of one series, meter and project have in common; of the content's text, what is around the times."""

    series: Series
    before: str
    after: str


@dataclass(slots=True)
class KeyClaim:
    """An interval with the hashes of its key and of its content, sixteen bytes each, and its times in UTC."""

    interval: Interval
    series: Series
    key_hash: bytes
    payload_hash: bytes
    kind: Kind
    start: datetime
    end: datetime


def claims(intervals: Iterable[Interval]) -> list[KeyClaim]:
    """Hash intervals; those of one kind share what they have in common."""
    last: dict[tuple[object, ...], Kind] = {}
    result = []
    for item in intervals:
        # Ids by identity, which is quicker: equal ones are found as the same kind below.
        near = (item.resource, id(item.attempt_id), id(item.job_id), id(item.project_id), item.meter, item.source)
        kind = last.get(near)
        if kind is None or kind.series.carried != item.dims:
            own = (item.resource, item.job_id, item.attempt_id, item.source)
            kind = last[near] = _kind(*own, item.meter, item.project_id, *item.dims.items())
        start, end = item.start, item.end
        if start.tzinfo is not UTC or end.tzinfo is not UTC:
            start, end = start.astimezone(UTC), end.astimezone(UTC)
        if item.content:
            payload = f"{len(item.meter)}:{item.meter}{len(item.content)}:{item.content}"
        else:
            begins, ends = start.isoformat(), end.isoformat()
            payload = f"{kind.before}{len(begins)}:{begins}{len(ends)}:{ends}{kind.after}"
            if item.quantity is not None:
                payload += framed(str(item.quantity.normalize()))
        key = f"{len(item.source)}:{item.source}{len(item.key)}:{item.key}"
        result.append(KeyClaim(item, kind.series, _hash(key), _hash(payload), kind, start, end))
    return result


@lru_cache(maxsize=4096)  # work that runs reports the same kinds again and again
def _kind(
    resource: str,
    job_id: UUID | None,
    attempt_id: UUID | None,
    source: str,
    meter: str,
    project_id: UUID,
    *dims: tuple[str, str],
) -> Kind:
    carried = dict(dims)
    written = json.dumps(carried, sort_keys=True, separators=(",", ":"))
    hashed = digest(resource, str(job_id), str(attempt_id), source, written)
    series = Series(hashed, resource, job_id, attempt_id, source, written, carried)
    return Kind(series, framed(meter, project_id.hex), framed(hashed.hex()))


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
    try:
        content = text.encode()
    except UnicodeEncodeError:
        content = text.encode("utf-8", "surrogatepass")
    return blake2b(content, digest_size=16).digest()


def void_key(key: bytes) -> bytes:
    """Return the key of an event's counter-entries: three parts, so that no (source, id) can collide."""
    return digest("void", key.hex(), "")
