"""What the launch form says about devices, prices and refusals, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.money import Money
from billing.queries.prices import PriceView, prices_in_force
from billing.quotes import Estimate
from compute import queries as work
from compute.jobs import Order
from tenants.errors import ExchequerError

METER = "device_seconds"
HOUR = 3600


@dataclass(frozen=True)
class DeviceOffer:
    """A device class as a card of the form. `price` is of a second on demand; None when no price is in force."""

    name: str
    title: str
    price: Money | None
    hourly: Money | None
    spot: Money | None
    spot_hourly: Money | None
    free: int
    total: int


@dataclass(frozen=True)
class Shown:
    """The cost panel. `quota_after` counts this job; `refusals` say what would stop the launch now."""

    typical: Money
    typical_s: int
    worst: Money
    rate: Money
    limit_s: Decimal
    budget_left: Money | None
    waiting: str
    quota_after: int
    quota_limit: int | None
    quota_share: float
    refusals: Sequence[str]


@dataclass(frozen=True)
class Refusal:
    """Why a launch was refused, and what one can do about it."""

    title: str
    text: str
    steps: Sequence[str]


def devices(currency: str) -> list[DeviceOffer]:
    """Return the classes of the pool with what a second costs; two queries however many there are."""
    prices = prices_in_force(METER)
    return [
        DeviceOffer(
            name=row.device_class,
            title="CPU" if row.device_class == "cpu" else row.device_class,
            price=_money(_price(prices, device_class=row.device_class, tier="on_demand"), currency),
            hourly=_money(_price(prices, device_class=row.device_class, tier="on_demand"), currency, HOUR),
            spot=_money(_price(prices, device_class=row.device_class, tier="spot"), currency),
            spot_hourly=_money(_price(prices, device_class=row.device_class, tier="spot"), currency, HOUR),
            free=row.free,
            total=row.total,
        )
        for row in work.device_classes()
    ]


def quote_of(order: Order, estimate: Estimate) -> Shown:
    """Return the cost panel for a checked order."""
    row = next((row for row in work.device_classes() if row.device_class == order.device_class), None)
    limit, used = (row.quota_limit, row.quota_in_use) if row else (None, 0)
    refusals = []
    if not estimate.fits and estimate.budget_left_after is not None:
        left = Money(estimate.budget_left_after.amount + estimate.worst.amount, estimate.currency)
        refusals.append(
            f"Does not fit the budget: up to {_text(estimate.worst)} is needed, {_text(left)} is left. Lower the longest run time or the highest cost."
        )
    if limit is not None and used + 1 > limit:
        refusals.append(
            f"Your quota of {limit} {order.device_class} devices is in use. Wait for a job to end, or ask an admin for more."
        )
    wait = work.expected_wait_s(order.device_class)
    return Shown(
        typical=estimate.typical,
        typical_s=order.typical_s,
        worst=estimate.worst,
        rate=Money(estimate.unit_amount, estimate.currency),
        limit_s=estimate.billable_limit_s,
        budget_left=estimate.budget_left_after,
        waiting="no wait"
        if wait == 0
        else "until others end"
        if wait is None
        else f"about {wait / 60:.0f} min"
        if wait >= 60
        else "under a minute",
        quota_after=used + 1,
        quota_limit=limit,
        quota_share=(used + 1) / limit if limit else 0.0,
        refusals=refusals,
    )


def refusal_of(refused: ExchequerError, currency: str) -> Refusal:
    """Say a refusal in words, with the cheaper ways."""
    if refused.code == "budget_exceeded":
        left, asked = (_of(refused.extra.get(name), currency) for name in ("left", "asked"))
        text = (
            f"The job may cost up to {asked}; the budget has {left} left this month. Nothing was charged."
            if left and asked
            else refused.message
        )
        steps = [
            "Lower the longest run time or the highest cost.",
            "Choose spot, or a cheaper device.",
            "Ask finance or an admin to raise the budget.",
        ]
        return Refusal("The budget has no room for this.", text, steps)
    if refused.code == "quota_exceeded":
        limit, used = refused.extra.get("limit"), refused.extra.get("in_use")
        text = (
            f"Your organisation may use {limit} at once, and {used} are in use. Nothing was charged."
            if limit is not None
            else refused.message
        )
        return Refusal(
            "The quota is used up.",
            text,
            ["Wait for a running job to end, or cancel one.", "Ask an admin to raise the quota."],
        )
    return Refusal("Not launched.", refused.message, [])


def _price(prices: Sequence[PriceView], **dims: str) -> Decimal | None:
    """Return the price that names the most of these dimensions and nothing else, as rating does."""
    fitting = [price for price in prices if all(dims.get(name) == value for name, value in price.dims.items())]
    best = min(fitting, key=lambda price: (-len(price.dims), sorted(price.dims.items())), default=None)
    return best.unit_amount if best else None


def _money(amount: Decimal | None, currency: str, times: int = 1) -> Money | None:
    return None if amount is None else Money(amount, currency) * times


def _of(value: Any, currency: str) -> str:
    if isinstance(value, Money):
        return _text(value)
    if isinstance(value, dict):
        return f"{Decimal(str(value['amount'])):,.4f} {value['currency']}"
    return f"{Decimal(str(value)):,.4f} {currency}" if value is not None else ""


def _text(money: Money) -> str:
    return f"{money.amount:,.4f} {money.currency}"
