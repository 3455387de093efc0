"""Consistency rules between billing's tables, each a query that returns the first rows that break it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import connection

from billing.ledger.money_rules import MONEY_RULES
from billing.ledger.wallet_rules import WALLET_RULES
from billing.models import Invoice
from billing.models.invoicing import PERIOD, STANDING, VOID
from billing.money import Money, shown
from billing.queries.lines import CORRECTION, USAGE, computed_lines, frozen_lines
from tenants.isolation.scoping import current_tenant_id


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken rule and where."""

    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


KEYS = """
SELECT format('interval %%s at %%s has no usage key', encode(e.key_hash, 'hex'), e.started_at)
FROM billing_usageevent e LEFT JOIN billing_usagekey k ON k.tenant_id = e.tenant_id AND k.key_hash = e.key_hash
WHERE e.tenant_id = %(tenant)s AND k.key_hash IS NULL LIMIT 1
"""
ORPHANS = """
SELECT format('usage key %%s at %%s has no interval', encode(k.key_hash, 'hex'), k.event_at)
FROM billing_usagekey k LEFT JOIN billing_usageevent e ON e.tenant_id = k.tenant_id AND e.key_hash = k.key_hash
WHERE k.tenant_id = %(tenant)s AND e.key_hash IS NULL
  AND NOT EXISTS (SELECT FROM billing_meterreading r WHERE r.tenant_id = k.tenant_id AND r.key_hash = k.key_hash)
  AND NOT EXISTS (
  SELECT FROM billing_heldevent h WHERE h.tenant_id = k.tenant_id AND h.key_hash = k.key_hash AND h.state <> 'accepted') LIMIT 1
"""
READINGS = """
WITH stored AS (
  SELECT e.series_hash, e.meter_id, sum(e.measured) AS quantity FROM billing_usageevent e
  JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id AND m.aggregation NOT IN ('sum', 'count')
  WHERE e.tenant_id = %(tenant)s GROUP BY 1, 2
), counted AS (
  SELECT p.series_hash, r.meter_id, sum(p.quantity) AS quantity FROM billing_meterpiece p
  JOIN billing_meterreading r ON r.tenant_id = p.tenant_id AND r.key_hash = p.reading_key AND r.voided_at IS NULL
  WHERE p.tenant_id = %(tenant)s AND p.voided_at IS NULL GROUP BY 1, 2
)
SELECT format('series %%s: its readings count %%s, its intervals %%s', encode(coalesce(s.series_hash, c.series_hash), 'hex'),
  coalesce(c.quantity, 0), coalesce(s.quantity, 0))
FROM stored s FULL JOIN counted c ON c.series_hash = s.series_hash AND c.meter_id = s.meter_id
WHERE coalesce(s.quantity, 0) <> coalesce(c.quantity, 0) LIMIT 1
"""
OVERLAPS = """
SELECT format('attempt %%s: the interval at %%s starts before its predecessor ends', s.attempt_id, o.started_at) FROM (
  SELECT e.series_hash, e.started_at, lag(e.ended_at) OVER (PARTITION BY e.series_hash, e.meter_id ORDER BY e.started_at, e.ended_at) AS before
  FROM billing_usageevent e WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage'
) o JOIN billing_usageseries s ON s.tenant_id = %(tenant)s AND s.hash = o.series_hash
WHERE s.attempt_id IS NOT NULL AND o.started_at < o.before LIMIT 1
"""
ROLLUPS = """
WITH summed AS (
  SELECT period, day, date_trunc('hour', started_at, 'UTC') AS hour, price_id, rate_id, meter_id, project_id, series_hash,
    count(*) AS events, sum(measured) AS measured, sum(billable) AS billable, sum(amount) AS amount, sum(discount) AS discount
  FROM billing_usageevent WHERE tenant_id = %(tenant)s GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
), stored AS (SELECT * FROM billing_usagerollup WHERE tenant_id = %(tenant)s)
SELECT format('hour %%s: intervals sum to %%s for %%s, the roll-up to %%s for %%s',
  coalesce(s.hour, r.hour), coalesce(s.billable, 0), coalesce(s.amount, 0), coalesce(r.billable, 0), coalesce(r.amount, 0))
FROM summed s FULL JOIN stored r ON r.series_hash = s.series_hash AND r.hour = s.hour AND r.day = s.day AND r.period = s.period
  AND r.project_id = s.project_id AND r.meter_id = s.meter_id
  AND coalesce(r.price_id, '00000000-0000-0000-0000-000000000000') = coalesce(s.price_id, '00000000-0000-0000-0000-000000000000')
  AND coalesce(r.rate_id, '00000000-0000-0000-0000-000000000000') = coalesce(s.rate_id, '00000000-0000-0000-0000-000000000000')
WHERE (s.events, s.measured, s.billable, s.amount, s.discount) IS DISTINCT FROM (r.events, r.measured, r.billable, r.amount, r.discount) LIMIT 1
"""
RATED = """
SELECT format('interval at %%s: %%s x %%s is not %%s, or x %%s not %%s', e.started_at, e.billable, p.unit_amount * coalesce(x.rate, 1),
  e.amount, coalesce(p.list_amount, p.unit_amount) * coalesce(x.rate, 1), e.amount + e.discount)
FROM billing_usageevent e JOIN billing_price p ON p.id = e.price_id LEFT JOIN billing_exchangerate x ON x.id = e.rate_id
WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage' AND (abs(e.amount - e.billable * p.unit_amount * coalesce(x.rate, 1)) > 0.000000000001
  OR abs(e.amount + e.discount - e.billable * coalesce(p.list_amount, p.unit_amount) * coalesce(x.rate, 1)) > 0.000000000001) LIMIT 1
"""
MEASURED = """
SELECT format('interval at %%s: measured %%s seconds, lasted %%s of a share of %%s', e.started_at, e.measured, e.ended_at - e.started_at,
  coalesce(s.dims ->> 'share', '1'))
FROM billing_usageevent e JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id
LEFT JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash
WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage' AND m.unit = 'second' AND e.measured <> extract(epoch FROM e.ended_at - e.started_at)
  AND CASE WHEN s.dims ->> 'share' ~ '^[0-9]{1,4}/[0-9]{1,4}$'
    THEN e.measured * split_part(s.dims ->> 'share', '/', 2)::numeric
      <> extract(epoch FROM e.ended_at - e.started_at) * split_part(s.dims ->> 'share', '/', 1)::numeric
    ELSE true END LIMIT 1
"""
IN_FORCE = """
SELECT format('interval at %%s is rated by price version %%s, in force from %%s to %%s', e.started_at, v.number, v.effective_at, v.ends)
FROM billing_usageevent e JOIN billing_price p ON p.id = e.price_id
JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id
JOIN (SELECT id, number, effective_at, book_id, lead(effective_at) OVER (PARTITION BY book_id ORDER BY effective_at) AS ends
      FROM billing_priceversion) v ON v.id = p.version_id
WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage' AND (e.started_at < v.effective_at
  OR CASE WHEN m.unit = 'second' THEN e.ended_at > v.ends ELSE e.started_at >= v.ends END
  OR NOT EXISTS (SELECT FROM billing_contract c WHERE c.tenant_id = e.tenant_id AND c.book_id = v.book_id
    AND e.day >= c.starts_on AND (c.ends_on IS NULL OR e.day < c.ends_on))) LIMIT 1
"""
CONVERTED = """
SELECT format('interval at %%s in %%s is converted by the rate of %%s from %%s to %%s, in force from %%s to %%s', e.started_at, b.currency,
  x.rate, x.source, x.target, x.valid_from, x.ends)
FROM billing_usageevent e JOIN billing_price p ON p.id = e.price_id JOIN billing_priceversion v ON v.id = p.version_id
JOIN billing_pricebook b ON b.id = v.book_id
JOIN billing_contract c ON c.tenant_id = e.tenant_id AND e.day >= c.starts_on AND (c.ends_on IS NULL OR e.day < c.ends_on)
JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id
LEFT JOIN (SELECT *, lead(valid_from) OVER (PARTITION BY source, target ORDER BY valid_from) AS ends FROM billing_exchangerate) x
  ON x.id = e.rate_id
WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage' AND CASE WHEN b.currency = c.currency THEN e.rate_id IS NOT NULL
  ELSE (x.source, x.target) IS DISTINCT FROM (b.currency, c.currency) OR e.started_at < x.valid_from
    OR CASE WHEN m.unit = 'second' THEN e.ended_at > x.ends ELSE e.started_at >= x.ends END END LIMIT 1
"""
BALANCE = """
SELECT format('transaction %%s is off balance by %%s %%s', transaction_id, sum(amount), currency) FROM billing_ledgerposting
WHERE tenant_id = %(tenant)s GROUP BY transaction_id, currency HAVING sum(amount) <> 0 LIMIT 1
"""
# An attempt has the same share of each ledger account that a transaction charged.
SHARES = """
SELECT format('transaction %%s charges %%s, the shares of its attempts sum to %%s', s.transaction_id, coalesce(p.amount, 0), s.amount)
FROM (
  SELECT transaction_id, sum(amount) AS amount FROM billing_ledgershare WHERE tenant_id = %(tenant)s GROUP BY 1
) s LEFT JOIN billing_ledgerposting p ON p.tenant_id = %(tenant)s AND p.transaction_id = s.transaction_id AND p.account IN ('spent', 'unheld')
WHERE p.amount IS DISTINCT FROM s.amount LIMIT 1
"""
COUNTERS = """
WITH posted AS (
  SELECT pot, coalesce(sum(amount) FILTER (WHERE account = 'held'), 0) AS held, coalesce(sum(amount) FILTER (WHERE account = 'spent'), 0) AS spent,
    coalesce(sum(amount) FILTER (WHERE account = 'unheld'), 0) AS unheld
  FROM billing_ledgerposting WHERE tenant_id = %(tenant)s AND pot_kind = 'counter' GROUP BY pot
)
SELECT format('budget %%s in %%s: its counter has held %%s, spent %%s, unreserved %%s; the ledger has %%s, %%s, %%s', c.budget_id, c.period,
  c.held, c.spent, c.unheld, coalesce(p.held, 0), coalesce(p.spent, 0), coalesce(p.unheld, 0))
FROM billing_budgetperiod c LEFT JOIN posted p ON p.pot = c.id
WHERE c.tenant_id = %(tenant)s
  AND (c.held, c.spent, c.unheld) IS DISTINCT FROM (coalesce(p.held, 0), coalesce(p.spent, 0), coalesce(p.unheld, 0)) LIMIT 1
"""
HOLDS = """
WITH posted AS (
  SELECT pot, coalesce(sum(amount) FILTER (WHERE account = 'held'), 0) AS held, coalesce(sum(amount) FILTER (WHERE account = 'spent'), 0) AS spent
  FROM billing_ledgerposting WHERE tenant_id = %(tenant)s AND pot_kind = 'hold' GROUP BY pot
)
SELECT format('hold %%s for %%s (%%s): %%s of %%s settled; the ledger has held %%s, spent %%s', h.id, h.subject, h.state, h.settled, h.amount, p.held, p.spent)
FROM billing_hold h LEFT JOIN posted p ON p.pot = h.id
WHERE h.tenant_id = %(tenant)s AND (h.settled <> coalesce(p.spent, 0)
  OR coalesce(p.held, 0) <> CASE WHEN h.state = 'open' THEN h.amount - h.settled ELSE 0 END) LIMIT 1
"""
SHARED = """
SELECT format('budget %%s in %%s: %%s held; its open holds have %%s left', c.budget_id, c.period, c.held, coalesce(o.left, 0))
FROM billing_budgetperiod c LEFT JOIN (
  SELECT s.counter_id, date_trunc(b.period, h.period::timestamp)::date AS period, sum(h.amount - h.settled) AS left
  FROM billing_holdshare s JOIN billing_hold h ON h.tenant_id = s.tenant_id AND h.id = s.hold_id
  JOIN billing_budgetperiod c ON c.tenant_id = s.tenant_id AND c.id = s.counter_id
  JOIN billing_budget b ON b.tenant_id = c.tenant_id AND b.id = c.budget_id
  WHERE s.tenant_id = %(tenant)s AND h.state = 'open' GROUP BY 1, 2
) o ON o.counter_id = c.id AND o.period = c.period
WHERE c.tenant_id = %(tenant)s AND c.held <> coalesce(o.left, 0) LIMIT 1
"""
OVERSPENT = """
SELECT format('budget %%s in %%s: %%s held plus %%s spent exceed %%s', budget_id, period, held, spent, ceiling) FROM billing_budgetperiod
WHERE tenant_id = %(tenant)s AND held + spent > ceiling LIMIT 1
"""
CHARGED = """
WITH rated AS (
  SELECT date_trunc('month', day)::date AS period, sum(amount) AS amount FROM billing_usagerollup WHERE tenant_id = %(tenant)s GROUP BY 1
),
posted AS (
  SELECT t.period, sum(p.amount) AS amount FROM billing_ledgerposting p
  JOIN billing_ledgertransaction t ON t.tenant_id = p.tenant_id AND t.id = p.transaction_id
  WHERE p.tenant_id = %(tenant)s AND (p.pot_kind, p.account) IN (('hold', 'spent'), ('project', 'unheld')) GROUP BY t.period
)
SELECT format('period %%s: rated usage is %%s, the ledger has %%s', coalesce(r.period, p.period), coalesce(r.amount, 0), coalesce(p.amount, 0))
FROM rated r FULL JOIN posted p ON p.period = r.period WHERE coalesce(r.amount, 0) <> coalesce(p.amount, 0) LIMIT 1
"""
UNBILLED = """
SELECT format('period %%s has usage and no invoice', r.period) FROM billing_usagerollup r
WHERE r.tenant_id = %(tenant)s AND NOT EXISTS (
  SELECT FROM billing_invoice i WHERE i.tenant_id = r.tenant_id AND i.period = r.period AND i.kind = 'period') LIMIT 1
"""
RATED_IN = """
SELECT coalesce(sum(r.amount), 0) FROM billing_usagerollup r LEFT JOIN billing_price p ON p.id = r.price_id
LEFT JOIN billing_priceversion v ON v.id = p.version_id LEFT JOIN billing_pricebook b ON b.id = v.book_id
LEFT JOIN billing_exchangerate x ON x.id = r.rate_id
WHERE coalesce(x.target, b.currency, %s) = %s AND r.tenant_id = %s AND r.period = %s
"""

