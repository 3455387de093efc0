"""A batch is hashed and rated in groups: each interval gets exactly what it gets alone, by the plain rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.metering.metering import fault_of, faults_of
from billing.metering.rate import rate
from billing.periods.months import FARTHEST, months_of
from billing.pricing.price_books import Terms, point_in
from billing.rating.calendar import hour_of, local_day, period_of, split
from billing.rating.flat import charge
from billing.rating.quantity import seconds_between
from billing.rating.selection import PriceEntry, PriceList, PriceTable, starts_within
from billing.usage.intervals import Interval, claims, digest
from tests.support.examples import examples

ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Chatham", "America/Havana"]
# Around midnight of a month's end, the changed clock of Berlin, and 29 February.
EDGES = [datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)]
METERS = {"seconds": UUID(int=1), "requests": UUID(int=2)}
PROJECTS, JOBS = [UUID(int=3), UUID(int=4)], [None, UUID(int=5)]
NEPAL = timezone(timedelta(hours=5, minutes=45))
DIMS: list[dict[str, str]] = [{}, {"tier": "spot"}, {"tier": "spot", "class": "cpu"}, {"class": "cpu", "tier": "spot"}]
AMOUNTS = st.integers(0, 10**15).map(lambda pico: Decimal(pico).scaleb(-12))


@st.composite
def price_lists(draw: st.DrawFn, edge: datetime) -> list[PriceList]:
    lists = []
    for number in range(draw(st.integers(0, 3))):
        found = draw(
            st.lists(st.tuples(st.sampled_from(list(METERS)), st.sampled_from(DIMS[:3]), AMOUNTS, st.none() | AMOUNTS))
        )
        entries = [
            PriceEntry(UUID(int=100 * number + at), meter, dims, amount, listed)
            for at, (meter, dims, amount, listed) in enumerate(found)
        ]
        begins = edge + timedelta(seconds=draw(st.integers(-4_000, 4_000)))
        tables = {meter: PriceTable(one for one in entries if one.meter == meter) for meter in METERS}
        lists.append(PriceList(UUID(int=number), begins, "EUR", tuple(entries), tables))
    return lists


@st.composite
def intervals(draw: st.DrawFn, edge: datetime) -> Interval:
    start = edge + timedelta(microseconds=draw(st.integers(-4_000, 4_000)) * draw(st.sampled_from([1, 10**6])))
    meter = draw(st.sampled_from(list(METERS)))
    length = draw(st.sampled_from([1, 200_000, 900_000_000]) | st.integers(1, 5_000_000_000))
    counts = st.integers(1, 10**12).map(lambda micro: Decimal(micro).scaleb(-6)) | st.just(Decimal("1.0"))
    return Interval(
        key=draw(st.text(max_size=3)),
        meter=meter,
        resource=draw(st.sampled_from(["a", "\u00e4\udc80"])),
        project_id=draw(st.sampled_from(PROJECTS)),
        start=start.astimezone(draw(st.sampled_from([UTC, NEPAL]))),
        end=start + timedelta(microseconds=length),
        dims=draw(st.sampled_from(DIMS)),
        job_id=draw(st.sampled_from(JOBS)),
        source=draw(st.sampled_from(["", "s"])),
        quantity=draw(counts) if meter == "requests" else None,
        content=draw(st.sampled_from(["", "sent"])),
    )


def hashes(item: Interval) -> tuple[bytes, bytes, bytes]:
    """Return the hashes of series, key and content by their definition: what is stored once is compared for ever."""
    dims = "{" + ",".join(f'"{name}":"{value}"' for name, value in sorted(item.dims.items())) + "}"
    series = digest(item.resource, str(item.job_id), str(item.attempt_id), item.source, dims)
    moments = [moment.astimezone(UTC).isoformat() for moment in (item.start, item.end)]
    counted = [] if item.quantity is None else [str(item.quantity.normalize())]
    said = [item.content] if item.content else [item.project_id.hex, *moments, series.hex(), *counted]
    return series, digest(item.source, item.key), digest(item.meter, *said)


def alone(item: Interval, terms: Terms) -> list[tuple[object, ...]]:
    """Return the segments of one interval by the plain rules: place, times, units, amount, discount."""
    cuts = starts_within(terms.lists, item.start, item.end)
    spans = split(item.start, item.end, cuts) if item.quantity is None else [(item.start, item.end)]
    rows = []
    for part, (start, end) in enumerate(spans):
        price = point_in(terms.lists, item.meter, item.dims, start)
        day = local_day(start, terms.zone)
        units = seconds_between(start, end) if item.quantity is None else item.quantity
        amount = charge(units, price.unit_amount) if price else Decimal(0)
        listed = price.list_amount if price else None
        discount = Decimal(0) if listed is None else charge(units, listed) - amount
        billable = units if price else Decimal(0)
        where = (hour_of(start), day, period_of(day), METERS[item.meter], item.project_id, price and price.price_id)
        rows.append((*where, part, start, end, units, billable, amount, discount))
    return rows


@settings(max_examples=examples(300), deadline=None)
@given(st.data(), st.sampled_from(EDGES), st.sampled_from(ZONES))
def test_b5_a_batch_is_rated_as_each_interval_alone_to_the_last_decimal(
    data: st.DataObject, edge: datetime, zone: str
) -> None:
    lists = data.draw(price_lists(edge))
    starts = sorted({one.effective_at for one in lists})
    terms = Terms(zone, "EUR", edge, METERS, frozenset({"seconds"}), lists, None, starts)
    batch = data.draw(st.lists(intervals(edge), min_size=1, max_size=12))
    claimed = claims(batch)
    assert [(item.series.hash, item.key_hash, item.payload_hash) for item in claimed] == [hashes(one) for one in batch]
    rated = iter(rate(claimed, terms))
    for item in claimed:
        for row in alone(item.interval, terms):
            one = next(rated)
            at = one.place
            where = (at.hour, at.day, at.period, at.meter_id, at.project_id, at.price_id)
            assert (one.key_hash, one.series, one.month) == (item.key_hash, item.series.hash, at.period)
            assert (*where, one.part, one.start, one.end, one.measured, one.billable, one.amount, one.discount) == row
    assert next(rated, None) is None
    # Most are checked in passing; the outcome is that of each alone.
    alone_refused = {one.key: [why] for one in batch if (why := fault_of(one, terms))}
    assert faults_of(batch, terms) == alone_refused


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.datetimes(), st.sampled_from([None, UTC, NEPAL])), max_size=4))
def test_usage_locks_every_month_that_it_may_lie_in(found: list[tuple[datetime, tzinfo | None]]) -> None:
    moments = [moment.replace(tzinfo=zone) for moment, zone in found if 2 < moment.year < 9990]
    real = [moment.astimezone(UTC) for moment in moments if moment.tzinfo and 1970 <= moment.year <= 9990]
    days = {(moment + shift).date() for moment in real for shift in (timedelta(), FARTHEST, -FARTHEST)}
    assert months_of(moments) == {period_of(day) for day in days}
