"""Cost of a launch: an estimate, and a quote whose unit price binds for fifteen minutes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.models import Quote
from billing.money import Money
from billing.pricing import price_books
from billing.queries.budgets import BudgetStatus, tightest
from billing.queries.calendar import tenant_today
from billing.rating.flat import affordable, charge
from tenants import clock
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.projects.sight import project_fault

QUOTE_BOUND = AuditAction("billing.quote.bound")
QUOTE_LIFE = timedelta(minutes=15)


class QuoteExpired(Conflict):
    """The quote has expired; request a new one."""

    code = "quote_expired"


class QuoteTaken(Conflict):
    """The quote has already been used; request a new one."""

    code = "quote_taken"


class QuoteMismatch(Conflict):
    """The quote does not match this request."""

    code = "quote_mismatch"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost of a launch. `typical` and `worst` are capped by `max_cost`; `worst` is the amount to hold.

    Nine bills of ten lie between `least` and `most`. `billable_limit_s`: the seconds that the worst case pays for.
    `budget`: the tightest enforced one, `budget_left_after`: its headroom after holding the worst case (negative: it
    does not fit, or is overspent); both None without one.
    """

    unit_amount: Decimal
    currency: str
    typical: Money
    least: Money
    most: Money
    worst: Money
    price_version: UUID
    price_id: UUID
    budget_left_after: Money | None
    billable_limit_s: Decimal
    budget: BudgetStatus | None = None
    at_once: Decimal | int = 1

    @property
    def second_amount(self) -> Decimal:
        """Return the price of a unit of time: of as many units as are used at once."""
        return self.unit_amount * self.at_once

    @property
    def fits(self) -> bool:
        """Return whether the budget has headroom for the worst case; free launches always fit."""
        return self.budget_left_after is None or self.budget_left_after.amount >= 0 or not self.worst

    def paid(self, units: int) -> int:
        """Return how many of so many units the worst case pays for, 1 at least: a small `max_cost` ends a run early."""
        return min(units, max(1, int(self.billable_limit_s)))

    def cost_of(self, units: Decimal | int) -> Money:
        """Return the cost of so many units at this price, at most the worst case."""
        return Money(min(charge(Decimal(units), self.second_amount), self.worst.amount), self.currency)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work to price, in the units of its meter: what it typically takes, and at worst.

    `between`: the units that nine runs of ten lie between; default: `typical_s`. `grace_s`: units past `worst_s` until
    the work is stopped; the worst case pays for them, the limit does not include them. `at_once`: how many of what the
    meter measures are used at the same time, as the devices of a job, or what part of one.
    """

    project_id: UUID
    meter: str
    dims: Mapping[str, str]
    typical_s: Decimal | int
    worst_s: Decimal | int
    between: tuple[int, int] | None = None
    grace_s: Decimal | int = 0
    max_cost: Decimal | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    person: UUID | None = None
    at_once: Decimal | int = 1


def estimate(work: Work) -> Estimate:
    """Return the cost of work at the price in force now.

    Raises PriceMissing without a price, Invalid for a maximum cost that is not positive.
    """
    return estimates([work])[0]


def estimates(works: Sequence[Work]) -> list[Estimate]:
    """Return the cost of each of some works, one at least, that differ in nothing but their time; raises as `estimate`.

    The budget of each is that before any of them.
    """
    first = works[0]
    if first.max_cost is not None and not (first.max_cost.is_finite() and first.max_cost > 0):
        raise Invalid(fields={"max_cost": ["The maximum cost is a positive number."]})
    point = price_books.price_at(first.meter, first.dims)
    budget = tightest(first.project_id, first.tags, first.person)
    return [_estimate(work, point, budget) for work in works]


def _estimate(work: Work, point: price_books.PricePoint, budget: BudgetStatus | None) -> Estimate:
    max_cost = work.max_cost
    seconds, typical_s = Decimal(work.worst_s), Decimal(work.typical_s)
    unit = point.unit_amount * work.at_once
    worst, typical = charge(seconds + work.grace_s, unit), charge(typical_s, unit)
    if max_cost is not None and max_cost < worst:
        seconds, worst = affordable(max_cost, unit, seconds), max_cost
    typical = min(typical, worst)
    least, most = (min(charge(Decimal(units), unit), worst) for units in work.between or (typical_s, typical_s))
    return Estimate(
        unit_amount=point.unit_amount,
        currency=point.currency,
        typical=Money(typical, point.currency),
        least=Money(least, point.currency),
        most=Money(most, point.currency),
        worst=Money(worst, point.currency),
        price_version=point.version_id,
        price_id=point.price_id,
        budget_left_after=None if budget is None else budget.free - Money(worst, point.currency),
        billable_limit_s=seconds,
        budget=budget,
        at_once=work.at_once,
    )


@operation(QUOTE_BOUND)
def bind(
    *,
    actor: Actor,
    project_id: UUID,
    body: Mapping[str, Any],
    estimate: Estimate,
    limit_s: int | None = None,
    forecast: Mapping[str, Any] | None = None,
    expires_at: datetime | None = None,
) -> Quote:
    """Store an estimate as a quote for exactly this body; it lasts fifteen minutes and serves one launch.

    `limit_s` and `forecast` belong to the caller and are passed to the launch unchanged.
    """
    actor.require("jobs.launch", InProject(project_id))
    if project_fault(actor, "jobs.launch", project_id):
        raise NotFound
    quote = Quote.objects.create(
        project_id=project_id,
        price_id=estimate.price_id,
        body=dict(body),
        body_hash=fingerprint(body),
        unit_amount=estimate.unit_amount,
        currency=estimate.currency,
        typical=estimate.typical.amount,
        worst=estimate.worst.amount,
        least=estimate.least.amount,
        most=estimate.most.amount,
        limit_s=limit_s,
        forecast=dict(forecast or {}),
        created_by=actor.label[:254],
        expires_at=expires_at or clock.now() + QUOTE_LIFE,
    )
    record(
        QUOTE_BOUND,
        actor=actor,
        target=("quote", quote.pk, str(estimate.worst)),
        changes={"worst": [None, estimate.worst.json()]},
    )
    return quote


def take(quote_id: UUID, body: Mapping[str, Any]) -> Quote:
    """Use a quote once, for a launch with the same body; part of the launching operation, which is audited.

    Raises NotFound, QuoteExpired, QuoteTaken, QuoteMismatch.
    """
    quote = Quote.objects.select_for_update(no_key=True).filter(pk=quote_id).first()
    if quote is None:
        raise NotFound("There is no such quote.")
    if quote.taken_at is not None:
        raise QuoteTaken
    now = clock.now()
    if quote.expires_at <= now or quote.currency != tenant_today().currency:
        raise QuoteExpired
    if bytes(quote.body_hash) != fingerprint(body):
        raise QuoteMismatch
    quote.taken_at = now
    quote.save(update_fields=["taken_at"])
    return quote


def fingerprint(body: Mapping[str, Any]) -> bytes:
    """Return a fingerprint of a request's body, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), default=str).encode()).digest()
