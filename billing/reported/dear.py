"""What is wrong with the cost of reported usage: too old or without a price to be counted unseen, or too dear."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from billing.metering.rate import most_cost
from billing.models import UsageKey
from billing.money import EXACT, Money
from billing.pricing.price_books import Terms
from billing.rating.flat import LARGEST_CHARGE
from billing.reported.receiving import OLDEST, review_reason
from billing.reported.sender_limits import Limits
from billing.usage.intervals import Interval, digest


def verdict(usage: Interval, terms: Terms, limits: Limits) -> tuple[str, str | None]:
    """Return why usage needs a review, empty if it does not, and why it is refused for its cost, None if it is not.

    Old usage may have any price; that is checked when a person accepts it.
    """
    if usage.quantity is not None and usage.end >= terms.now - OLDEST:
        price = terms.price(usage.meter, usage.dims, usage.start)  # a count has one
        if price is not None:
            cost = EXACT.multiply(usage.quantity, price.unit_amount)
            if cost <= limits.amount.amount and cost <= LARGEST_CHARGE:
                return "", None
    if reason := review_reason(usage, terms):
        return reason, None
    return "", too_dear(most_cost(usage, terms), limits)


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
