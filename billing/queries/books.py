"""What the console shows of price books and contracts, over all tenants. In a tenant's process most of it is empty."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.db.models import Count, Max, Q

from billing.defaults import METERS
from billing.exchange.queries import rate_in_force
from billing.models import Contract, Meter, PriceBook
from billing.money import EXACT, Money
from billing.pg_arrays import parsed
from billing.queries.calendar import tenant_currencies
from billing.queries.prices import FACTS, ContractView, MeterView, PriceBookView, contracts, views
from billing.rating.calendar import local_day, period_of
from billing.rating.flat import charge
from billing.rating.new_price import NewPrice
from billing.rating.selection import PriceEntry, PriceTable
from tenants import clock
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import Tenant

#: The platform's meters. A price may name others by key: those that tenants define.
PLATFORM = [MeterView(UUID(int=0), spec.key, spec.title, spec.unit, spec.event_type) for spec in METERS]
NAMES = {meter.key: (meter.title, meter.unit) for meter in PLATFORM}
#: Meters of organisations that a page of a book offers.
MOST_METERS = 500
#: Months of usage on the page of a tenant's contract.
MONTHS = 6
SUMS = "SELECT tenant_id, meter, dims, quantity, amount FROM billing_sums_of_month(%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class BookRow:
    """A price book in the list: `tenants` have a contract with it that has not ended."""

    id: UUID
    name: str
    currency: str
    is_standard: bool
    versions: int
    tenants: int


@dataclass(frozen=True, slots=True)
class ContractRow:
    """A contract in the list of all tenants."""

    tenant_id: UUID
    slug: str
    name: str
    contract: ContractView


@dataclass(frozen=True, slots=True)
class MonthRow:
    """What a tenant used of one meter in a month (its first day), and what it cost."""

    month: date
    meter: str
    unit: str
    quantity: Decimal
    cost: Money


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """What a tenant paid for a month, and what it would have paid by other prices; `month` is its first day."""

    tenant_id: UUID
    name: str
    before: Money
    after: Money

    @property
    def change(self) -> Money:
        """The difference."""
        return self.after - self.before


def books() -> list[BookRow]:
    """Return every price book by name."""
    running = Q(contracts__ends_on=None) | Q(contracts__ends_on__gt=clock.now().date())
    rows = PriceBook.objects.annotate(
        newest=Max("versions__number"), tenants=Count("contracts__tenant", filter=running, distinct=True)
    )
    names = ("id", "name", "currency", "is_standard", "newest", "tenants")
    return [BookRow(*row) for row in rows.order_by("name", "id").values_list(*names)]


def choices() -> list[tuple[str, str]]:
    """Return id and label of each book, to choose from."""
    return [(str(row.id), f"{row.name} ({row.currency})") for row in books()]


def book(book_id: UUID) -> PriceBookView:
    """Return a book with its versions. Raises NotFound."""
    names = {meter.key: (meter.title, meter.unit) for meter in meters_under(book_id)}
    for found in views(PriceBook.objects.filter(pk=book_id), names):
        return found
    raise NotFound


def meters_under(book_id: UUID | None = None) -> list[MeterView]:
    """Return the platform's meters, then those that organisations under a book, by default any, define: each key once, by key."""
    with all_tenants("the console prices and taxes the meters of all organisations under a book"):
        under = Contract.objects.filter(Q(ends_on=None) | Q(ends_on__gt=clock.now().date()))
        under = under.filter(book_id=book_id) if book_id else under
        own = Meter.objects.filter(tenant_id__in=under.values("tenant_id")).exclude(key__in=NAMES)
        rows = own.order_by("key", "created_at").distinct("key").values_list("id", "key", "title", "unit", "event_type")
        return [*PLATFORM, *(MeterView(*row) for row in rows[:MOST_METERS])]


def contract_rows(*, book_id: UUID | None = None, after: str = "", limit: int = 50) -> list[ContractRow]:
    """Return up to `limit` + 1 tenants, by short name, those after `after`: each with the contract that runs, else the next."""
    with all_tenants("the console lists the contracts of all tenants"):
        rows = Contract.objects.filter(Q(ends_on=None) | Q(ends_on__gt=clock.now().date()), tenant__slug__gt=after)
        if book_id is not None:
            rows = rows.filter(book_id=book_id)
        found = (
            rows.order_by("tenant__slug", "starts_on")
            .distinct("tenant__slug")
            .values_list("tenant_id", "tenant__slug", "tenant__name", *FACTS)
        )
        return [ContractRow(row[0], row[1], row[2], ContractView(*row[3:])) for row in found[: limit + 1]]


