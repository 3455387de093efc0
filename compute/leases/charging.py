"""Charge the seconds of a heartbeat to the job's hold; over a change of the tenant's currency, to one in each."""

from __future__ import annotations

from dataclasses import replace

from billing.budgets import holds
from billing.metering.metering import Interval, Recorded, record_usage
from billing.queries.calendar import tenant_today
from billing.rating.calendar import day_start, local_day, period_of
from compute.jobs import transitions
from compute.jobs.repricing import change_currency, follow_price, running_price
from compute.models import Job


def charge(job: Job, interval: Interval) -> tuple[Recorded, bool]:
    """Record an interval of a locked job; return what was recorded last, and whether the money for the rest is held.

    Seconds before a change of currency are paid by the job's hold, those after it by another one in the new currency.
    """
    price = running_price(job)
    if price is None or price.currency == job.currency:
        held = follow_price(job, price)
        return _record(job, interval), held
    at = tenant_today()
    begins = day_start(at.currencies.since(at.day), at.zone)
    if job.hold_id is not None:
        holds.lock_now(job.hold_id, {period_of(local_day(interval.start, at.zone))})
    before = replace(interval, end=min(begins, interval.end)) if interval.start < begins else None
    recorded = _record(job, before) if before else None
    held = change_currency(job)
    if interval.end > begins:
        after = interval if before is None else replace(interval, start=begins, key=f"{interval.key}:{at.currency}")
        recorded = _record(job, after)
    assert recorded is not None  # noqa: S101 (an interval lies before the change, after it, or on both sides)
    return recorded, held


def _record(job: Job, interval: Interval) -> Recorded:
    recorded = record_usage([interval], hold_id=job.hold_id, held_only=True)
    transitions.grow(job, spent=recorded.amount)
    return recorded
