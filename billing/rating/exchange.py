"""Price lists in another currency than the contract's, by the exchange rates in force. Pure.

A converted list charges quantity times unit price times rate, rounded once, half-even, at the twelfth decimal: the product
of price and rate keeps all of its digits until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.rating.selection import PriceList


@dataclass(frozen=True, slots=True)
class Rate:
    """How much of the contract's currency, `target`, one unit of `source` buys, from `valid_from` until the next rate."""

    id: UUID
    source: str
    value: Decimal
    valid_from: datetime
    target: str = ""


def rate_at(rates: Iterable[Rate], source: str, at: datetime) -> Rate | None:
    """Return the rate of a currency that is in force at `at`; None before its first."""
    begun = [rate for rate in rates if rate.source == source and rate.valid_from <= at]
    return max(begun, key=lambda rate: rate.valid_from, default=None)


def converted(lists: Sequence[PriceList], rates: Sequence[Rate], currency: str) -> list[PriceList]:
    """Return the lists with one more for each change of a rate, so that each has a single one.

    A list in another currency without a rate in force has no prices: it `lacks` one. `currency`: of lists and rates that
    name no target.
    """
    ordered = sorted(lists, key=lambda item: (item.effective_at, item.version_id))
    found: list[PriceList] = []
    for number, item in enumerate(ordered):
        target = item.target or currency
        if item.currency == target:
            found.append(item)
            continue
        those = [rate for rate in rates if rate.target in ("", target)]
        ends = ordered[number + 1].effective_at if number + 1 < len(ordered) else None
        changes = [
            rate.valid_from
            for rate in those
            if rate.source == item.currency
            and item.effective_at < rate.valid_from
            and (ends is None or rate.valid_from < ends)
        ]
        found += [_from(item, at, rate_at(those, item.currency, at), target) for at in (item.effective_at, *changes)]
    return found


def _from(item: PriceList, at: datetime, rate: Rate | None, currency: str) -> PriceList:
    moved = replace(item, effective_at=at, currency=currency)
    if rate is None:
        return replace(moved, entries=(), tables={}, lacks=item.currency)
    return replace(moved, rate=rate.value, rate_id=rate.id)
