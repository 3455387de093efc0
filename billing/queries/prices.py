"""Meters, price books and the prices in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.models import Meter, Price, PriceBook, PriceVersion
from billing.queries.calendar import tenant_today


@dataclass(frozen=True, slots=True)
class MeterView:
    """A meter: what it counts and the type of the events that feed it."""

    id: UUID
    key: str
    title: str
    unit: str
    event_type: str


@dataclass(frozen=True, slots=True)
class PriceView:
    """The price of one unit of a meter for usage that carries all of `dims`."""

    id: UUID
    meter: str
    meter_title: str
    unit: str
    dims: Mapping[str, str]
    unit_amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class VersionView:
    """A published version; `state` is coming, in_force or past."""

    id: UUID
    number: int
    effective_at: datetime
    published_at: datetime
    published_by: str
    note: str
    state: str
    prices: tuple[PriceView, ...]


@dataclass(frozen=True, slots=True)
class PriceBookView:
    """A price book with its newest versions, newest first."""

    id: UUID
    name: str
    currency: str
    versions: tuple[VersionView, ...]

    @property
    def in_force(self) -> VersionView | None:
        """The version that rates usage now."""
        return next((version for version in self.versions if version.state == "in_force"), None)


def meters() -> list[MeterView]:
    """Return the tenant's meters by key."""
    rows = Meter.objects.order_by("key").values_list("id", "key", "title", "unit", "event_type")
    return [MeterView(*row) for row in rows]


def price_books(versions: int = 12) -> list[PriceBookView]:
    """Return the tenant's price books, each with its newest `versions` and their prices."""
    at = tenant_today()
    result = []
    for book in PriceBook.objects.order_by("currency"):
        newest = list(PriceVersion.objects.filter(book=book).order_by("-effective_at")[:versions])
        shown = []
        ruling = next((version.pk for version in newest if version.effective_at <= at.now), None)
        for version in newest:
            ahead = version.effective_at > at.now
            state = "coming" if ahead else ("in_force" if version.pk == ruling else "past")
            shown.append(_version(version, state, book.currency))
        result.append(PriceBookView(book.pk, book.name, book.currency, tuple(shown)))
    return result


def prices_in_force(meter: str) -> list[PriceView]:
    """Return the prices of a meter that rate usage now, in the tenant's currency, cheapest first."""
    currency = tenant_today().currency
    ruling = [book.in_force for book in price_books() if book.currency == currency]
    prices = [price for version in ruling if version for price in version.prices if price.meter == meter]
    return sorted(prices, key=lambda price: (price.unit_amount, sorted(price.dims.items())))


def _version(version: PriceVersion, state: str, currency: str) -> VersionView:
    rows = Price.objects.filter(version=version).select_related("meter").order_by("meter__key", "unit_amount", "id")
    prices = tuple(
        PriceView(row.pk, row.meter.key, row.meter.title, row.meter.unit, row.dims, row.unit_amount, currency)
        for row in rows
    )
    return VersionView(
        id=version.pk,
        number=version.number,
        effective_at=version.effective_at,
        published_at=version.published_at,
        published_by=version.published_by,
        note=version.note,
        state=state,
        prices=prices,
    )
