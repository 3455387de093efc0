"""Price books: publishing versions, and the price in force at a given time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.db import connection

from billing.defaults import METERS, PRICES, SECOND
from billing.models import Meter, Price, PriceBook, PriceVersion
from billing.money import EXACT, computed
from billing.pricing.price_tables import tables_of
from billing.rating.quantity import FUTURE_LIMIT
from billing.rating.selection import PriceList, in_force
from billing.rating.tags import DIMENSION, PREFIX
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, ExchequerError, Invalid, NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant
from tenants.parsing import LATEST

BOOK_PROVISIONED = AuditAction("billing.price_book.provisioned")
VERSION_PUBLISHED = AuditAction("billing.price_version.published")
LARGEST_PRICE = Decimal(10) ** 12
MOST_PRICES = 500
MOST_VERSIONS = 24
MOST_DIMENSIONS = 20
LONGEST_VALUE = 200
TOO_LATE = f"A version starts before the year {LATEST.year}."


class TooManyPrices(Invalid):
    """A version of a price book has at most 500 prices. Use fewer dimensions: less specific prices cover the rest."""

    code = "too_many_prices"


class TooManyVersions(Conflict):
    """At most 24 versions of a price book can wait for their start, and at most 24 can start within a day. Choose a later start."""

    code = "too_many_versions"


class PriceMissing(ExchequerError):
    """No price is in force for this. Ask finance to publish one."""

    code = "price_missing"
    status = 409


@dataclass(frozen=True, slots=True)
class PricePoint:
    """A unit price, and the version it comes from."""

    version_id: UUID
    price_id: UUID
    unit_amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Inputs of rating for the open scope's tenant: its zone, the time, meters by key, price lists.

    `timed`: the meters whose unit is the second; all others count.
    """

    zone: str
    currency: str
    now: datetime
    meters: Mapping[str, UUID]
    timed: frozenset[str]
    lists: Sequence[PriceList]


TERMS = """
SELECT t.timezone, t.currency, exchequer_now(),
  (SELECT coalesce(json_agg(json_build_array(m.key, m.id, m.unit)), '[]') FROM billing_meter m WHERE m.tenant_id = t.id),
  (SELECT coalesce(json_agg(json_build_array(v.id, v.effective_at, b.currency)), '[]')
   FROM billing_priceversion v JOIN billing_pricebook b ON b.tenant_id = v.tenant_id AND b.id = v.book_id
   WHERE v.tenant_id = t.id AND b.currency = t.currency AND v.effective_at <= %(until)s
     AND v.effective_at >= coalesce((SELECT max(w.effective_at) FROM billing_priceversion w
       WHERE w.tenant_id = t.id AND w.book_id = v.book_id AND w.effective_at <= %(since)s), '-infinity'))
FROM tenants_tenant t WHERE t.id = %(tenant)s
"""


def terms(
    since: datetime | None = None, until: datetime | None = None, *, meters: Collection[str] | None = None
) -> Terms:
    """Return the terms in force in `[since, until]` for the open scope; default: now.

    One query, plus one for a price list not yet read by this process. The lists contain the prices of these `meters`
    only; default: all.
    """
    with connection.cursor() as cursor:
        at = since or until or clock.now()
        cursor.execute(TERMS, {"tenant": current_tenant_id(), "since": at, "until": until or at})
        zone, currency, now, known, lists = cursor.fetchone()
    ids = {key: UUID(meter_id) for key, meter_id, _ in known}
    priced = ids if meters is None else {key: ids[key] for key in set(meters) & ids.keys()}
    tables = tables_of([UUID(version) for version, _, _ in lists], priced)
    return Terms(
        zone=zone,
        currency=currency,
        now=now,
        meters=ids,
        timed=frozenset(key for key, _, unit in known if unit == SECOND),
        lists=[
            PriceList(UUID(version), datetime.fromisoformat(effective_at), book_currency, tables=tables[UUID(version)])
            for version, effective_at, book_currency in lists
        ],
    )