LEDGER_RULES = [
    ("every ledger transaction sums to zero", BALANCE),
    ("the shares of attempts sum to what a transaction charges", SHARES),
    ("budget counters equal the ledger", COUNTERS),
    ("holds equal the ledger", HOLDS),
    ("the held amount of a budget equals what its open holds have left", SHARED),
    ("held and spent stay within the budget", OVERSPENT),
    ("the ledger equals rated usage", CHARGED),
]
USAGE_RULES = [
    ("every interval has its usage key", KEYS),
    ("every usage key has its interval", ORPHANS),
    ("readings count what their intervals sum to", READINGS),
    ("the intervals of an attempt do not overlap", OVERLAPS),
    ("an interval in seconds measures its length", MEASURED),
    ("intervals sum to roll-ups", ROLLUPS),
    ("an interval costs quantity times price", RATED),
    ("an interval is rated by the price in force", IN_FORCE),
    ("an interval is converted by the exchange rate in force", CONVERTED),
    ("every month with usage has an invoice", UNBILLED),
    ("the ledger equals rated usage", CHARGED),
]


def ledger_faults() -> Iterator[Fault]:
    """Yield faults of the open scope's ledger, one per rule."""
    yield from _broken(LEDGER_RULES)


def reconcile_faults() -> Iterator[Fault]:
    """Yield differences between intervals, roll-ups, ratings, ledger, invoices and payments, one per rule."""
    yield from _broken(USAGE_RULES)
    yield from _broken(MONEY_RULES)
    yield from _broken(WALLET_RULES)
    yield from _line_faults()


