"""Meters, and the prices and terms of the open scope's contract."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet, Window
from django.db.models.expressions import RawSQL
from django.db.models.functions import RowNumber

from billing.defaults import SECOND
from billing.models import Contract, Meter, Price, PriceBook, PriceVersion
from billing.pg_arrays import parsed
from billing.queries.calendar import day_in, tenant_today
from billing.rating.aggregation import SUM
from billing.rating.term_words import term_words
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import current_tenant_id, scope_open
from tenants.rows import named_rows

SECONDS_IN_HOUR = 3600
MOST_SHOWN = 500
"""Maximum prices of one meter on a page, the same as in a version."""
PRICES = """
SELECT p.*, m.title, m.unit FROM (
  SELECT id, version_id, meter, dims, unit_amount, list_amount, count(*) OVER (PARTITION BY version_id) AS in_all,
    row_number() OVER (PARTITION BY version_id ORDER BY meter, unit_amount, id) AS place
  FROM billing_price WHERE version_id = ANY(%(versions)s::uuid[])) p
LEFT JOIN billing_meter m ON m.tenant_id = %(tenant)s AND m.key = p.meter
WHERE p.place <= %(most)s ORDER BY p.meter, p.unit_amount, p.id
"""
VERSION = ("id", "number", "effective_at", "published_at", "published_by", "note")


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


def one_of(unit: str) -> str:
    """Return one unit in words: a second, an hour."""
    return f"{'an' if unit.lower().startswith(('a', 'e', 'i', 'o', 'up', 'hour')) else 'a'} {unit}"


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
    return views(PriceBook.objects.filter(_running(day_in())), begun=begun)


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
    prices = [_price(row, book.currency, *names.get(meter, (meter, "unit"))) for row in rows[:MOST_SHOWN]]
    return sorted(prices, key=lambda price: (price.unit_amount, sorted(price.dims.items())))


def views(
    books: QuerySet[PriceBook], names: Mapping[str, tuple[str, str]] | None = None, *, begun: int = 12
) -> list[PriceBookView]:
    """Return price books with their versions, in two statements.

    `names`: title and unit of a meter, by key, where the open scope has none of this key.
    """
    coming = ExpressionWrapper(Q(versions__effective_at__gt=DatabaseNow()), BooleanField())
    place = Window(RowNumber(), partition_by=[F("pk"), F("coming")], order_by=F("versions__effective_at").desc())
    rows = books.annotate(coming=coming, place=place).filter(Q(coming=True) | Q(place__lte=begun))
    columns = ("id", "name", "currency", "coming", "place", *(f"versions__{name}" for name in VERSION))
    found: dict[UUID, tuple[str, str, list[Any]]] = {}
    for row in rows.order_by("name", "id", "-versions__effective_at").values_list(*columns, named=True):
        versions = found.setdefault(row.id, (row.name, row.currency, []))[2]
        if row.versions__id is not None:
            versions.append(row)
    prices = _prices([row.versions__id for _, _, versions in found.values() for row in versions])
    return [
        PriceBookView(
            book_id, name, currency, tuple(_version(row, prices[row.versions__id], names or {}) for row in versions)
        )
        for book_id, (name, currency, versions) in found.items()
    ]


def _running(day: date | RawSQL) -> Q:
    """Return the condition of a book that the tenant's contract names on a local day."""
    ends = Q(contracts__ends_on=None) | Q(contracts__ends_on__gt=day)
    return Q(contracts__tenant_id=current_tenant_id(), contracts__starts_on__lte=day) & ends


def _state(row: ContractView, day: date) -> str:
    if row.starts_on > day:
        return "coming"
    return "in_force" if row.ends_on is None or day < row.ends_on else "past"


def _prices(version_ids: Sequence[UUID]) -> Mapping[UUID, list[Any]]:
    """Return the first prices of each version, in one query; versions older than the limit may hold many more."""
    found: dict[UUID, list[Any]] = defaultdict(list)
    if version_ids:
        tenant_id = current_tenant_id() if scope_open() else None
        with connection.cursor() as cursor:
            cursor.execute(PRICES, {"versions": list(version_ids), "tenant": tenant_id, "most": MOST_SHOWN})
            for row in named_rows(cursor):
                found[row.version_id].append(row)
    return found


def _version(row: Any, prices: Sequence[Any], names: Mapping[str, tuple[str, str]]) -> VersionView:
    found = []
    for one in prices:
        title, unit = (one.title, one.unit) if one.title else names.get(one.meter, (one.meter, "unit"))
        found.append(_price(one, row.currency, title, unit))
    return VersionView(
        **{name: getattr(row, f"versions__{name}") for name in VERSION},
        state="coming" if row.coming else "in_force" if row.place == 1 else "past",
        prices=tuple(found),
        unshown=prices[0].in_all - len(prices) if prices else 0,
    )


def _price(row: Any, currency: str, title: str, unit: str) -> PriceView:
    return PriceView(row.id, row.meter, title, unit, parsed(row.dims), row.unit_amount, currency, row.list_amount)