def contracts_of(tenant_id: UUID) -> tuple[Tenant, list[ContractView]]:
    """Return a tenant and its contracts, the latest start first. Raises NotFound."""
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound
    with tenant_scope(tenant_id):
        return tenant, contracts()


def meters_of(tenant_id: UUID) -> list[tuple[str, str]]:
    """Return key and title of a tenant's meters, by title."""
    with tenant_scope(tenant_id):
        return list(Meter.objects.order_by("title", "key").values_list("key", "title"))


def months_of(tenant: Tenant, number: int = MONTHS) -> list[MonthRow]:
    """Return what a tenant used in its newest months, the running one first: a row for each meter, the dearest first."""
    months = [period_of(local_day(clock.now(), tenant.timezone))]
    while len(months) < number:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT month, meter, sum(quantity), sum(amount) FROM unnest(%s::date[]) month, "
            "billing_sums_of_month(ARRAY[%s::uuid], month, '{}') GROUP BY 1, 2 ORDER BY 1 DESC, 4 DESC, 2",
            [months, tenant.pk],
        )
        rows = cursor.fetchall()
    found = []
    with tenant_scope(tenant.pk):
        names = {key: (title, unit) for key, title, unit in Meter.objects.values_list("key", "title", "unit")}
        currencies = tenant_currencies()
    for month, meter, quantity, amount in rows:
        title, unit = names.get(meter) or NAMES.get(meter, (meter, "unit"))
        found.append(MonthRow(month, title, unit, quantity, Money(amount, currencies.of(month))))
    return found


def preview(book_id: UUID, prices: Iterable[NewPrice], month: date) -> list[PreviewRow]:
    """Return what each tenant under a book paid in a month, and what it would have paid by these prices.

    Of the usage only sums are read, by those dimensions that the prices name. One statement for all tenants.
    """
    prices = list(prices)
    row = PriceBook.objects.filter(pk=book_id).first()
    if row is None:
        raise NotFound
    with all_tenants("the console compares what all tenants under a book pay"):
        running = row.contracts.filter(Q(ends_on=None) | Q(ends_on__gt=month), starts_on__lte=month)
        contracts = list(running.values_list("tenant_id", "tenant__name", "currency"))
    under = {tenant_id: name for tenant_id, name, _ in contracts}
    paid_in = {tenant_id: currency for tenant_id, _, currency in contracts}
    rates = {currency: _worth(row.currency, currency) for currency in set(paid_in.values())}
    before, after = dict.fromkeys(under, Decimal(0)), dict.fromkeys(under, Decimal(0))
    tables = by_meter_of(prices)
    with connection.cursor() as cursor:
        cursor.execute(SUMS, [list(under), month, json.dumps(named_values(prices))])
        for tenant_id, meter, dims, quantity, amount in cursor.fetchall():
            entry = tables[meter].find(parsed(dims)) if meter in tables else None
            before[tenant_id] += amount
            rate = rates[paid_in[tenant_id]]
            after[tenant_id] += charge(quantity, EXACT.multiply(entry.unit_amount, rate)) if entry else 0
    rows = [
        PreviewRow(one, name, Money(before[one], paid_in[one]).rounded(), Money(after[one], paid_in[one]).rounded())
        for one, name in under.items()
    ]
    return sorted(rows, key=lambda one: (-abs(one.change.amount), one.name))


def _worth(source: str, target: str) -> Decimal:
    """Return the exchange rate in force now; without one usage costs nothing."""
    rate = None if source == target else rate_in_force(source, target, clock.now())
    return rate.value if rate else Decimal(source == target)


def last_month() -> date:
    """Return the first day of the month before the current one, in UTC."""
    return (clock.now().date().replace(day=1) - timedelta(days=1)).replace(day=1)


def by_meter_of(prices: Iterable[NewPrice]) -> Mapping[str, PriceTable]:
    """Return the tables of prices that are not published, by meter."""
    entries: dict[str, list[PriceEntry]] = {}
    for price in prices:
        entries.setdefault(price.meter, []).append(PriceEntry(UUID(int=0), price.meter, price.dims, price.unit_amount))
    return {meter: PriceTable(listed) for meter, listed in entries.items()}


def named_values(prices: Iterable[NewPrice]) -> dict[str, list[str]]:
    """Return the values that the prices name, by dimension: all others change no price."""
    named: dict[str, set[str]] = {}
    for price in prices:
        for name, value in price.dims.items():
            named.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in named.items()}
