"""Forecast of a period's spending: by pace, and by what each weekday has cost. Pure, and without a float.

The remaining days of a period are expected to cost what their weekdays cost on average in the last eight weeks, later
weeks counting no more than earlier ones. The band is 1.28 standard deviations wide on either side, between which eight
of ten sums of independent days lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from billing.money import EXACT, Money, computed
from billing.rating.calendar import span_end

HISTORY = timedelta(days=56)
LEAST_DAYS = 14
"""Fewer known days give no band: the pace is all there is."""
WIDTH = Decimal("1.28")
UNUSUAL = 3
"""So many standard deviations above its expectation, a day is an anomaly."""
HALF_MORE = Decimal("1.5")
A_DAY = timedelta(days=1)
NOTHING = Decimal(0)


def at_end(spent: Money, period: date, length: str, day: date) -> Money:
    """Return the total cost of a month, quarter or year at the current pace.

    `spent` is the cost of the period from its first day `period` up to and including local `day`. A past period costs
    what it cost. The pace is that of whole days, the running one included.
    """
    days = (span_end(period, length) - period).days
    elapsed = min((day - period).days + 1, days)
    return spent * (Decimal(days) / elapsed) if 0 < elapsed < days else spent


@dataclass(frozen=True, slots=True)
class Weekdays:
    """What each weekday (Monday is 0) costs on average, and the standard deviation around these means, of all days."""

    means: Sequence[Decimal]
    deviation: Decimal

    def of(self, day: date) -> Decimal:
        """Return the expected cost of a day."""
        return self.means[day.weekday()]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected cost at the end of a period with its band, and the day on which the limit is reached before; else None."""

    expected: Decimal
    low: Decimal
    high: Decimal
    runway_on: date | None


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A day that cost far more than its weekday does."""

    day: date
    cost: Decimal
    expected: Decimal


def learn(costs: Mapping[date, Decimal], day: date) -> Weekdays | None:
    """Return what weekdays cost before `day`, from the first known cost within eight weeks; None with too few days."""
    first = max(min((one for one in costs if one < day), default=day), day - HISTORY)
    days = [first + A_DAY * number for number in range((day - first).days)]
    if len(days) < LEAST_DAYS:
        return None
    by_weekday: list[list[Decimal]] = [[] for _ in range(7)]
    for one in days:
        by_weekday[one.weekday()].append(costs.get(one, NOTHING))
    means = [computed(EXACT.divide(sum(known, NOTHING), len(known))) for known in by_weekday]
    squares = sum((EXACT.power(costs.get(one, NOTHING) - means[one.weekday()], 2) for one in days), NOTHING)
    return Weekdays(means, computed(EXACT.sqrt(EXACT.divide(squares, len(days)))))


def forecast(spent: Decimal, known: Weekdays, until: date, today: tuple[date, Decimal], limit: Decimal) -> Forecast:
    """Return the forecast for the end of a period, `until` its first day after.

    `spent`: its cost so far, including `today`: the local day and its cost.
    """
    day, cost_today = today
    ahead = [day + A_DAY * number for number in range(max(0, (until - day).days))]
    due = [known.of(one) for one in ahead]
    if due:
        due[0] = max(NOTHING, due[0] - cost_today)
    expected = spent + sum(due, NOTHING)
    spread = computed(EXACT.multiply(WIDTH * known.deviation, EXACT.sqrt(Decimal(len(due)))))
    reached, runway_on = spent, None
    for one, cost in zip(ahead, due, strict=True):
        reached += cost
        if reached >= limit > 0:
            runway_on = one
            break
    return Forecast(expected, max(spent, expected - spread), expected + spread, runway_on)


def anomalies(costs: Mapping[date, Decimal], days: Sequence[date], least: Decimal) -> list[Anomaly]:
    """Return those of `days` that cost much more than the weeks before each led to expect, the newest first.

    A day is one if it costs half as much again, more than three standard deviations more, and more than `least` more.
    """
    found = []
    for day in sorted(days, reverse=True):
        known, cost = learn(costs, day), costs.get(day, NOTHING)
        if known is None:
            continue
        expected = known.of(day)
        if cost > expected * HALF_MORE and cost - expected > max(UNUSUAL * known.deviation, least):
            found.append(Anomaly(day, cost, expected))
    return found
