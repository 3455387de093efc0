"""What a contract commits its tenant to, and how far the running month is: read from the month's draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing.money import Money
from billing.queries.calendar import tenant_today
from billing.queries.drafts import billed, contract_in
from billing.queries.lines import computed_lines
from billing.rating.billed.lines import Kind, Line
from billing.rating.billed.reading import read_terms
from billing.rating.billed.savings import PlanFigures
from billing.rating.billed.usage import Scope

SAVINGS_PLAN, COMMITMENT, MINIMUM = "savings_plan", "commitment", "minimum"


@dataclass(frozen=True, slots=True)
class CommitmentView:
    """A savings plan, a commitment or a minimum in the running month: `amount` is due each `per` (hour, month).

    `plan` says how well a savings plan fits the month so far, its fee being that of the whole month; `missing` is what a
    commitment or minimum lacks so far.
    """

    kind: str
    key: str
    per: str
    amount: Money
    percent: Decimal | None
    meters: Sequence[str]
    projects: Sequence[UUID]
    plan: PlanFigures | None = None
    missing: Money | None = None


def commitments() -> list[CommitmentView]:
    """Return what the contract of the open scope's tenant commits it to in the running month; none without a contract."""
    at = tenant_today()
    contract = contract_in(at.period)
    if contract is None:
        return []
    currency = contract.currency
    terms = read_terms({"currency": currency, **contract.terms})
    if not (terms.savings_plans or terms.commitments or terms.minimums):
        return []
    made = billed(computed_lines([at.period], currency)[at.period], contract, at.period, currency)
    figures = {plan.key: plan for plan in made.plans}
    views = [
        CommitmentView(
            SAVINGS_PLAN, one.key, one.per.value, Money(one.amount, currency), one.percent, *_scope(one.scope),
            plan=figures[one.key],
        )
        for one in terms.savings_plans
    ]  # fmt: skip
    for kind, of, promised in (
        (COMMITMENT, Kind.COMMITMENT, terms.commitments),
        (MINIMUM, Kind.MINIMUM, terms.minimums),
    ):
        for one in promised:
            missing = _missing(made.lines, of, one.key, currency)
            views.append(
                CommitmentView(
                    kind, one.key, "month", Money(one.amount, currency), None, *_scope(one.scope), missing=missing
                )
            )
    return views


def _scope(scope: Scope) -> tuple[list[str], list[UUID]]:
    return sorted(scope.meters), sorted(scope.projects)


def _missing(lines: Sequence[Line], kind: Kind, key: str, currency: str) -> Money:
    found = (line.amount for line in lines if line.kind is kind and line.term == key)
    return next(found, Money.zero(currency))
