"""Worst-case cost of the rest of a job, and how its hold follows a price change while it runs."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings

from billing.budgets import holds
from billing.budgets.counters import BudgetExceeded
from billing.money import Money
from billing.pricing.price_books import PriceMissing, price_at
from billing.rating.flat import charge
from compute import kinds, limits
from compute.models import Job, JobState
from tenants.access.actor import Actor


def grace_s() -> Decimal:
    """Return the seconds that a job may exceed its time limit until it is stopped. Holds and quotes include them."""
    return Decimal(str(limits.STOP_GRACE_S + settings.EXCHEQUER.heartbeat_s))


def worst_rest(job: Job) -> Decimal:
    """Return the worst-case cost of the job's remaining seconds at its unit price, including the grace period."""
    amount = charge(max(Decimal(0), job.max_seconds - job.measured_s) + grace_s(), job.unit_amount)
    return amount if job.max_cost is None else min(amount, job.max_cost - job.spent)


def follow_price(job: Job) -> bool:
    """Quote a locked, running job again after a price change: its hold grows to the current cost of the rest.

    A job started for free has no hold: it is placed when a price starts. Returns False if a budget has no headroom: the
    job is then paused, its checkpoint saved. Usage itself is always rated at the price in force at its time (B5).
    """
    if job.state != JobState.RUNNING:
        return True
    try:
        price = price_at(kinds.meter_of(job.kind), {"device_class": job.device_class, "tier": job.tier})
    except PriceMissing:  # the list in force no longer names it, so it is free
        return True
    if price.unit_amount == job.unit_amount and (job.hold_id is not None or not price.unit_amount):
        return True
    job.unit_amount, job.price_version = price.unit_amount, price.version_id
    Job.objects.filter(id=job.id).update(unit_amount=job.unit_amount, price_version=job.price_version)
    rest = Money(worst_rest(job), job.currency)
    if rest.amount <= 0:  # free, or already at its maximum cost
        return True
    try:
        if job.hold_id is None:
            _hold(job, rest)
        else:
            holds.cover(hold_id=job.hold_id, amount=rest)
    except BudgetExceeded:
        return False
    return True


def _hold(job: Job, rest: Money) -> None:
    # Lets an explained invoice line name who submitted the job; the hold itself needs no permission.
    asked = Actor(
        kind="system",
        tenant_id=job.tenant_id,
        id=job.submitted_by,
        label=job.submitted_by_label,
        permissions=frozenset(),
    )
    job.hold_id = holds.hold(
        project_id=job.project_id, subject=job.subject, amount=rest, actor=asked, tags=job.tags, person=job.person
    )
    Job.objects.filter(id=job.id).update(hold_id=job.hold_id)
