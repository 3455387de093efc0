"""Reported usage that costs more than its sender may report."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from billing.models import UsageKey
from billing.money import Money
from billing.rating.flat import LARGEST_CHARGE
from billing.reported.sender_limits import Limits
from billing.usage.intervals import Interval, digest


def too_dear(cost: Decimal, limits: Limits) -> str | None:
    """Return why usage of this cost is refused, None if it is not."""
    if cost > LARGEST_CHARGE:
        return "it would cost more than 10^12: check its quantity and the price"
    if cost > limits.amount.amount:
        dear = Money(cost, limits.amount.currency).plain()
        return f"it would cost {dear}, more than the {limits.amount.plain()} that a sender may report a day: check its quantity, or ask finance to raise the limit"
    return None


def unknown(good: Mapping[int, Interval], numbers: Collection[int]) -> list[int]:
    """Return the events never reported before: known ones get their result whatever the limit is now."""
    if not numbers:
        return []
    hashes = {number: digest(good[number].source, good[number].key) for number in numbers}
    rows = UsageKey.objects.filter(key_hash__in=list(hashes.values()))
    known = {bytes(key) for key in rows.values_list("key_hash", flat=True)}
    return [number for number, key in hashes.items() if key not in known]
