"""Operators write the platform's price books: a new book, and the next version of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from billing.defaults import PRICES
from billing.models import Price, PriceBook, PriceVersion
from billing.money import EXACT, computed
from billing.rating.new_price import NewPrice
from billing.rating.quantity import FUTURE_LIMIT
from billing.rating.tags import DIMENSION, PREFIX
from tenants import clock
from tenants.audit import AuditAction
from tenants.currencies import currency_fault
from tenants.errors import Conflict, Invalid, NotFound
from tenants.operations import check_text
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act
from tenants.parsing import LATEST

BOOK_CREATED = AuditAction("billing.price_book.created")
VERSION_PUBLISHED = AuditAction("billing.price_version.published")
METER = re.compile(r"[a-z][a-z0-9_.]{0,59}")
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


def standard_book(currency: str) -> PriceBook:
    """Return the platform's standard book in a currency, made with the default prices the first time it is needed.

    For the roles that write price books; safe in a race.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('billing.standard' || %s, 0))", [currency])
    book = PriceBook.objects.filter(currency=currency, is_standard=True).first()
    if book is None:
        book = PriceBook.objects.create(name=f"Standard {currency}", currency=currency, is_standard=True)
        store(book, 1, None, default_prices(), "First prices", by="platform")
    return book


def default_prices() -> list[NewPrice]:
    """Return the prices that a new book begins with."""
    return [NewPrice(spec.meter, spec.dims, spec.unit_amount, spec.list_amount) for spec in PRICES]


def create_book(*, operator: Operator, name: str, currency: str, reason: str, copy_of: UUID | None = None) -> PriceBook:
    """Create a book whose first version starts at once: the newest prices of another, else the default ones.

    Raises Invalid, NotFound for an unknown book, and Invalid for one in another currency.
    """
    operator.require("prices.manage")
    name, reason = check_text(name, "name"), check_reason(reason)
    if fault := currency_fault(currency):
        raise Invalid(fields={"currency": [fault]})
    prices = default_prices()
    if copy_of is not None:
        source = PriceBook.objects.filter(pk=copy_of).first()
        if source is None:
            raise NotFound
        if source.currency != currency:
            raise Invalid(fields={"copy_of": [f"This book is in {source.currency}. Prices are not converted."]})
        newest = PriceVersion.objects.filter(book=source).order_by("-effective_at").first()
        rows = Price.objects.filter(version=newest).values_list("meter", "dims", "unit_amount", "list_amount")
        prices = [NewPrice(*row) for row in rows]
    with transaction.atomic():
        book = PriceBook.objects.create(name=name, currency=currency)
        store(book, 1, None, prices, reason, by=operator.label)
        record_act(operator, BOOK_CREATED, target=("price_book", book.pk, f"{name}, {currency}"), reason=reason)
    return book


def publish(
    *,
    operator: Operator,
    book_id: UUID,
    prices: Sequence[NewPrice],
    reason: str,
    effective_at: datetime | None = None,
    after: int | None = None,
) -> PriceVersion:
    """Publish the next version of a book: its complete list of prices, in force from `effective_at`.

    It starts at least five minutes ahead (the default), so that no usage accepted so far changes its price. `after` is the
    number of the version that the list was made from. Raises NotFound, Invalid for malformed meters, duplicate or
    impossible prices and starts too early or too late, Conflict if another version came after, TooManyPrices, TooManyVersions.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    check_size(prices)
    with transaction.atomic():
        book = PriceBook.objects.select_for_update(no_key=True).filter(pk=book_id).first()
        if book is None:
            raise NotFound
        number = PriceVersion.objects.filter(book=book).count() + 1
        if after is not None and after != number - 1:
            raise Conflict("Another version has been published. Start again from that one.")
        if wrong := faults(prices) | _start_faults(book, effective_at):
            raise Invalid(fields=wrong)
        _check_density(book, effective_at)
        version = store(book, number, effective_at, prices, reason, by=operator.label)
        label = f"{book.name}, version {number} from {version.effective_at:%Y-%m-%d %H:%M} UTC"
        record_act(operator, VERSION_PUBLISHED, target=("price_book", book.pk, label), reason=reason)
    return version


def check_size(prices: Sequence[Any]) -> None:
    """Raise TooManyPrices for a list over the limit, before anything reads its entries."""
    if len(prices) > MOST_PRICES:
        raise TooManyPrices(
            fields={"prices": [f"A version holds at most {MOST_PRICES} prices; these are {len(prices)}."]}
        )


def store(
    book: PriceBook, number: int, effective_at: datetime | None, prices: Sequence[NewPrice], note: str, *, by: str
) -> PriceVersion:
    """Store a version with its prices; the callers have checked them."""
    # Without a start the database sets the earliest allowed; see the trigger `publish`.
    version = PriceVersion(book=book, number=number, published_by=by[:254], note=note[:200])
    version.effective_at = effective_at  # type: ignore[assignment]
    version.save(force_insert=True)
    version.refresh_from_db()
    Price.objects.bulk_create(
        [
            Price(
                version=version,
                meter=one.meter,
                dims=dict(one.dims),
                unit_amount=EXACT.plus(one.unit_amount),
                list_amount=None if one.list_amount is None else EXACT.plus(one.list_amount),
            )
            for one in prices
        ]
    )
    return version


def start_fault(effective_at: datetime) -> str:
    """Return why no version starts at this time, whatever the book; else empty."""
    if effective_at < clock.now() + FUTURE_LIMIT:
        return "A version must start at least 5 minutes after it is published."
    return TOO_LATE if effective_at >= LATEST else ""


def _start_faults(book: PriceBook, effective_at: datetime | None) -> dict[str, list[str]]:
    if effective_at is None:
        return {}
    if fault := start_fault(effective_at):
        return {"effective_at": [fault]}
    if PriceVersion.objects.filter(book=book, effective_at=effective_at).exists():
        return {"effective_at": ["Another version starts at this time. Choose another time."]}
    return {}


def _check_density(book: PriceBook, effective_at: datetime | None) -> None:
    present = clock.now()
    at, day = effective_at or present, timedelta(days=1)
    versions = PriceVersion.objects.filter(book=book)
    near = versions.filter(effective_at__gt=at - day, effective_at__lt=at + day)
    if max(versions.filter(effective_at__gt=present).count(), near.count()) >= MOST_VERSIONS:
        raise TooManyVersions


def faults(prices: Sequence[NewPrice]) -> dict[str, list[str]]:
    """Return what is wrong with a list of prices, by field; empty if nothing is."""
    messages = []
    seen = set()
    for price in prices:
        mark = (price.meter, tuple(sorted(price.dims.items())))
        if not METER.fullmatch(price.meter):
            messages.append(f"“{price.meter[:60]}” is no key of a meter.")
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
        messages += [fault for amount in (price.unit_amount, price.list_amount) if (fault := _amount_fault(amount))]
    if not prices:
        messages.append("A version needs at least one price.")
    return {"prices": messages} if messages else {}


def _amount_fault(amount: Decimal | None) -> str:
    """Return what is wrong with the amount of a price; empty if nothing is."""
    if amount is None:
        return ""
    if not amount.is_finite() or not 0 <= amount < LARGEST_PRICE:
        return "A price is a number from 0 to 10^12."
    try:
        exact = computed(amount) == amount
    except InvalidOperation:
        exact = False
    return "" if exact else "A price has at most 12 decimals."
