"""Meters, price books and the prices in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber

from billing.defaults import DEVICE_TIME, SECOND, UNOFFERED_TIERS
from billing.models import Meter, Price, PriceBook, PriceVersion
from billing.queries.calendar import tenant_today
from tenants.errors import NotFound

SECONDS_IN_HOUR = 3600
MOST_SHOWN = 500
"""Maximum prices of one meter on a page, the same as in a version."""


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

    @property
    def hourly(self) -> Decimal | None:
        """The price per hour; None if the unit is not time."""
        return self.unit_amount * SECONDS_IN_HOUR if self.unit == SECOND else None

    @property
    def offered(self) -> bool:
        """Whether anybody can buy at this price: not if it is for a tier that no job can request."""
        return is_offered(self.meter, self.dims)


@dataclass(frozen=True, slots=True)
class VersionView:
    """A published version; `state` is coming, in_force or past. `unshown` counts prices beyond the first 500."""

    id: UUID
    number: int
    effective_at: datetime
    published_at: datetime
    published_by: str
    note: str
    state: str
    prices: tuple[PriceView, ...]
    unshown: int = 0

    @property
    def offered(self) -> tuple[PriceView, ...]:
        """The prices shown on pages."""
        return tuple(price for price in self.prices if price.offered)


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


def is_offered(meter: str, dims: Mapping[str, str]) -> bool:
    """Return whether a price with these dimensions applies to something that can be requested."""
    return meter not in DEVICE_TIME or dims.get("tier") not in UNOFFERED_TIERS


def meters() -> list[MeterView]:
    """Return the tenant's meters by key."""
    rows = Meter.objects.order_by("key").values_list("id", "key", "title", "unit", "event_type")
    return [MeterView(*row) for row in rows]


def price_books(begun: int = 12) -> list[PriceBookView]:
    """Return the tenant's price books, each with all coming versions, the one in force and the newest past ones.

    `begun` limits the started versions; the latest start comes first.
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
    """Return the prices of a meter in force now, in the tenant's currency, cheapest first."""
    at = tenant_today()
    begun = PriceVersion.objects.filter(book__currency=at.currency, effective_at__lte=at.now)
    current = begun.order_by("-effective_at").first()
    if current is None:
        return []
    rows = Price.objects.filter(version=current, meter__key=meter).select_related("meter").order_by("unit_amount", "id")
    prices = [_price(row, at.currency) for row in rows[:MOST_SHOWN]]
    return sorted(prices, key=lambda price: (price.unit_amount, sorted(price.dims.items())))


def _prices(version_ids: Sequence[UUID]) -> Mapping[UUID, list[Price]]:
    """Return the first prices of each version, in one query; versions older than the limit may hold many more."""
    found: dict[UUID, list[Price]] = defaultdict(list)
    each, order = [F("version_id")], ["meter__key", "unit_amount", "id"]
    rows = Price.objects.filter(version__in=version_ids).select_related("meter")
    rows = rows.annotate(
        place=Window(RowNumber(), partition_by=each, order_by=order), in_all=Window(Count("id"), partition_by=each)
    )
    for row in rows.filter(place__lte=MOST_SHOWN).order_by(*order):
        found[row.version_id].append(row)
    return found


def _version(version: PriceVersion, state: str, currency: str, prices: Mapping[UUID, Sequence[Price]]) -> VersionView:
    rows = prices.get(version.pk, ())
    return VersionView(
        id=version.pk,
        number=version.number,
        effective_at=version.effective_at,
        published_at=version.published_at,
        published_by=version.published_by,
        note=version.note,
        state=state,
        prices=tuple(_price(row, currency) for row in rows),
        unshown=rows[0].in_all - len(rows) if rows else 0,  # type: ignore[attr-defined]
    )


def _price(row: Price, currency: str) -> PriceView:
    return PriceView(row.pk, row.meter.key, row.meter.title, row.meter.unit, row.dims, row.unit_amount, currency)
