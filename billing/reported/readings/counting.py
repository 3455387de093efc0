"""Count what series of readings come to: pieces that no longer hold are voided, missing ones are rated as usage.

Locks: set of budgets and months, usage keys, series, holds, counters, hourly sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from billing.budgets.lock_ahead import lock_ahead
from billing.budgets.unreserved import People, count_unreserved, work_of
from billing.metering.rate import rate
from billing.models import Hold, MeterPiece, MeterSeries, UsageBatch, UsageKey
from billing.periods.months import lock_for_usage
from billing.pricing import price_books
from billing.pricing.price_books import Terms
from billing.rating.aggregation import TIME_WEIGHTED, Piece, pieces
from billing.rating.calendar import day_start, hour_of, local_day
from billing.reported.counter_entries import StoredPiece, claim_voids, of_pieces, reverse
from billing.reported.holds.settling import settle_reported
from billing.reported.readings.stored import Neighbourhood, Stored, neighbourhoods
from billing.reported.returns import Taken
from billing.usage import rollups
from billing.usage.intervals import Interval, KeyClaim, Series, claims, digest, series_of
from billing.usage.rollups import Segment
from tenants import clock
from tenants.errors import ExchequerError
from tenants.ids import uuid7
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

MOST_PIECES = 10_000
"""Hours and changes of value in one request: the budgets stay locked until all are stored."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
REPLACED = "another reading counts in its place"
ZERO = Decimal(0)


class TooManyPieces(ExchequerError):
    """These readings change what more than 10,000 hours count. Nothing was stored. Send or select fewer at once."""

    code = "too_large"
    status = 413


@dataclass(frozen=True, slots=True)
class Beside:
    """What else the transaction counts and takes back: usage that is no reading. Its keys and voids are claimed."""

    segments: Sequence[Segment] = ()
    series: Mapping[bytes, Series] = field(default_factory=dict)
    taken: Sequence[Taken] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """The amounts that readings added, by their requests, and what they took back; of `beside` only what was added."""

    added: Mapping[UUID | None, Decimal]
    taken: Decimal
    currency: str

    @property
    def net(self) -> Decimal:
        """How much more is charged than before."""
        return sum(self.added.values(), ZERO) - self.taken


NOTHING_ELSE = Beside()


