"""What the spot tier saves: beside the price on demand, before a launch and after each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billing.money import Money
from billing.pricing.price_books import terms
from billing.pricing.quotes import Estimate
from billing.rating.flat import charge
from billing.rating.quantity import WHOLE, share_dims
from compute import kinds
from compute.jobs.job_request import ON_DEMAND, SPOT, JobRequest, estimate_on
from compute.models import Job, Outcome
from compute.queries.rows import AttemptRow
from tenants.access.reader import sees_money
from tenants.errors import Invalid

NOTICE = (
    "It gives way to any other work: it may be stopped at any time, keeps its place in the queue, and continues from its last "
    "checkpoint, or starts again if its kind saves none."
)
"""What spot means, for those who launch."""
YIELDED = (Outcome.PREEMPTED, Outcome.RECLAIMED)


@dataclass(frozen=True, slots=True)
class SpotOffer:
    """A spot launch beside the same on demand: the price per second there, and what a typical run costs there and saves here."""

    unit_amount: Money
    typical: Money
    saving: Money

    @property
    def percent(self) -> int:
        """The part saved, in hundredths."""
        return int(self.saving.amount * 100 / self.typical.amount) if self.typical else 0


def beside_on_demand(order: JobRequest, priced: Estimate) -> SpotOffer | None:
    """Return what a spot launch saves against on demand; None for other launches, and without a price on demand."""
    other = estimate_on(order, ON_DEMAND) if order.tier == SPOT else None
    if other is None or other.currency != priced.currency:
        return None
    # A cost limit may end either run early: what is compared is the same seconds.
    seconds = Decimal(priced.paid(order.typical_s))
    typical = Money(charge(seconds, other.second_amount), other.currency)
    return SpotOffer(Money(other.unit_amount, other.currency), typical, typical - priced.cost_of(seconds))


def with_on_demand(job: Job, runs: Sequence[AttemptRow]) -> list[AttemptRow]:
    """Return the attempts of a spot job with what the seconds of each would have cost on demand, at the prices of its time.

    An attempt after one that gave way would not have been: its start-up is not counted. Others come as they are.
    """
    begun = [run.started_at for run in runs if run.started_at is not None]
    if job.tier != SPOT or not begun or not sees_money():
        return list(runs)
    try:
        meter = kinds.meter_of(job.kind)
    except Invalid:  # a kind no longer installed
        return list(runs)
    dims = {"device_class": job.device_class, "tier": ON_DEMAND, **share_dims(job.share)}
    current = terms(min(begun), max(begun), meters=[meter])
    found, again = [], False
    for run in runs:
        point = current.price(meter, dims, run.started_at) if run.started_at else None
        if point is None or point.currency != run.cost.currency:
            found.append(run)
        else:
            at_once = Decimal(job.devices * job.share) / WHOLE
            repeated = Decimal(str(run.startup_s or 0)) * at_once if again else Decimal(0)
            seconds = max(run.billed_seconds - repeated, Decimal(0))
            found.append(replace(run, on_demand_cost=Money(charge(seconds, point.unit_amount), point.currency)))
        again = run.cause in YIELDED
    return found
