"""What a month would have come to under another book, other terms or another tax.

It is computed as bills are, from the same usage, and not stored. Usage of closed months that the month bills keeps
the price of its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q

from billing.exchange.queries import rate_in_force
from billing.models import Contract, Price, PriceBook, PriceVersion
from billing.money import EXACT, Money
from billing.pricing.contracts import bill_faults
from billing.pricing.price_tables import tables_of
from billing.queries.books import named_values
from billing.queries.calendar import tenant_today
from billing.queries.drafts import billed, contract_in
from billing.queries.lines import USAGE, InvoiceLine, LineRate, computed_lines
from billing.rating.billed.bills import Bill
from billing.rating.billed.differences import Change, Difference, by_cell, difference
from billing.rating.billed.tax import MissingRate, TaxRate, TaxTerms
from billing.rating.billed.terms import Per
from billing.rating.calendar import period_of
from billing.rating.flat import charge
from billing.rating.hours import bucket_of
from billing.rating.new_price import NewPrice
from billing.taxes.queries import AGREED, TaxTable, tax_table
from billing.usage.month import month_bounds, usage_of_month
from tenants import clock
from tenants.access.actor import Actor
from tenants.errors import Invalid, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator

#: Terms that most contracts agree: the list in which each stands, under its name as its key, and its value there.
SIMPLE_TERMS = {
    "commitment": ("commitments", "amount"),
    "discount": ("discounts", "percent"),
    "minimum": ("minimums", "amount"),
}
#: Organisations of one question.
MOST_TENANTS = 20
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What differs from the contract: its book, the terms of its bills, its rate of tax. None: as it is."""

    book_id: UUID | None = None
    terms: Mapping[str, Any] | None = None
    tax_rate: Decimal | None = None

    @property
    def nothing(self) -> bool:
        """Whether it assumes nothing."""
        return self.book_id is None and self.terms is None and self.tax_rate is None


@dataclass(frozen=True, slots=True)
class Compared:
    """A tenant's month as it is, and as it would be; `titles` of meters by key."""

    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    period: date
    before: Bill
    after: Bill
    change: Difference
    titles: Mapping[str, str]

    @property
    def lines(self) -> Sequence[Change]:
        """What differs, by project and meter or by term."""
        return self.change.lines


def what_if(
    *, operator: Operator, tenant_ids: Sequence[UUID], assumed: Assumed, period: date | None = None
) -> list[Compared]:
    """Compare a month of these tenants, by default the last one in their zone, with what it would be; write nothing.

    Raises NotFound for an unknown tenant or book, Invalid for impossible terms or a book that cannot be converted.
    """
    operator.require("prices.manage")
    if not 1 <= len(tenant_ids) <= MOST_TENANTS:
        raise Invalid(fields={"tenants": [f"Choose 1 to {MOST_TENANTS} organisations."]})
    _check(assumed)
    tenants = {tenant.pk: tenant for tenant in Tenant.objects.filter(pk__in=tenant_ids)}
    if set(tenant_ids) - tenants.keys():
        raise NotFound
    found = []
    for tenant_id in dict.fromkeys(tenant_ids):
        with tenant_scope(tenant_id):
            found.append(_compared(tenants[tenant_id], assumed, period))
    return found


def what_if_of_own(*, actor: Actor, changed: Mapping[str, Decimal | None], period: date | None = None) -> Compared:
    """Compare a month of the actor's organisation, by default the last, with its contract under other simple terms.

    `changed`: `commitment`, `minimum` or `discount` (per cent); None takes it away. Raises Invalid.
    """
    actor.require("invoices.view")
    if not changed:
        raise Invalid(fields={"commitment": ["Assume something else: a commitment, a minimum or a discount."]})
    contract = contract_in(period or last_period())
    terms = dict(contract.terms) if contract is not None else {}
    for name, amount in changed.items():
        listed, value = SIMPLE_TERMS[name]
        others = [one for one in terms.get(listed, ()) if one.get("key") != name]
        own = [] if amount is None else [{"key": name, value: f"{amount:f}"}]
        terms[listed] = [*own, *others]
    return _compared(Tenant.objects.get(pk=actor.tenant_id), Assumed(terms=terms), period)


def last_period() -> date:
    """Return the last full month of the open scope's tenant."""
    return period_of(tenant_today().period - timedelta(days=1))


def _check(assumed: Assumed) -> None:
    if assumed.nothing:
        raise Invalid(fields={"terms": ["Assume something else: a price book, terms or a rate of tax."]})
    rate = assumed.tax_rate
    if rate is not None and not (rate.is_finite() and 0 <= rate <= 100):
        raise Invalid(fields={"tax_rate": ["Give a rate from 0 to 100 per cent."]})


