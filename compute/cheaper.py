"""What a job that its budget refused could ask for instead: shorter, or at the spot price; only ways that fit."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from billing.money import Money
from compute.orders import Order, estimate
from compute.requote import grace_s

SHORTEST_S = 60
"""A run shorter than this is no help."""


def ways(order: Order, left: Decimal) -> list[dict[str, Any]]:
    """Return changes to a request that the budget has room for, each with its worst case. `left` is in the tenant's currency."""
    grace = grace_s()
    found: list[dict[str, Any]] = []
    for tier in dict.fromkeys((order.tier, "spot")):
        priced = estimate(replace(order, tier=tier))
        if not priced.unit_amount:
            continue
        most = int((left / priced.unit_amount - grace).quantize(Decimal(1), ROUND_FLOOR))
        seconds = min(most, order.max_seconds)
        if seconds < SHORTEST_S:
            continue
        change: dict[str, Any] = {} if tier == order.tier else {"tier": tier}
        if seconds < order.max_seconds:
            change["max_seconds"] = seconds
        if change:
            found.append(
                {"change": change, "worst": Money((seconds + grace) * priced.unit_amount, priced.currency).json()}
            )
    return found


def told(found: list[dict[str, Any]]) -> str:
    """Say the ways in words, and what else helps."""
    said = [" with ".join(f"{name} {value}" for name, value in way["change"].items()) for way in found]
    if not said:
        return (
            " Nothing shorter fits, at the spot price neither: wait for running work to end, or have the budget raised."
        )
    return f" This would fit: {'; or '.join(said)}. Lower max_seconds or max_cost, choose spot or a cheaper device, or have the budget raised."
