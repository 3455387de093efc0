"""Meters, price books and the prices in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.models import Meter, Price, PriceBook, PriceVersion
from billing.queries.calendar import tenant_today
from tenants.errors import NotFound


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
    """A price book with its versions, the latest start first."""

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


def price_books(begun: int = 12) -> list[PriceBookView]:
    """Return the tenant's price books, each with all its coming versions, the one in force and the newest past ones.

    `begun` counts the last two together; the latest start comes first.
    """
    now = tenant_today().now
    found: list[tuple[PriceBook, list[PriceVersion], int]] = []
    for book in PriceBook.objects.order_by("currency"):
        versions = PriceVersion.objects.filter(book=book).order_by("-effective_at")
        coming = list(versions.filter(effective_at__gt=now))
        found.append((book, [*coming, *versions.filter(effective_at__lte=now)[:begun]], len(coming)))
    prices = _prices([version.pk for _, versions, _ in found for version in versions])
    return [
        PriceBookView(
            book.pk,
            book.name,
            book.currency,
            tuple(
                _version(one, "coming" if at < ahead else "in_force" if at == ahead else "past", book.currency, prices)
                for at, one in enumerate(versions)
            ),
        )
        for book, versions, ahead in found
    ]


def price_version(version_id: UUID) -> VersionView:
    """Return one version with its prices. Raises NotFound."""
    version = PriceVersion.objects.select_related("book").filter(pk=version_id).first()
    if version is None:
        raise NotFound
    now = tenant_today().now
    begun = PriceVersion.objects.filter(book=version.book, effective_at__lte=now)
    followed = begun.filter(effective_at__gt=version.effective_at).exists()
    state = "coming" if version.effective_at > now else "past" if followed else "in_force"
    return _version(version, state, version.book.currency, _prices([version.pk]))


def prices_in_force(meter: str) -> list[PriceView]:
    """Return the prices of a meter that rate usage now, in the tenant's currency, cheapest first."""
    currency = tenant_today().currency
    ruling = [book.in_force for book in price_books() if book.currency == currency]
    prices = [price for version in ruling if version for price in version.prices if price.meter == meter]
    return sorted(prices, key=lambda price: (price.unit_amount, sorted(price.dims.items())))


def _prices(version_ids: Sequence[UUID]) -> Mapping[UUID, list[Price]]:
    """Return the prices of these versions, in one query."""
    found: dict[UUID, list[Price]] = defaultdict(list)
    rows = Price.objects.filter(version__in=version_ids).select_related("meter")
    for row in rows.order_by("meter__key", "unit_amount", "id"):
        found[row.version_id].append(row)
    return found


def _version(version: PriceVersion, state: str, currency: str, prices: Mapping[UUID, Sequence[Price]]) -> VersionView:
    return VersionView(
        id=version.pk,
        number=version.number,
        effective_at=version.effective_at,
        published_at=version.published_at,
        published_by=version.published_by,
        note=version.note,
        state=state,
        prices=tuple(
            PriceView(row.pk, row.meter.key, row.meter.title, row.meter.unit, row.dims, row.unit_amount, currency)
            for row in prices.get(version.pk, ())
        ),
    )
