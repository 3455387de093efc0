"""The table of tax rates as pages list it, and what of it decides the tax of a contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from billing.models import Contract, Seller
from billing.models import TaxRate as Row
from billing.rating.billed.tax import STANDARD, TaxRate, TaxTerms
from billing.rating.calendar import local_day, next_period
from billing.taxes.tax_ids import registered_id
from tenants import clock
from tenants.errors import NotFound

#: Where a contract names a rate, no table of countries is asked.
AGREED = "ZZ"


@dataclass(frozen=True, slots=True)
class TaxRateView:
    """A row of the table; `state` is coming, in_force or past. `product` is a meter's key, empty for any."""

    id: UUID
    country: str
    product: str
    name: str
    percent: Decimal
    starts_on: date
    ends_on: date | None
    entered_by: str
    state: str


@dataclass(frozen=True, slots=True)
class TaxTable:
    """The seller's country and its rates. Without rates there is no tax but what contracts name."""

    seller_country: str
    rates: Sequence[TaxRate] = ()

    def terms(self, contract: Contract | None, period: date) -> TaxTerms | None:
        """Return how a month under a contract is taxed; None without tax. What the contract states comes first.

        With rates, both countries must be known: nothing is untaxed because somebody forgot to enter one.
        """
        if contract is None:
            return None
        if contract.tax_rate is not None:
            return TaxTerms(AGREED, AGREED, (TaxRate(AGREED, contract.tax_rate, period),))
        if not self.rates:
            return None
        # Where the seller's registration has ended, a country's rates are none.
        day = tax_day(period)
        rates = tuple(one for one in self.rates if one.starts_on <= day and (one.ends_on is None or day < one.ends_on))
        products = {rate.product: rate.product for rate in rates if rate.product != STANDARD}
        return TaxTerms(
            seller_country=self.seller_country,
            buyer_country=contract.country,
            rates=rates,
            tax_id=registered_id(contract.tax_number),
            products=products,
        )


def tax_day(period: date) -> date:
    """Return the day whose rates and credits apply to a month: its last."""
    return next_period(period) - timedelta(days=1)


def tax_table() -> TaxTable:
    """Return the table as bills read it."""
    rates = [
        TaxRate(row.country, row.percent, row.starts_on, row.ends_on, row.product or STANDARD, row.name)
        for row in Row.objects.order_by("country", "product", "starts_on")
    ]
    country = Seller.objects.values_list("country", flat=True).first() if rates else None
    return TaxTable(country or "", rates)


def tax_rates() -> list[TaxRateView]:
    """Return all rates by country and product, the latest start first."""
    today = local_day(clock.now(), "UTC")
    return [_view(row, today) for row in Row.objects.order_by("country", "product", "-starts_on")]


def tax_rate(rate_id: UUID) -> TaxRateView:
    """Return one rate. Raises NotFound."""
    row = Row.objects.filter(pk=rate_id).first()
    if row is None:
        raise NotFound
    return _view(row, local_day(clock.now(), "UTC"))


def _view(row: Row, today: date) -> TaxRateView:
    facts = ("country", "product", "name", "percent", "starts_on", "ends_on", "entered_by")
    return TaxRateView(id=row.pk, state=_state(row, today), **{name: getattr(row, name) for name in facts})


def _state(row: Row, today: date) -> str:
    if row.starts_on > today:
        return "coming"
    return "in_force" if row.ends_on is None or today < row.ends_on else "past"
