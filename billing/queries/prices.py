"""Meters, and the prices and terms of the open scope's contract."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, Window
from django.db.models.functions import RowNumber

from billing.defaults import DEVICE_TIME, SECOND, UNOFFERED_TIERS
from billing.models import Contract, Meter, Price, PriceBook, PriceVersion
from billing.queries.calendar import tenant_today
from billing.rating.aggregation import SUM
from billing.rating.term_words import term_words
from tenants.isolation.scoping import current_tenant_id

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
    aggregation: str = SUM


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
    list_amount: Decimal | None = None

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


@dataclass(frozen=True, slots=True)
class ContractView:
    """A contract in force from the local day `starts_on` until before `ends_on`; `state` is coming, in_force or past."""

    id: UUID
    book_id: UUID
    book: str
    currency: str
    starts_on: date
    ends_on: date | None
    payment_days: int
    billing_name: str
    billing_address: str
    billing_email: str
    tax_number: str
    tax_rate: Decimal | None
    country: str
    grace_days: int
    terms: Mapping[str, Any]
    state: str = ""

    @property
    def agreed(self) -> Sequence[tuple[str, str]]:
        """What its terms agree, each as a title and a sentence."""
        return term_words(self.terms, self.currency)


FACTS = [{"book": "book__name"}.get(name, name) for name in ContractView.__dataclass_fields__ if name != "state"]


def is_offered(meter: str, dims: Mapping[str, str]) -> bool:
    """Return whether a price with these dimensions applies to something that can be requested."""
    return meter not in DEVICE_TIME or dims.get("tier") not in UNOFFERED_TIERS


def meters() -> list[MeterView]:
    """Return the tenant's meters by key."""
    rows = Meter.objects.order_by("key").values_list("id", "key", "title", "unit", "event_type", "aggregation")
    return [MeterView(*row) for row in rows]


def contracts() -> list[ContractView]:
    """Return the tenant's contracts, the latest start first."""
    day = tenant_today().day
    rows = [ContractView(*row) for row in Contract.objects.order_by("-starts_on").values_list(*FACTS)]
    return [replace(row, state=_state(row, day)) for row in rows]


def contract() -> ContractView | None:
    """Return the contract in force; None without one."""
    return next((one for one in contracts() if one.state == "in_force"), None)


def price_books(begun: int = 12) -> list[PriceBookView]:
    """Return the book of the tenant's contract in force, with all coming versions, the one in force and the newest past ones.

    Without a contract there is none. `begun` limits the started versions; the latest start comes first.
    """
    at = tenant_today()
    names = {meter.key: (meter.title, meter.unit) for meter in meters()}
    rows = PriceBook.objects.filter(_running(at.day))
    return [book_view(row, at.now, names, begun) for row in rows]


def prices_in_force(meter: str) -> list[PriceView]:
    """Return the prices of a meter in force now, in the tenant's currency, cheapest first."""
    at = tenant_today()
    book = PriceBook.objects.filter(_running(at.day)).first()
    begun = PriceVersion.objects.filter(book=book, effective_at__lte=at.now)
    current = begun.order_by("-effective_at").first() if book else None
    if book is None or current is None:
        return []
    rows = Price.objects.filter(version=current, meter=meter).order_by("unit_amount", "id")
    names = {one.key: (one.title, one.unit) for one in meters()}
    prices = [_price(row, book.currency, names) for row in rows[:MOST_SHOWN]]
    return sorted(prices, key=lambda price: (price.unit_amount, sorted(price.dims.items())))


def book_view(book: PriceBook, now: datetime, names: Mapping[str, tuple[str, str]], begun: int = 12) -> PriceBookView:
    """Return a book with its versions as of `now`. `names`: title and unit of each meter, by key."""
    versions = PriceVersion.objects.filter(book=book).order_by("-effective_at")
    coming = list(versions.filter(effective_at__gt=now))
    shown, ahead = [*coming, *versions.filter(effective_at__lte=now)[:begun]], len(coming)
    prices = _prices([version.pk for version in shown])
    views = []
    for at, one in enumerate(shown):
        state = "coming" if at < ahead else "in_force" if at == ahead else "past"
        views.append(_version(one, state, book.currency, prices, names))
    return PriceBookView(book.pk, book.name, book.currency, tuple(views))


def _running(day: date) -> Q:
    """Return the condition of a book that the tenant's contract names on a local day."""
    ends = Q(contracts__ends_on=None) | Q(contracts__ends_on__gt=day)
    return Q(contracts__tenant_id=current_tenant_id(), contracts__starts_on__lte=day) & ends


def _state(row: ContractView, day: date) -> str:
    if row.starts_on > day:
        return "coming"
    return "in_force" if row.ends_on is None or day < row.ends_on else "past"


def _prices(version_ids: Sequence[UUID]) -> Mapping[UUID, list[Price]]:
    """Return the first prices of each version, in one query; versions older than the limit may hold many more."""
    found: dict[UUID, list[Price]] = defaultdict(list)
    each, order = [F("version_id")], ["meter", "unit_amount", "id"]
    rows = Price.objects.filter(version__in=version_ids)
    rows = rows.annotate(
        place=Window(RowNumber(), partition_by=each, order_by=order), in_all=Window(Count("id"), partition_by=each)
    )
    for row in rows.filter(place__lte=MOST_SHOWN).order_by(*order):
        found[row.version_id].append(row)
    return found


def _version(
    version: PriceVersion,
    state: str,
    currency: str,
    prices: Mapping[UUID, Sequence[Price]],
    names: Mapping[str, tuple[str, str]],
) -> VersionView:
    rows = prices.get(version.pk, ())
    return VersionView(
        id=version.pk,
        number=version.number,
        effective_at=version.effective_at,
        published_at=version.published_at,
        published_by=version.published_by,
        note=version.note,
        state=state,
        prices=tuple(_price(row, currency, names) for row in rows),
        unshown=rows[0].in_all - len(rows) if rows else 0,  # type: ignore[attr-defined]
    )


def _price(row: Price, currency: str, names: Mapping[str, tuple[str, str]]) -> PriceView:
    title, unit = names.get(row.meter, (row.meter, "unit"))
    return PriceView(row.pk, row.meter, title, unit, row.dims, row.unit_amount, currency, row.list_amount)
