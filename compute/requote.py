"""What the rest of a job costs at worst, and how its hold follows a price that changes while it runs."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import transaction

from billing import counters, holds
from billing.counters import BudgetExceeded
from billing.money import Money
from billing.pricing import price_at
from billing.rating.flat import charge
from compute import kinds, limits
from compute.models import Job, JobState


def grace_s() -> Decimal:
    """Return the seconds that a job may run past its longest run time until it is stopped. Holds and quotes count them."""
    return Decimal(str(limits.STOP_GRACE_S + settings.EXCHEQUER.heartbeat_s))


def worst_rest(job: Job) -> Decimal:
    """Return what the seconds a job may still run cost at its unit price, the grace of a stop included."""
    amount = charge(max(Decimal(0), job.max_seconds - job.measured_s) + grace_s(), job.unit_amount)
    return amount if job.max_cost is None else min(amount, job.max_cost - job.spent)


def follow_price(job: Job) -> bool:
    """Quote a locked, running job anew when its price changed: the hold grows to what the rest costs now.

    Returns False when a budget has no room for that: the job is then paused, its checkpoint saved. Usage itself is
    always rated at the price in force at its time (B5).
    """
    price = price_at(kinds.meter_of(job.kind), {"device_class": job.device_class, "tier": job.tier})
    if price.unit_amount == job.unit_amount or job.state != JobState.RUNNING or job.hold_id is None:
        return True
    job.unit_amount, job.price_version = price.unit_amount, price.version_id
    Job.objects.filter(id=job.id).update(unit_amount=job.unit_amount, price_version=job.price_version)
    counters.pin_set()
    missing = worst_rest(job) - holds.lock(job.hold_id).left
    if missing <= 0:
        return True
    try:
        with transaction.atomic():
            holds.extend(hold_id=job.hold_id, amount=Money(missing, job.currency))
    except BudgetExceeded:
        return False
    return True
