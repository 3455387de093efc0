"""The cluster's bill of a period, split over organisations, exact to the minor unit by the largest remainder. Pure.

Each organisation bears what it allocated, busy or idle. What was held and what was free is shared by a rule; where nobody can
bear it, it stays with the platform, in a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing.money import EXACT, Money, minor_decimals

PROPORTIONAL, EVEN, GUARANTEED, PLATFORM = "proportional", "even", "guaranteed", "platform"
RULES = (PROPORTIONAL, EVEN, GUARANTEED, PLATFORM)
COLUMNS = ("used", "idle", "held", "free")
HOUR_US = 3_600_000_000
#: An organisation, or None for the platform.
Bearer = UUID | None


@dataclass(frozen=True, slots=True)
class Seconds:
    """Device time in whole microseconds: allocated = used + idle, capacity = allocated + held + free."""

    used: int = 0
    idle: int = 0
    held: int = 0
    free: int = 0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.used + other.used, self.idle + other.idle, self.held + other.held, self.free + other.free)

    @property
    def allocated(self) -> int:
        """Busy or not."""
        return self.used + self.idle

    @property
    def capacity(self) -> int:
        """All of it."""
        return self.allocated + self.held + self.free


@dataclass(frozen=True, slots=True)
class Part:
    """Device time of a class at one cost of a device-hour, None before its first. `bearer` is whose it was; free time is no one's."""

    device_class: str
    bearer: Bearer
    per_hour: Decimal | None
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Row:
    """What one organisation, or the platform, had of a class, and what it bears of the bill. `without_cost`: microseconds."""

    device_class: str
    bearer: Bearer
    seconds: Seconds
    without_cost: int
    used: Money
    idle: Money
    held: Money
    free: Money

    @property
    def total(self) -> Money:
        """All that it bears."""
        return self.used + self.idle + self.held + self.free


def split(
    parts: Iterable[Part], rule: str, guaranteed: Mapping[tuple[str, UUID], int], currency: str
) -> tuple[Money, list[Row]]:
    """Return the bill and its rows by class and bearer, the platform's last; all their amounts add up to the bill.

    `guaranteed` are devices by class and organisation, for the rule of that name. Raises ValueError for an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(rule)
    seconds: dict[tuple[str, Bearer], Seconds] = {}
    lacking: dict[tuple[str, Bearer], int] = {}
    costs: dict[tuple[str, str], dict[Bearer, Decimal]] = {}
    for part in parts:
        key = part.device_class, part.bearer
        seconds[key] = seconds.get(key, Seconds()) + part.seconds
        if part.per_hour is None:
            lacking[key] = lacking.get(key, 0) + part.seconds.capacity
            continue
        for column in COLUMNS:
            of = costs.setdefault((part.device_class, column), {})
            cost = EXACT.multiply(part.per_hour, Decimal(getattr(part.seconds, column)))
            of[part.bearer] = EXACT.add(of.get(part.bearer, Decimal(0)), cost)
    bill, sums = _sums(costs, currency)
    borne: dict[tuple[str, Bearer], dict[str, Money]] = {}
    for (name, column), amount in sums.items():
        if not amount:
            continue
        weights: Mapping[Bearer, Decimal | int] = costs[name, column]
        if column in ("held", "free"):
            weights = _weights(name, rule, seconds, guaranteed)
        for bearer, money in _given(amount, weights).items():
            borne.setdefault((name, bearer), {})[column] = money
    zero = Money.zero(currency)
    return bill, [
        Row(
            *key,
            seconds.get(key, Seconds()),
            lacking.get(key, 0),
            *(borne.get(key, {}).get(column, zero) for column in COLUMNS),
        )
        for key in sorted({*seconds, *borne}, key=lambda one: (one[0], _last(one[1])))
    ]


def _sums(
    costs: Mapping[tuple[str, str], Mapping[Bearer, Decimal]], currency: str
) -> tuple[Money, dict[tuple[str, str], Money]]:
    """Return the bill in whole minor units, and its parts by class and column."""
    keys = sorted(costs)
    exact = [_total(costs[key].values()) for key in keys]
    whole = _total(exact)
    decimals = minor_decimals(currency)
    units = EXACT.divide(whole.scaleb(decimals, EXACT), Decimal(HOUR_US)).to_integral_value()
    bill = Money(units.scaleb(-decimals, EXACT), currency)
    if not bill:
        return bill, {}
    return bill, dict(zip(keys, bill.allocate(exact), strict=True))


def _total(amounts: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _weights(
    name: str, rule: str, seconds: Mapping[tuple[str, Bearer], Seconds], guaranteed: Mapping[tuple[str, UUID], int]
) -> dict[Bearer, int]:
    """Return who bears what was held and free of a class, by weight; nobody under the rule of the platform."""
    took = {bearer: of for (kind, bearer), of in seconds.items() if kind == name and bearer is not None}
    if rule == PROPORTIONAL:
        return {bearer: of.allocated for bearer, of in took.items()}
    if rule == EVEN:
        return {bearer: 1 for bearer, of in took.items() if of.capacity}
    if rule == GUARANTEED:
        return {bearer: devices for (kind, bearer), devices in guaranteed.items() if kind == name}
    return {}


def _given(amount: Money, weights: Mapping[Bearer, Decimal | int]) -> dict[Bearer, Money]:
    bearers = sorted((bearer for bearer, weight in weights.items() if weight), key=_last)
    if not bearers:
        return {None: amount}
    return dict(zip(bearers, amount.allocate([weights[one] for one in bearers]), strict=True))


def _last(bearer: Bearer) -> tuple[bool, str]:
    return bearer is None, str(bearer)
