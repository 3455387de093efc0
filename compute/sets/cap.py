"""The money cap of a job set: what its jobs spent, and what holding ones still may spend, never pass it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.budgets.counters import BudgetExceeded
from billing.money import Money
from billing.queries.calendar import tenant_today
from compute.models import Job

_NOBODY = UUID(int=0)


class SetCapReached(BudgetExceeded):
    """The cap of this job set has no headroom for this. Wait for its running jobs to end, or launch a set with a higher cap."""

    code = "job_set_cap_reached"


@dataclass(frozen=True)
class Used:
    """A set's cap and what of it is used, in one currency."""

    name: str
    cap: Money
    used: Money

    @property
    def left(self) -> Money:
        """What may still be held."""
        return Money(max(Decimal(0), self.cap.amount - self.used.amount), self.cap.currency)


def used_of(set_id: UUID, currency: str, besides: UUID | None = None) -> Used | None:
    """Lock a set's account and return what of its cap is used, without the hold of the job `besides`; None without a cap.

    Used is what its jobs spent and what is left of their holds.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM exchequer_job_set_used(%s, %s)", [set_id, besides or _NOBODY])
        rows = cursor.fetchall()
    if not rows or rows[0][1] is None:
        return None
    name, cap, stated = rows[0][:3]
    restated = tenant_today().currencies.restated
    spent = sum((restated(amount, of, currency) for *_, of, amount in rows), Decimal(0))
    return Used(name, Money(restated(cap, stated, currency), currency), Money(spent, currency))


def require(job: Job, amount: Money) -> None:
    """Raise SetCapReached unless a job may hold so much in all under the cap of its set.

    Until the transaction ends no other job of the set can. A job outside sets, or in one without a cap, passes.
    """
    if job.set_id is None:
        return
    found = used_of(job.set_id, amount.currency, besides=job.id)
    if found is not None and found.used.amount + amount.amount > found.cap.amount:
        raise SetCapReached(
            f"The job set {found.name!r} may spend {found.cap} in all. {found.left} of that is left, and this may take {amount}. "
            "Wait for its running jobs to end, or launch a set with a higher cap.",
            job_set=str(job.set_id),
            cap=found.cap.json(),
            asked=amount.json(),
        )