def price_at(meter: str, dims: Mapping[str, str], at: datetime | None = None) -> PricePoint:
    """Return the price of `meter` for `dims` at a given time (default: now).

    Creates the default price book if there is none. Raises PriceMissing if no version in force names a price.
    """
    current = terms(at, meters=[meter])
    if not current.lists and not PriceBook.objects.exists():
        provision_defaults()
        current = terms(at, meters=[meter])
    point = point_in(current.lists, meter, dims, at or current.now)
    if point is None:
        raise PriceMissing(meter=meter, dims=dict(dims))
    return point


def point_in(lists: Sequence[PriceList], meter: str, dims: Mapping[str, str], at: datetime) -> PricePoint | None:
    """Return the price among `lists` that applies at `at`; None without one."""
    listed = in_force(lists, at)
    table = listed.tables.get(meter) if listed else None
    entry = table.find(dims) if table else None
    if listed is None or entry is None:
        return None
    return PricePoint(listed.version_id, entry.price_id, entry.unit_amount, listed.currency)


def provision_defaults(tenant_id: UUID | None = None) -> None:
    """Give the open scope's tenant its meters and a first price book; no-op if they exist."""
    provision(actor=Actor.system(tenant_id or current_tenant_id(), "billing"))


@operation(BOOK_PROVISIONED)
def provision(*, actor: Actor) -> None:
    """Create the default meters and price book in the tenant's currency; idempotent, safe in a race."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('billing.provision' || %s, 0))", [str(actor.tenant_id)]
        )
    meters = _meters()
    currency = Tenant.objects.values_list("currency", flat=True).get(pk=actor.tenant_id)
    if PriceBook.objects.filter(currency=currency).exists():
        unchanged("the tenant has its price book")
        return
    book = PriceBook.objects.create(name="Standard", currency=currency)
    prices = [(meters[spec.meter], dict(spec.dims), spec.unit_amount) for spec in PRICES]
    version = _store(actor, book, 1, None, prices, "First prices")
    record(BOOK_PROVISIONED, actor=actor, target=book, changes={"version": [None, str(version.pk)]})


@dataclass(frozen=True, slots=True)
class NewPrice:
    """A price to publish. `unit_amount` is in the book's currency per unit of the meter."""

    meter: str
    dims: Mapping[str, str]
    unit_amount: Decimal


@operation(VERSION_PUBLISHED)
def publish(
    *, actor: Actor, book_id: UUID, prices: Sequence[NewPrice], effective_at: datetime | None = None, note: str = ""
) -> PriceVersion:
    """Publish the next version of a book: its complete list of prices, in force from `effective_at`.

    It starts at least five minutes ahead (the default), so that no usage accepted so far changes its price. Raises
    NotFound for a foreign book, Invalid for unknown meters, duplicate or impossible prices and starts too early or too
    late, TooManyPrices, TooManyVersions.
    """
    actor.require("pricebooks.manage")
    check_size(prices)
    book = PriceBook.objects.select_for_update(no_key=True).filter(pk=book_id).first()
    if book is None:
        raise NotFound
    meters = {meter.key: meter for meter in Meter.objects.all()}
    rows = [(meters[price.meter], dict(price.dims), price.unit_amount) for price in prices if price.meter in meters]
    faults = _faults(prices, set(meters))
    if effective_at is not None and effective_at < clock.now() + FUTURE_LIMIT:
        faults["effective_at"] = ["A version must start at least 5 minutes after it is published."]
    elif effective_at is not None and effective_at >= LATEST:
        faults["effective_at"] = [TOO_LATE]
    elif effective_at is not None and PriceVersion.objects.filter(book=book, effective_at=effective_at).exists():
        faults["effective_at"] = ["Another version starts at this time. Choose another time."]
    if faults:
        raise Invalid(fields=faults)
    _check_density(book, effective_at)
    number = PriceVersion.objects.filter(book=book).count() + 1
    version = _store(actor, book, number, effective_at, rows, note)
    record(
        VERSION_PUBLISHED,
        actor=actor,
        target=version,
        changes={"effective_at": [None, version.effective_at], "prices": [None, [[m.key, d, u] for m, d, u in rows]]},
        reason=note,
    )
    return version


