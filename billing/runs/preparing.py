"""Prepare the drafts of a month for many tenants: the sums of each beside those of the month before, and its flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog

from billing.models.invoicing import STANDING
from billing.queries.drafts import Draft, Sources, drafts_from, plans_by_hour
from billing.queries.lines import CORRECTION, USAGE, lines_from
from billing.rating.billed.credits import ends_within
from billing.rating.calendar import period_of
from billing.rating.flags import Item, flags, severity
from billing.runs.reading import Account, accounts
from billing.runs.storing import Prepared, store
from billing.taxes.queries import TaxTable, tax_day, tax_table
from tenants.isolation.scoping import tenant_scope

ZERO = Decimal(0)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Bill:
    """An invoice's sums and lines, whether it stands or is a draft."""

    invoice_id: UUID | None
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    items: Sequence[Item] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    untaxed: bool = False


NO_BILL = _Bill(None, ZERO, ZERO, ZERO)


def prepare(period: date, tenants: Sequence[UUID]) -> list[UUID]:
    """Store what a month of these tenants, given in order, comes to, where that is not what is stored. Repeatable.

    There is a row for each currency in which the month has an invoice or the one before was billed. Return the tenants
    whose month could not be computed: what was prepared of them before stays, with its time. Within one transaction.
    """
    last, taxes = period_of(period - timedelta(days=1)), tax_table()
    rows: list[Prepared] = []
    failed = []
    with closing(accounts(tenants, last, period)) as read:
        for account in read:
            try:
                rows += list(_prepared(account, last, period, taxes))
            except Exception:
                log.exception("period_run.failed", tenant=str(account.tenant_id), period=period.isoformat())
                failed.append(account.tenant_id)
    store(period, [one for one in tenants if one not in failed], rows)
    return failed


def _prepared(account: Account, last: date, period: date, taxes: TaxTable) -> Iterator[Prepared]:
    """Yield what is stored of a tenant's month: nothing if it has no invoice, and the month before was billed nothing."""
    bills = _bills(account, taxes)
    for currency in sorted({currency for _, currency in bills}):
        bill, before = bills.get((period, currency)), bills.get((last, currency))
        if bill is None and (before is None or not before.total or currency == account.left(period)):
            continue
        now, was = bill or NO_BILL, before or NO_BILL
        last_total = before.total if before else None
        found = flags(now.items, was.items, now.total, last_total, untaxed=now.untaxed)
        titles = {**was.titles, **now.titles}
        yield Prepared(
            account.tenant_id,
            currency,
            now.invoice_id,
            now.subtotal,
            now.tax,
            now.total,
            last_total,
            [one.stored() | {"title": titles.get(one.meter, "")} for one in found],
            severity(found),
        )


def _bills(account: Account, taxes: TaxTable) -> dict[tuple[date, str], _Bill]:
    """Return a tenant's invoices by month and currency."""
    computed, found = _drafts(account, taxes), {}
    frozen: dict[UUID, list[Any]] = {}
    for line in account.frozen:
        frozen.setdefault(line.invoice_id, []).append(line)
    for row in account.invoices:
        if row.state in STANDING:
            lines = frozen.get(row.id, [])
            sums = (row.subtotal or ZERO, row.tax or ZERO, row.total or ZERO)
            items = [_item(line, line.amount) for line in lines]
            found[row.period, row.currency] = _Bill(row.id, *sums, items, _titles(lines))
        else:
            draft = computed[row.id]
            sums = (draft.subtotal.amount, draft.tax.amount, draft.total.amount)
            items = [_item(line, line.amount.amount) for line in draft.lines]
            untaxed = bool(draft.untaxed)
            found[row.period, row.currency] = _Bill(row.id, *sums, items, _titles(draft.lines), untaxed)
    return found


def _drafts(account: Account, taxes: TaxTable) -> dict[UUID, Draft]:
    """Return a tenant's drafts, as its pages compute them."""
    drafts, found = account.drafts(), dict[UUID, Draft]()
    # Usage by the hour is read of one tenant at a time: it is much.
    apart = drafts and (any(plans_by_hour(contract) for contract in account.contracts) or _ends_within(account))
    with tenant_scope(account.tenant_id) if apart else nullcontext():
        for currency in {row.currency for row in drafts}:
            asked = {row.id: row.period for row in drafts if row.currency == currency}
            credits = account.credits.get(currency, ())
            before = {row.id: row.period for row in account.before if credits and row.currency == currency}
            months = {*asked.values(), *before.values()}
            sums = [row for row in account.sums if row.period in months and account.paid_in(row) in (currency, "")]
            lines = lines_from(sums, months, currency)
            found |= drafts_from(Sources(currency, account.contracts, credits, lines, taxes), asked, before)
    return found


def _ends_within(account: Account) -> bool:
    """Return whether credit ends within a month that is billed: it pays for the usage of its days."""
    months = account.months()
    credits = [credit for found in account.credits.values() for credit in found]
    return any(ends_within(credit, month, tax_day(month)) for credit in credits for month in months)


def _item(line: Any, amount: Decimal) -> Item:
    return Item(
        project=line.project_id,
        meter=line.meter or line.kind,
        amount=amount,
        measured=line.measured,
        late=line.kind == CORRECTION,
        unpriced=line.kind in (USAGE, CORRECTION) and line.price_id is None,
        agreed=line.kind not in (USAGE, CORRECTION),
    )


def _titles(lines: Sequence[Any]) -> dict[str, str]:
    return {line.meter: line.meter_title for line in lines if line.meter}