def _broken(rules: Sequence[tuple[str, str]]) -> Iterator[Fault]:
    for rule, query in rules:
        with connection.cursor() as cursor:
            cursor.execute(query, {"tenant": current_tenant_id()})
            row = cursor.fetchone()
        if row is not None:
            yield Fault(rule, row[0])


def _line_faults() -> Iterator[Fault]:
    """Compare each invoice's lines with the plain sum of its month's roll-ups, and a standing one with what was frozen."""
    for invoice in Invoice.objects.exclude(state=VOID).filter(kind=PERIOD).order_by("period"):
        fault = _line_fault(invoice)
        if fault:
            yield Fault("invoice lines sum to the roll-ups", f"{invoice.period:%Y-%m}{fault}")
            return


def _line_fault(invoice: Invoice) -> str:
    zero = Money.zero(invoice.currency)
    lines = computed_lines([invoice.period], invoice.currency)[invoice.period]
    if invoice.state in STANDING:
        lines = [
            line
            for line in frozen_lines({invoice.pk: invoice.currency})[invoice.pk]
            if line.kind in (USAGE, CORRECTION)
        ]
    exact = sum((line.exact for line in lines), zero)
    with connection.cursor() as cursor:
        cursor.execute(RATED_IN, [invoice.currency, invoice.currency, current_tenant_id(), invoice.period])
        (rated,) = cursor.fetchone()
    if exact.amount != rated:
        return f": lines sum to {shown(exact.amount)}, roll-ups to {shown(rated)} {invoice.currency}"
    for line in lines:
        if line.amount != line.exact.rounded():
            return f" line {line.n}: {line.amount} is not {line.exact} rounded"
    return ""
