"""Charge the seconds of a heartbeat to the job's hold; over a change of the tenant's currency, to one in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from billing.budgets import holds
from billing.metering.metering import Interval, Recorded, record_usage
from billing.queries.calendar import tenant_today
from billing.rating.calendar import day_start, local_day, period_of
from compute.jobs import transitions
from compute.jobs.repricing import change_currency, follow_price, running_price
from compute.models import Job


def charge(job: Job, intervals: Sequence[Interval]) -> tuple[Recorded, bool]:
    """Record the same time on each device of a locked job; return what was recorded last, and whether the money for the
    rest is held.

    Seconds before a change of currency are paid by the job's hold, those after it by another one in the new currency.
    """
    price = running_price(job)
    if price is None or price.currency == job.currency:
        held = follow_price(job, price)
        return _record(job, intervals), held
    at = tenant_today()
    begins = day_start(at.currencies.since(at.day), at.zone)
    start, end = intervals[0].start, intervals[0].end
    if job.hold_id is not None:
        holds.lock_now(job.hold_id, {period_of(local_day(start, at.zone))})
    recorded = None
    if start < begins:
        recorded = _record(job, [replace(one, end=min(begins, end)) for one in intervals])
    held = change_currency(job)
    if end > begins:
        after = [replace(one, start=begins, key=f"{one.key}:{at.currency}") for one in intervals]
        recorded = _record(job, intervals if recorded is None else after)
    assert recorded is not None  # noqa: S101 (an interval lies before the change, after it, or on both sides)
    return recorded, held


def _record(job: Job, intervals: Sequence[Interval]) -> Recorded:
    recorded = record_usage(intervals, hold_id=job.hold_id, held_only=True)
    transitions.grow(job, spent=recorded.amount)
    return recorded