def _compared(tenant: Tenant, assumed: Assumed, period: date | None) -> Compared:
    period = period or last_period()
    if period > tenant_today().period:
        raise Invalid(fields={"period": [f"{period:%B %Y} has not begun. Choose the running month or an earlier one."]})
    contract = contract_in(period)
    if contract is None:
        raise Invalid(fields={"period": [f"{tenant.name} has no contract in {period:%B %Y}. Choose another month."]})
    currency = contract.currency
    if assumed.terms is not None and (wrong := bill_faults(assumed.terms, currency)):
        texts = [f"{fault.where}: {fault.message}" if fault.where else fault.message for fault in wrong]
        raise Invalid(fields={"terms": texts})
    lines = computed_lines([period], currency)[period]
    table = tax_table()
    before = _bill(lines, contract, period, (None, table.terms(contract, period)))
    other = (
        lines
        if assumed.book_id is None
        else _rated_by(assumed.book_id, lines, period, currency, hourly=_by_the_hour(contract, assumed))
    )
    after = _bill(other, contract, period, (assumed.terms, _tax(assumed, table, contract, period)))
    titles = {line.meter: line.meter_title for line in (*lines, *other)}
    change = difference(before, after, key_of=by_cell)
    return Compared(tenant.pk, tenant.slug, tenant.name, period, before, after, change, titles)


def _by_the_hour(contract: Contract, assumed: Assumed) -> bool:
    """Return whether a savings plan by the hour is part of the terms, for which usage is read by hour."""
    terms = contract.terms if assumed.terms is None else assumed.terms
    return any(plan.get("per") == Per.HOUR for plan in terms.get("savings_plans", ()))


def _tax(assumed: Assumed, table: TaxTable, contract: Contract, period: date) -> TaxTerms | None:
    if assumed.tax_rate is None:
        return table.terms(contract, period)
    return TaxTerms(AGREED, AGREED, (TaxRate(AGREED, assumed.tax_rate, period),))


def _bill(
    lines: Sequence[InvoiceLine],
    contract: Contract,
    period: date,
    changed: tuple[Mapping[str, Any] | None, TaxTerms | None],
) -> Bill:
    """Return the bill; without tax where no rate is in force, as its draft is."""
    terms, tax = changed
    try:
        return billed(lines, contract, period, contract.currency, terms=terms, tax=tax)
    except MissingRate:
        return billed(lines, contract, period, contract.currency, terms=terms)


def _rated_by(
    book_id: UUID, lines: Sequence[InvoiceLine], period: date, currency: str, *, hourly: bool
) -> list[InvoiceLine]:
    """Return a month's lines as another book rates them now, by today's exchange rate; corrections stay."""
    prices, rate = _prices(book_id, currency)
    tables = tables_of([prices[0].version_id], {price.meter for price in prices})[prices[0].version_id]
    named = named_values(NewPrice(price.meter, price.dims, price.unit_amount) for price in prices)
    # Every usage of the month is on one of its lines, which has its names.
    like = {(line.project_id, line.meter_id, line.outside): line for line in lines}
    bounds = month_bounds(period)
    made: dict[tuple[Any, ...], InvoiceLine] = {}
    for row in usage_of_month(period, named=named, hourly=hourly):
        old = like[row.project_id, row.meter_id, row.outside]
        entry = tables[old.meter].find(row.dims) if old.meter in tables else None
        key = (row.project_id, row.meter_id, entry and entry.price_id, row.outside)
        if key not in made:
            made[key] = replace(
                old,
                id=UUID(int=len(made) + 1),
                price_id=entry.price_id if entry else None,
                unit_amount=entry.unit_amount if entry else ZERO,
                dims=entry.dims if entry else {},
                details=rate.kept() if entry and rate else {},
                quantity=ZERO,
                exact=Money.zero(currency),
                kind=USAGE,
                origin=None,
            )
        line, amount = made[key], charge(row.quantity, _unit(entry.unit_amount, rate)) if entry else ZERO
        hours = dict(line.hours)
        if row.hour is not None:
            hour = bucket_of(row.hour, *bounds)
            hours[hour] = hours.get(hour, ZERO) + amount
        exact = line.exact + Money(amount, currency)
        made[key] = replace(
            line, quantity=line.quantity + row.quantity, exact=exact, hours=tuple(sorted(hours.items()))
        )
    own = [replace(line, amount=line.exact.rounded(), list_exact=line.exact) for line in made.values()]
    late = [replace(line, id=UUID(int=len(own) + n)) for n, line in enumerate(lines, 1) if line.origin]
    return [*own, *late]


def _unit(amount: Decimal, rate: LineRate | None) -> Decimal:
    return amount if rate is None else EXACT.multiply(amount, rate.value)


def _prices(book_id: UUID, currency: str) -> tuple[list[Price], LineRate | None]:
    """Return the prices of a book that are in force now, and the rate that converts them if it is in another currency."""
    book = PriceBook.objects.filter(pk=book_id).first()
    if book is None:
        raise NotFound
    rate = None if book.currency == currency else rate_in_force(book.currency, currency, clock.now())
    if rate is None and book.currency != currency:
        fault = f"This book is in {book.currency}, the contract in {currency}. Enter an exchange rate for them first."
        raise Invalid(fields={"book": [fault]})
    version = _version(book, clock.now())
    found = list(Price.objects.filter(version=version)) if version else []
    if not found:
        raise Invalid(fields={"book": ["This book has no prices in force."]})
    return found, LineRate(rate.id, rate.source, rate.value, rate.valid_from) if rate else None


def _version(book: PriceBook, at: datetime) -> PriceVersion | None:
    return PriceVersion.objects.filter(Q(book=book), effective_at__lte=at).order_by("-effective_at").first()
