"""Worst-case cost of the rest of a job, and how its hold follows a price change while it runs."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from billing.budgets import holds
from billing.budgets.counters import BudgetExceeded
from billing.money import Money
from billing.pricing.price_books import PriceMissing, PricePoint, price_at
from billing.queries.calendar import tenant_today
from billing.rating.flat import charge
from billing.rating.quantity import share_dims
from compute import kinds, limits
from compute.models import Job, JobState
from compute.sets import cap
from tenants.access.actor import Actor

#: The amounts of a job that are stated in its currency.
STATED = ("unit_amount", "max_cost", "spent", "quoted_least", "quoted_most")


def grace_s() -> Decimal:
    """Return the seconds that a job may exceed its time limit until it is stopped. Holds and quotes include them."""
    return Decimal(str(limits.STOP_GRACE_S + settings.EXCHEQUER.heartbeat_s))


def needed_now(job: Job) -> Money:
    """Return the worst-case cost of the rest of a job in today's currency, restated if its own is another."""
    at = tenant_today()
    return Money(at.currencies.restated(max(Decimal(0), worst_rest(job)), job.currency, at.currency), at.currency)


def full_cap(job: Job) -> cap.Used | None:
    """Return the cap of a job's set if it has no room for the rest of the job; locks the set's account."""
    if job.set_id is None:
        return None
    rest = needed_now(job)
    used = cap.used_of(job.set_id, rest.currency, besides=job.id)
    return used if used is not None and used.left.amount < rest.amount else None


def worst_rest(job: Job) -> Decimal:
    """Return the worst-case cost of the job's remaining seconds on all its devices, including the grace period."""
    amount = charge(max(Decimal(0), job.max_seconds - job.measured_s) + grace_s(), job.second_amount)
    return amount if job.max_cost is None else min(amount, job.max_cost - job.spent)


def restate(job: Job) -> bool:
    """State the amounts of a locked job in today's currency, if a contract changed that; return whether it did.

    Its price is the one in force, else the old one restated. Its hold stays: it pays for the usage before.
    """
    at = tenant_today()
    if job.currency == at.currency:
        return False
    amounts = {name: getattr(job, name) for name in STATED}
    fields: dict[str, Any] = {
        name: None if amount is None else at.currencies.restated(amount, job.currency, at.currency)
        for name, amount in amounts.items()
    }
    with suppress(PriceMissing):  # the list in force no longer names it
        price = price_of(job)
        fields |= {"unit_amount": price.unit_amount, "price_version": price.version_id}
    fields["currency"] = at.currency
    Job.objects.filter(id=job.id).update(**fields)
    for name, value in fields.items():
        setattr(job, name, value)
    return True


def change_currency(job: Job) -> bool:
    """Restate a locked, running job, and hold the rest of it in today's currency instead; return False if a budget refuses.

    The caller has locked its hold with the running month, and recorded the usage that the hold still pays for.
    """
    before = job.hold_id
    restate(job)
    rest = Money(worst_rest(job), job.currency)
    job.hold_id = None
    try:
        if before is None and rest.amount > 0:
            _hold(job, rest)
        elif before is not None and rest.amount > 0:
            job.hold_id = _succeed(job, before, rest)
        elif before is not None:
            holds.release(hold_id=before)
    except BudgetExceeded:
        return False
    finally:
        Job.objects.filter(id=job.id).update(hold_id=job.hold_id)
    return True


def _succeed(job: Job, before: UUID, rest: Money) -> UUID:
    try:
        cap.require(job, rest)
    except cap.SetCapReached:
        holds.release(hold_id=before)
        raise
    return holds.succeed(hold_id=before, amount=rest)


def price_of(job: Job) -> PricePoint:
    """Return the price of a job's seconds that is in force now. Raises PriceMissing."""
    return price_at(
        kinds.meter_of(job.kind), {"device_class": job.device_class, "tier": job.tier, **share_dims(job.share)}
    )


def running_price(job: Job) -> PricePoint | None:
    """Return the price of a running job's seconds that is in force now; None if it does not run, or is free."""
    if job.state != JobState.RUNNING:
        return None
    try:
        return price_of(job)
    except PriceMissing:  # the list in force no longer names it, so it is free
        return None


def follow_price(job: Job, price: PricePoint | None) -> bool:
    """Quote a locked, running job again after a price change: its hold grows to the current cost of the rest.

    A job started for free has no hold: it is placed when a price starts. Returns False if a budget has no headroom: the
    job is then paused, its checkpoint saved. Usage itself is always rated at the price in force at its time (B5).
    """
    if price is None:
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
            cap.require(job, rest)
            holds.cover(hold_id=job.hold_id, amount=rest)
    except BudgetExceeded:
        return False
    return True


def _hold(job: Job, rest: Money) -> None:
    cap.require(job, rest)
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