@dataclass(frozen=True, slots=True)
class _Hours:
    """Where spans are cut: at hours of UTC, the zone's midnights and the starts of prices; `until` is the last of these."""

    zone: str
    now: datetime
    starts: Sequence[datetime] = ()

    @property
    def until(self) -> datetime:
        """Up to where a last value is counted."""
        return max(hour_of(self.now), day_start(local_day(self.now, self.zone), self.zone))

    def after(self, at: datetime) -> datetime:
        """Return the first cut after a moment."""
        return min(hour_of(at) + HOUR, day_start(local_day(at, self.zone) + DAY, self.zone))

    def cuts(self, since: datetime, last: datetime) -> list[datetime]:
        """Return all cuts of a span."""
        hours = [hour_of(since) + number * HOUR for number in range((last - since) // HOUR + 2)]
        first, days = local_day(since, self.zone), (last - since) // DAY + 2
        midnights = [day_start(first + number * DAY, self.zone) for number in range(days)]
        return sorted({*hours, *midnights, *self.starts})


def count(changed: Sequence[Stored], *, reason: str = REPLACED, beside: Beside = NOTHING_ELSE) -> Counted:
    """Count locked series after these readings were stored or voided. Raises TooManyPieces, before any effect."""
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=current_tenant_id())
    now = clock.now()
    touched = neighbourhoods(changed)
    since = min([one.at for near in touched for one in near.readings], default=now)
    last = max([now, *(one.at for near in touched for one in near.readings)])
    lock_for_usage(list(_month_starts(since, last)))
    terms = price_books.terms(since, last, meters={one.meter for one in changed})
    hours = _Hours(zone, now, [listed.effective_at for listed in terms.lists])
    gone: list[StoredPiece] = []
    missing: list[tuple[Stored, Piece]] = []
    for near in touched:
        less, more = _difference(near, hours)
        gone += less
        missing += more
    if len(gone) + len(missing) > MOST_PIECES:
        raise TooManyPieces
    _keep_due(touched, changed, hours)
    return _apply(gone, missing, terms, reason, beside)


def _month_starts(since: datetime, last: datetime) -> Iterator[datetime]:
    """Return moments in every month of a span."""
    at = since
    while at < last:
        yield at
        at += timedelta(days=27)
    yield last


def _difference(near: Neighbourhood, hours: _Hours) -> tuple[list[StoredPiece], list[tuple[Stored, Piece]]]:
    """Return the stored pieces that no longer hold, and those that are missing."""
    readings = {one.key_hash: one for one in near.readings}
    cuts: list[datetime] = []
    until = hours.until if near.open_end else None
    if near.aggregation == TIME_WEIGHTED and near.readings:
        moments = [one.at for one in near.readings]
        cuts = hours.cuts(min(moments), max([*moments, hours.until]) if near.open_end else max(moments))
    wanted = pieces(near.aggregation, (one.reading for one in near.readings), until, cuts)
    known = {Piece(one.reading_key, one.starts_at, one.ends_at, one.quantity): one for one in near.counted}
    gone = [one for piece, one in known.items() if piece not in wanted]
    missing = sorted(wanted - known.keys(), key=lambda piece: (piece.start, piece.key))
    return gone, [(readings[piece.key], piece) for piece in missing]


def _keep_due(touched: Iterable[Neighbourhood], changed: Iterable[Stored], hours: _Hours) -> None:
    """Store when the last values of these series are counted next."""
    dues: dict[bytes, datetime | None] = {one.group_hash: None for one in changed if one.aggregation == TIME_WEIGHTED}
    if not dues:
        return
    kept = set(dues)
    for near in touched:
        if near.aggregation != TIME_WEIGHTED or not near.readings:
            continue
        last = max(near.readings, key=lambda one: (one.at, one.value, one.key_hash))
        if not near.open_end:
            kept.discard(last.group_hash)
        elif last.value:
            dues[last.group_hash] = hours.after(max(last.at, hours.until))
    MeterSeries.objects.bulk_create(
        [MeterSeries(group_hash=group, due_at=dues[group]) for group in sorted(kept)],
        update_conflicts=True,
        unique_fields=["tenant_id", "group_hash"],
        update_fields=["due_at"],
    )


def _apply(
    gone: Sequence[StoredPiece], missing: Sequence[tuple[Stored, Piece]], terms: Terms, reason: str, beside: Beside
) -> Counted:
    taken = of_pieces(gone)
    claimed, batches = _claims(missing)
    segments = rate(claimed, terms)
    for segment in segments:
        segment.batch_id = batches[segment.key_hash]
    series = series_of(claimed)
    people: People = dict(
        UsageBatch.objects.filter(pk__in={one.batch_id for one in [*segments, *beside.segments]}).values_list(
            "pk", "person"
        )
    )
    months = {one.month for one in [*segments, *beside.segments]}
    before = {one.segment.month for one in [*taken, *beside.taken]}
    if not months and not before:
        return Counted({}, ZERO, terms.currency)
    holds = {item.interval.hold_id for item in claimed} | {one.segment.hold_id for one in [*taken, *beside.taken]}
    work = work_of([*segments, *beside.segments], {**series, **beside.series}, people)
    lock_ahead(work, months, before, [hold for hold in holds if hold])
    if gone:
        claim_voids(one.key_hash for one in gone)
    reverse([*beside.taken, *taken], reason)
    _store(gone, claimed, missing)
    segments = _charge(segments, claimed, series, people, beside)
    rollups.write([*beside.segments, *segments], {**beside.series, **series}, zone=terms.zone)
    added: dict[UUID | None, Decimal] = defaultdict(Decimal)
    for segment in [*beside.segments, *segments]:
        added[segment.batch_id] += terms.currencies.worth([segment], terms.currency)
    return Counted(added, terms.currencies.worth((one.segment for one in taken), terms.currency), terms.currency)


def _charge(
    segments: Sequence[Segment],
    claimed: Sequence[KeyClaim],
    series: Mapping[bytes, Series],
    people: People,
    beside: Beside,
) -> list[Segment]:
    """Charge segments to the holds that their readings name, request by request, else to the budgets."""
    held = {item.key_hash for item in claimed if item.interval.hold_id}
    result = [segment for segment in segments if segment.key_hash not in held]
    count_unreserved([*beside.segments, *result], {**beside.series, **series}, people)
    for batch_id in sorted({segment.batch_id for segment in segments if segment.key_hash in held}, key=str):
        mine = [one for one in segments if one.key_hash in held and one.batch_id == batch_id]
        keys = {segment.key_hash for segment in mine}
        result += settle_reported(mine, [item for item in claimed if item.key_hash in keys], series, people)
    return result


def _claims(missing: Sequence[tuple[Stored, Piece]]) -> tuple[list[KeyClaim], dict[bytes, UUID]]:
    """Return usage with fresh keys for pieces, and the requests whose readings count it."""
    kept = set(
        Hold.objects.filter(pk__in={one.hold_id for one, _ in missing if one.hold_id}).values_list("pk", flat=True)
    )
    intervals = [
        Interval(
            key=uuid7().hex,
            meter=one.meter,
            resource=one.resource,
            project_id=one.project_id,
            start=piece.start,
            end=piece.end,
            dims=one.dims,
            source=one.source,
            quantity=piece.quantity,
            hold_id=one.hold_id if one.hold_id in kept else None,
        )
        for one, piece in missing
    ]
    result, batches = [], {}
    for item, (one, _) in zip(claims(intervals), missing, strict=True):
        # Three parts, so that no event's source and id can collide.
        key = digest("piece", item.interval.key, "")
        result.append(replace(item, key_hash=key, payload_hash=key))
        batches[key] = one.batch_id
    return result, batches


def _store(
    gone: Sequence[StoredPiece],
    claimed: Sequence[KeyClaim],
    missing: Sequence[tuple[Stored, Piece]],
) -> None:
    if gone:
        keys = [one.key_hash for one in gone]
        MeterPiece.objects.filter(key_hash__in=keys, voided_at=None).update(voided_at=clock.DatabaseNow())
    # Without a request: readings are voided, not what they count.
    UsageKey.objects.bulk_create(
        UsageKey(key_hash=item.key_hash, payload_hash=item.payload_hash, event_at=item.interval.start)
        for item in sorted(claimed, key=lambda item: item.key_hash)
    )
    MeterPiece.objects.bulk_create(
        MeterPiece(
            key_hash=item.key_hash,
            reading_key=one.key_hash,
            group_hash=one.group_hash,
            series_hash=item.series.hash,
            starts_at=piece.start,
            ends_at=piece.end,
            quantity=piece.quantity,
        )
        for item, (one, piece) in zip(claimed, missing, strict=True)
    )
