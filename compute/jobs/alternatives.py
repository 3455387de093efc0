"""Alternatives to a job that its budget refused: the spot tier or a shorter run time, if one fits."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import Any

from billing.budgets.counters import BudgetExceeded
from billing.money import Money
from compute.jobs.job_request import SPOT, JobRequest, estimate, estimate_on
from compute.jobs.repricing import grace_s
from compute.sets.cap import SetCapReached
from tenants.errors import ExchequerError

SHORTEST_S = 60
"""A shorter run is no alternative."""


def with_ways(refused: ExchequerError, order: JobRequest) -> ExchequerError:
    """Return the refusal of a launch, that of a budget with alternatives that fit."""
    if not isinstance(refused, BudgetExceeded) or isinstance(refused, SetCapReached):
        return refused
    found = suggest(order, Decimal(refused.extra["left"]["amount"])) if "left" in refused.extra else []
    return BudgetExceeded(refused.message + describe(found), **refused.extra, ways=found)


def suggest(order: JobRequest, left: Decimal) -> list[dict[str, Any]]:
    """Return changes to a request that fit into the budget, each with its worst case.

    `left` is in the tenant's currency.
    """
    grace, priced = grace_s(), estimate(order)
    if not priced.unit_amount:
        return []
    seconds = int((left / priced.second_amount - grace).quantize(Decimal(1), ROUND_FLOOR))
    found: list[dict[str, Any]] = []
    if SHORTEST_S <= seconds < order.max_seconds:
        worst = Money((seconds + grace) * priced.second_amount, priced.currency)
        found.append({"change": {"max_seconds": seconds}, "worst": worst.json()})
    spot = None if order.tier == SPOT else estimate_on(order, SPOT)
    if spot is not None and spot.unit_amount < priced.unit_amount and spot.worst.amount <= left:
        found.append({"change": {"tier": SPOT}, "worst": spot.worst.json()})
    return found


def describe(found: list[dict[str, Any]]) -> str:
    """Return the alternatives as text, and what else helps."""
    said = [" with ".join(f"{name} {value}" for name, value in way["change"].items()) for way in found]
    if not said:
        return " No shorter limit fits. Wait for running work to end, or have the budget raised."
    return f" This would fit: {'; or '.join(said)}. Lower max_seconds or max_cost, choose a cheaper device, or have the budget raised."
