"""A new budget begins with what its scope has spent and held in the running period."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Sum

from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, HELD, SPENT, LedgerAccount, LedgerEntry
from billing.models import Budget, BudgetPeriod, Hold, HoldShare, UsageRollup, UsageSeries
from billing.models.budgets import NOTIFY
from billing.models.holds import OPEN
from billing.queries.calendar import tenant_today
from billing.rating.calendar import span_end
from billing.rating.tags import as_dims
from tenants.isolation.scoping import current_tenant_id

NOTHING = Decimal(0)
# Usage has no person; the hold or the request that brought it has.
OF_PERSON = """
SELECT coalesce(sum(p.amount), 0) FROM billing_ledgertransaction t
JOIN billing_ledgerposting p ON p.tenant_id = t.tenant_id AND p.transaction_id = t.id
LEFT JOIN billing_hold h ON h.tenant_id = t.tenant_id AND h.id = t.hold_id
LEFT JOIN billing_usagebatch b ON b.tenant_id = t.tenant_id AND b.id = t.batch_id
WHERE t.tenant_id = %s AND t.period >= %s AND t.period < %s AND p.currency = %s
  AND (p.pot_kind, p.account) IN (('hold', 'spent'), ('project', 'unheld')) AND coalesce(h.person, b.person) = %s
"""


def start(budget: Budget, period: date) -> None:
    """Create the first counter of a new budget. The caller has locked the set of budgets exclusively."""
    end = span_end(period, budget.period)
    spent = _spent(budget, period, end)
    # Usage and releases are locked out meanwhile: no hold of the tenant moves before this transaction ends.
    within = Hold.objects.filter(state=OPEN, period__gte=period, period__lt=end, currency=budget.currency)
    holds = list(within.filter(**_scope(budget)))
    held = sum((hold.amount - hold.settled for hold in holds), NOTHING)
    counter = BudgetPeriod.objects.create(
        budget=budget,
        period=period,
        currency=budget.currency,
        limit=budget.amount,
        at_limit=budget.at_limit,
        ceiling=None if budget.at_limit == NOTIFY else max(budget.amount, held + spent),
        held=held,
        spent=spent,
    )
    HoldShare.objects.bulk_create([HoldShare(hold=hold, counter=counter) for hold in holds])
    accounts = [LedgerAccount("counter", counter.pk)]
    moved = ledger.move(AVAILABLE, SPENT, accounts, spent, budget.currency) + ledger.move(
        AVAILABLE, HELD, accounts, held, budget.currency
    )
    ledger.post(LedgerEntry("open", period, moved))


def _scope(budget: Budget) -> dict[str, Any]:
    """Return the filter of the holds that a budget applies to."""
    if budget.tag_key:
        return {"tags__contains": {budget.tag_key: budget.tag_value}}
    if budget.person:
        return {"person": budget.person}
    return {"project_id": budget.project_id} if budget.project_id else {}


def _spent(budget: Budget, period: date, end: date) -> Decimal:
    if budget.person:
        with connection.cursor() as cursor:
            cursor.execute(OF_PERSON, [current_tenant_id(), period, end, budget.currency, budget.person])
            return Decimal(cursor.fetchone()[0])
    # A running quarter or year may begin in another currency; a month cannot.
    at = tenant_today()
    first = max(period, at.currencies.since(at.day))
    used = UsageRollup.objects.filter(day__gte=first, day__lt=end)
    if budget.project_id:
        used = used.filter(project_id=budget.project_id)
    if budget.tag_key:
        tagged = UsageSeries.objects.filter(dims__contains=as_dims({budget.tag_key: budget.tag_value}))
        used = used.filter(series_hash__in=tagged.values("hash"))
    return used.aggregate(total=Sum("amount"))["total"] or NOTHING