def check_size(prices: Sequence[Any]) -> None:
    """Raise TooManyPrices for a list over the limit, before anything reads its entries."""
    if len(prices) > MOST_PRICES:
        raise TooManyPrices(
            fields={"prices": [f"A version holds at most {MOST_PRICES} prices; these are {len(prices)}."]}
        )


def _check_density(book: PriceBook, effective_at: datetime | None) -> None:
    present = clock.now()
    at, day = effective_at or present, timedelta(days=1)
    versions = PriceVersion.objects.filter(book=book)
    near = versions.filter(effective_at__gt=at - day, effective_at__lt=at + day)
    if max(versions.filter(effective_at__gt=present).count(), near.count()) >= MOST_VERSIONS:
        raise TooManyVersions


def _faults(prices: Sequence[NewPrice], meters: set[str]) -> dict[str, list[str]]:
    messages = []
    seen = set()
    for price in prices:
        mark = (price.meter, tuple(sorted(price.dims.items())))
        if price.meter not in meters:
            messages.append(f"There is no meter {price.meter}.")
        if mark in seen:
            messages.append(f"{price.meter} has two prices for the same dimensions.")
        seen.add(mark)
        if any(name.startswith(PREFIX) for name in price.dims):
            messages.append("Tags have no prices: leave out dimensions that start with “tag:”.")
        elif malformed := [name[:60] for name in price.dims if not DIMENSION.fullmatch(name)]:
            messages.append(f"“{malformed[0]}” is not a dimension name. Use letters, digits, _ . and -, at most 60.")
        if any(not (1 <= len(value) <= LONGEST_VALUE and value.isprintable()) for value in price.dims.values()):
            messages.append(f"Give each dimension a value of 1 to {LONGEST_VALUE} printable characters.")
        if len(price.dims) > MOST_DIMENSIONS:
            messages.append(f"A price names at most {MOST_DIMENSIONS} dimensions.")
        amount = price.unit_amount
        if not amount.is_finite() or not 0 <= amount < LARGEST_PRICE:
            messages.append("A price is a number from 0 to 10^12.")
            continue
        try:
            exact = computed(amount) == amount
        except InvalidOperation:
            exact = False
        if not exact:
            messages.append("A price has at most 12 decimals.")
    if not prices:
        messages.append("A version needs at least one price.")
    return {"prices": messages} if messages else {}


def _meters() -> dict[str, Meter]:
    known = {meter.key: meter for meter in Meter.objects.filter(key__in=[spec.key for spec in METERS])}
    missing = [
        Meter(key=spec.key, title=spec.title, unit=spec.unit, event_type=spec.event_type)
        for spec in METERS
        if spec.key not in known
    ]
    return known | {meter.key: meter for meter in Meter.objects.bulk_create(missing)}


def _store(
    actor: Actor,
    book: PriceBook,
    number: int,
    effective_at: datetime | None,
    prices: Sequence[tuple[Meter, dict[str, str], Decimal]],
    note: str,
) -> PriceVersion:
    # Without a start the database sets the earliest allowed; see the trigger `publish`.
    version = PriceVersion(book=book, number=number, published_by=actor.label[:254], note=note[:200])
    version.effective_at = effective_at  # type: ignore[assignment]
    version.save(force_insert=True)
    version.refresh_from_db()
    Price.objects.bulk_create(
        [
            Price(version=version, meter=meter, dims=dims, unit_amount=EXACT.plus(amount))
            for meter, dims, amount in prices
        ]
    )
    return version
