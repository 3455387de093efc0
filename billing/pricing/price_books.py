"""The price in force at a given time, through the contracts of the open scope's tenant."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from billing.defaults import SECOND
from billing.money import EXACT
from billing.pricing.price_tables import tables_of
from billing.rating.calendar import local_day
from billing.rating.currencies import UNKNOWN, Currencies, changes
from billing.rating.exchange import Rate, converted
from billing.rating.selection import PriceList, in_force
from tenants import clock
from tenants.errors import ExchequerError
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

#: Where no contract runs, a list of no prices is in force. A list of a contract that starts then comes after it in order.
NO_PRICES = UUID(int=0)


class PriceMissing(ExchequerError):
    """No price is in force for this. Prices come from the contract: ask the operator of this installation."""

    code = "price_missing"
    status = 409


class ExchangeRateMissing(PriceMissing):
    """The price is in another currency, and no exchange rate is in force. Ask the operator of this installation to enter one."""

    code = "exchange_rate_missing"


@dataclass(frozen=True, slots=True)
class PricePoint:
    """A unit price in the contract's currency, and the version it comes from; `list_amount` if its list price differs.

    `rate_id`: the exchange rate that converted it from the book's currency; amounts then have all digits of the product.
    """

    version_id: UUID
    price_id: UUID
    unit_amount: Decimal
    currency: str
    list_amount: Decimal | None = None
    rate_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Inputs of rating for the open scope's tenant: its zone, the time, meters by key, price lists.

    `timed`: the meters whose unit is the second; all others count. A list is in force from the start of its version or
    of its contract, whichever is later. `closed`: the last month that is closed for usage. `currency`: at the start of what
    they were asked for.
    """

    zone: str
    currency: str
    now: datetime
    meters: Mapping[str, UUID]
    timed: frozenset[str]
    lists: Sequence[PriceList]
    closed: date | None = None
    #: When another list comes into force, each moment once, in order.
    starts: Sequence[datetime] = ()
    currencies: Currencies = UNKNOWN
    _points: dict[tuple[object, ...], PricePoint | None] = field(default_factory=dict, repr=False, compare=False)

    def started(self, at: datetime) -> int:
        """Return how many of the starts are not after a moment: between two starts the same prices apply."""
        return bisect_right(self.starts, at)

    def starts_within(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """Return the moments strictly inside `(start, end)` at which another list comes into force."""
        return self.starts[self.started(start) : bisect_left(self.starts, end)]

    def currency_of(self, day: date) -> str:
        """Return the currency of a local day."""
        return self.currencies.of(day) if self.currencies.changes else self.currency

    def price(self, meter: str, dims: Mapping[str, str], at: datetime) -> PricePoint | None:
        """Return the price that applies at `at`, looked up once for equal usage between two starts; None without one."""
        key = (meter, self.started(at), *dims.items())
        if key not in self._points:
            self._points[key] = point_in(self.lists, meter, dims, at)
        return self._points[key]


# A contract runs from local midnight to local midnight. Its currency is that of the usage on its days.
TERMS = f"""
WITH t AS (SELECT id, timezone, currency FROM tenants_tenant WHERE id = %(tenant)s),
c AS (
  SELECT c.book_id, c.currency, c.starts, c.ends FROM (
    SELECT k.book_id, k.currency, k.starts_on::timestamp AT TIME ZONE t.timezone AS starts,
      k.ends_on::timestamp AT TIME ZONE t.timezone AS ends
    FROM billing_contract k JOIN t ON t.id = k.tenant_id) c
  WHERE c.starts <= %(until)s AND (c.ends IS NULL OR c.ends > %(since)s)
), lists AS (
  SELECT v.id, greatest(v.effective_at, c.starts) AS effective_at, b.currency, c.currency AS target
  FROM c JOIN billing_pricebook b ON b.id = c.book_id JOIN billing_priceversion v ON v.book_id = c.book_id
  WHERE v.effective_at <= %(until)s AND (c.ends IS NULL OR v.effective_at < c.ends)
    AND v.effective_at >= coalesce((SELECT max(w.effective_at) FROM billing_priceversion w
      WHERE w.book_id = c.book_id AND w.effective_at <= greatest(c.starts, %(since)s)), '-infinity')
  UNION ALL SELECT NULL, c.ends, c.currency, c.currency FROM c WHERE c.ends <= %(until)s
)
SELECT t.timezone, t.currency, exchequer_now(),
  (SELECT coalesce(json_agg(json_build_array(m.key, m.id, m.unit)), '[]') FROM billing_meter m WHERE m.tenant_id = t.id),
  (SELECT coalesce(json_agg(json_build_array(l.id, l.effective_at, l.currency, l.target)), '[]') FROM lists l),
  (SELECT max(p.period) FROM billing_billingperiod p WHERE p.tenant_id = t.id AND p.state = 'closed'),
  (SELECT coalesce(json_agg(json_build_array(x.id, x.source, x.rate::text, x.valid_from, x.target)), '[]') FROM billing_exchangerate x
   WHERE (x.source, x.target) IN (SELECT l.currency, l.target FROM lists l) AND x.valid_from <= %(until)s
     AND x.valid_from >= coalesce((SELECT max(y.valid_from) FROM billing_exchangerate y
       WHERE y.source = x.source AND y.target = x.target AND y.valid_from <= %(since)s), '-infinity')),
  {changes("t.id")}
FROM t
"""  # noqa: S608 (constants)


def terms(
    since: datetime | None = None, until: datetime | None = None, *, meters: Collection[str] | None = None
) -> Terms:
    """Return the terms in force in `[since, until]` for the open scope; default: now.

    One query, plus one for a price list not yet read by this process. The lists contain the prices of these `meters`
    only; default: all.
    """
    with prepared_cursor() as cursor:
        at = since or until or clock.now()
        cursor.execute(TERMS, {"tenant": current_tenant_id(), "since": at, "until": until or at})
        zone, currency, now, known, lists, closed, rates, changed = cursor.fetchone()
    paid_in = Currencies.read(currency, changed)
    priced = [key for key, _, _ in known if meters is None or key in meters]
    tables = tables_of([UUID(version) for version, *_ in lists if version], priced)
    listed = [
        PriceList(
            UUID(version) if version else NO_PRICES,
            datetime.fromisoformat(effective_at),
            book_currency,
            tables=tables[UUID(version)] if version else {},
            target=target,
        )
        for version, effective_at, book_currency, target in lists
    ]
    in_order = converted(listed, [_rate(*one) for one in rates], currency)
    return Terms(
        zone=zone,
        currency=paid_in.of(local_day(at, zone)),
        now=now,
        meters={key: UUID(meter_id) for key, meter_id, _ in known},
        timed=frozenset(key for key, _, unit in known if unit == SECOND),
        lists=in_order,
        closed=closed,
        starts=sorted({one.effective_at for one in in_order}),
        currencies=paid_in,
    )


def _rate(id: str, source: str, value: str, valid_from: str, target: str) -> Rate:
    return Rate(UUID(id), source, Decimal(value), datetime.fromisoformat(valid_from), target)


def price_at(meter: str, dims: Mapping[str, str], at: datetime | None = None) -> PricePoint:
    """Return the price of `meter` for `dims` at a given time (default: now).

    Raises PriceMissing if no version in force names a price, ExchangeRateMissing if it cannot be converted.
    """
    current = terms(at, meters=[meter])
    point = current.price(meter, dims, at or current.now)
    if point is None:
        listed = in_force(current.lists, at or current.now)
        if listed is not None and listed.lacks:
            raise ExchangeRateMissing(currency=listed.lacks, wanted=current.currency)
        raise PriceMissing(meter=meter, dims=dict(dims))
    return point


def point_in(lists: Sequence[PriceList], meter: str, dims: Mapping[str, str], at: datetime) -> PricePoint | None:
    """Return the price among `lists` that applies at `at`; None without one."""
    listed = in_force(lists, at)
    table = listed.tables.get(meter) if listed else None
    entry = table.find(dims) if table else None
    if listed is None or entry is None:
        return None
    if listed.rate is None:
        return PricePoint(listed.version_id, entry.price_id, entry.unit_amount, listed.currency, entry.list_amount)
    at_list = None if entry.list_amount is None else EXACT.multiply(entry.list_amount, listed.rate)
    unit_amount = EXACT.multiply(entry.unit_amount, listed.rate)
    return PricePoint(listed.version_id, entry.price_id, unit_amount, listed.currency, at_list, listed.rate_id)
