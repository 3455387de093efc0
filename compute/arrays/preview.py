"""What an array would be, before it is launched: how many jobs, and what they cost together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.money import Money
from billing.pricing.quotes import Estimate
from billing.queries.budgets import BudgetStatus
from compute.arrays import grid
from compute.jobs import job_request
from compute.jobs.job_request import Submission
from tenants.access.actor import Actor


@dataclass(frozen=True, kw_only=True)
class ArrayPrice:
    """An array at the prices in force. `worst` is what its jobs hold together at launch, and the most that they may cost.

    Nine bills of ten of its jobs lie between their parts of `least` and `most`. `budget`: the tightest enforced one.
    """

    jobs: int
    least: Money
    most: Money
    worst: Money
    cap: Money | None
    budget: BudgetStatus | None

    @property
    def fits_cap(self) -> bool:
        """Return whether its cap pays for all its jobs; otherwise a launch is refused."""
        return self.cap is None or self.worst.amount <= self.cap.amount

    @property
    def budget_left(self) -> Money | None:
        """What the budget has left after the launch, below zero if it does not fit; None without a budget."""
        return None if self.budget is None else self.budget.free - self.worst

    @property
    def fits_budget(self) -> bool:
        """Return whether the budget has headroom for all its jobs; free ones always fit."""
        return self.budget_left is None or self.budget_left.amount >= 0 or not self.worst


def price(*, actor: Actor, asked: Submission, vary: Any, cap: Decimal | None) -> ArrayPrice:
    """Return what an array would cost. Stores nothing. Raises Invalid for the grid and for each job that could not be launched."""
    points = grid.points(asked.spec, vary)
    priced = job_request.estimate_all(job_request.check_all(actor=actor, asked=asked, specs=points))
    first = priced[0]
    return ArrayPrice(
        jobs=len(priced),
        least=_sum(first, (one.least for one in priced)),
        most=_sum(first, (one.most for one in priced)),
        worst=_sum(first, (one.worst for one in priced)),
        cap=None if cap is None else Money(cap, first.currency),
        budget=first.budget,
    )


def _sum(first: Estimate, amounts: Iterable[Money]) -> Money:
    return Money(sum((one.amount for one in amounts), Decimal(0)), first.currency)
