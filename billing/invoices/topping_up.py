"""Top-ups: a tenant asks for one, the ops worker makes its invoice, and what is paid of that fills the wallet.

The web process has no right to issue an invoice: it stores the wish, whose event the ops worker answers within a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from billing.credit.queries import outlook
from billing.events import InvoiceFinalised, TopUpAsked
from billing.invoices.freezing import issue as freeze
from billing.invoices.freezing import store_lines
from billing.invoices.parties import seller
from billing.invoices.posting import post_owed
from billing.models import CreditBlock, CreditMovement, Invoice, TopUp, Wallet
from billing.models.invoicing import FINALISED, TOP_UP
from billing.models.wallets import REFUNDED, TOPPED_UP
from billing.money import Money, fineness_fault
from billing.queries.calendar import tenant_today
from billing.queries.drafts import Draft, contract_in, line_of
from billing.rating.calendar import period_bounds
from billing.wallets import blocks
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid
from tenants.events.events import publish
from tenants.ids import uuid7
from tenants.isolation import limits, sweeps
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.notifications.notifications import notify

TOP_UP_ASKED = AuditAction("billing.top_up.asked")
TOP_UP_INVOICED = AuditAction("billing.top_up.invoiced")
AUTOMATIC_CHANGED = AuditAction("billing.top_up.automatic")
LARGEST = Decimal(10) ** 9
MOST_OPEN = 5
# The columns that the ops worker may give a new invoice.
OPEN = """
INSERT INTO billing_invoice (id, tenant_id, period, starts_at, ends_at, currency, kind) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


class TopUpsOpen(Conflict):
    """Several top-ups wait for their payment. Pay one first, or ask the operator to void its invoice."""

    code = "top_ups_open"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When to top up by itself: once less than `below` is available, by `amount`, within `most` a local month."""

    below: Decimal
    amount: Decimal
    most: Decimal


@operation(TOP_UP_ASKED)
def ask(*, actor: Actor, amount: Decimal) -> UUID:
    """Ask for an invoice whose payment fills the wallet; return the top-up's id.

    Raises Invalid, SellerUnknown while no seller is entered, TopUpsOpen if too many wait for their payment.
    """
    actor.require("invoices.manage")
    currency = tenant_today().currency
    if fault := _fault(amount, currency):
        raise Invalid(fields={"amount": [fault]})
    seller()
    blocks.lock_wallet(currency)
    if limits.is_full(TopUp.objects.filter(closed_at=None), MOST_OPEN):
        raise TopUpsOpen
    return _ask(actor, Money(amount, currency), automatic=False)


@operation(AUTOMATIC_CHANGED)
def change_rule(*, actor: Actor, rule: Rule | None) -> None:
    """Set when the wallet is topped up by itself, or that it is not. Raises Invalid."""
    actor.require("invoices.manage")
    currency = tenant_today().currency
    if rule and (faults := _rule_faults(rule, currency)):
        raise Invalid(fields=faults)
    wallet = blocks.lock_wallet(currency)
    assert wallet is not None  # noqa: S101 (it is made)
    before = [wallet.top_up_below, wallet.top_up_amount, wallet.top_up_most]
    after: list[Any] = [rule.below, rule.amount, rule.most] if rule else [None, None, None]
    Wallet.objects.filter(pk=wallet.pk).update(top_up_below=after[0], top_up_amount=after[1], top_up_most=after[2])
    changes = {
        name: [None if money is None else Money(money, currency).json() for money in pair]
        for name, *pair in zip(("below", "amount", "most"), before, after, strict=True)
        if pair[0] != pair[1]
    }
    record(AUTOMATIC_CHANGED, actor=actor, target=wallet, changes=changes)


@operation(TOP_UP_INVOICED)
def issue(*, actor: Actor, top_up_id: UUID) -> None:
    """Make the invoice of a top-up. Idempotent; for the ops worker. Raises SellerUnknown."""
    top_up = TopUp.objects.select_for_update(no_key=True).get(pk=top_up_id)
    if top_up.invoice_id is not None:
        unchanged("its invoice is made")
        return
    issuer, at = seller(), tenant_today()
    contract = contract_in(at.period)
    starts_at, ends_at = period_bounds(at.period, at.zone)
    amount = Money(top_up.amount, top_up.currency)
    zero = Money.zero(amount.currency)
    with connection.cursor() as cursor:
        values = (uuid7(), actor.tenant_id, at.period, starts_at, ends_at, amount.currency, TOP_UP)
        cursor.execute(OPEN, values)
    invoice = Invoice.objects.get(pk=values[0])
    draft = Draft([line_of(invoice.pk, TOP_UP, 1, amount)], [], amount, zero)
    store_lines(invoice.pk, draft.lines)
    post_owed(invoice, amount, zero)
    label, due_on = freeze(invoice, draft, contract=contract, issuer=issuer, today=at.day, by=actor.label)
    TopUp.objects.filter(pk=top_up_id).update(invoice_id=invoice.pk)
    target = ("invoice", invoice.pk, label)
    record(TOP_UP_INVOICED, actor=actor, target=target, changes={"total": [None, amount.json()]})
    publish(
        InvoiceFinalised(
            tenant_id=actor.tenant_id,
            invoice_id=invoice.pk,
            number=label,
            period=at.period.isoformat(),
            total=amount.amount,
            currency=amount.currency,
            due_on=due_on.isoformat(),
        )
    )
    if top_up.automatic:
        notify(
            permission="invoices.manage",
            kind="wallet",
            title=f"The wallet runs low: {label} tops it up by {amount.plain()}",
            body="The wallet is filled when this invoice is paid.",
            path=f"invoices/{invoice.pk}/",
        )


def fill(invoice: Invoice, amount: Money, *, by: str) -> None:
    """Put a payment of a top-up's locked invoice into the wallet; the top-up ends once nothing of it is due.

    What pays for credit that was used before a bank took its payment back is in the wallet already.
    """
    if invoice.kind != TOP_UP:
        return
    amount = min(amount, _unfilled(invoice))
    if amount > Money.zero(invoice.currency):
        terms = blocks.Terms(starts_on=tenant_today().day, reason=invoice.label)
        blocks.add(source=TOPPED_UP, amount=amount, by=by, terms=terms, invoice=invoice)
    if invoice.state != FINALISED:
        TopUp.objects.filter(invoice=invoice).update(closed_at=DatabaseNow())


def _unfilled(invoice: Invoice) -> Money:
    """Return what a top-up has been paid, less what it has put into the wallet; a refund takes as much out of either."""
    filled = CreditBlock.objects.filter(invoice=invoice, source=TOPPED_UP).aggregate(sum=Sum("amount"))["sum"]
    moved = CreditMovement.objects.filter(block__invoice=invoice, kind=REFUNDED).aggregate(sum=Sum("amount"))["sum"]
    return Money(invoice.paid - invoice.returned + (moved or 0) - (filled or 0), invoice.currency)


def sweep() -> None:
    """Ask for the top-ups that are due by the rules of all tenants: one at a time for each. Repeatable.

    A failure of one tenant stops no other, and is raised at the end (SweepFailed).
    """
    active = Tenant.objects.filter(standing="active").order_by("id")
    with sweeps.sweep("top-ups") as each:
        for tenant_id in each.over(active.values_list("id", flat=True)):
            with each(tenant=tenant_id):
                with tenant_scope(tenant_id):
                    low = [row.currency for row in Wallet.objects.exclude(top_up_below=None) if _is_low(row)]
                for currency in low:
                    top_up_by_rule(actor=Actor.system(tenant_id, "billing"), currency=currency)


@operation(TOP_UP_ASKED)
def top_up_by_rule(*, actor: Actor, currency: str) -> None:
    """Ask for a top-up if the wallet is still low, none is open, and the month has room for it."""
    wallet = blocks.lock_wallet(currency)
    if wallet is None or wallet.top_up_amount is None or not _is_low(wallet):
        unchanged("the wallet is not low, a top-up is open, or the month has no room for another")
        return
    _ask(actor, Money(wallet.top_up_amount, currency), automatic=True)


def _is_low(wallet: Wallet) -> bool:
    """Return whether a wallet's rule asks for a top-up now."""
    if wallet.top_up_below is None or wallet.top_up_amount is None or wallet.top_up_most is None:
        return False
    if TopUp.objects.filter(currency=wallet.currency, closed_at=None).exists():
        return False
    at = tenant_today()
    if wallet.currency != at.currency:  # a contract has changed it since the rule was set
        return False
    since, _ = period_bounds(at.period, at.zone)
    mine = TopUp.objects.filter(currency=wallet.currency, automatic=True, asked_at__gte=since)
    asked = mine.exclude(invoice__state="void").aggregate(sum=Sum("amount"))["sum"] or Decimal(0)
    if asked + wallet.top_up_amount > wallet.top_up_most:
        return False
    below: Decimal = wallet.top_up_below
    return outlook(wallet.currency).available < below


def _ask(actor: Actor, amount: Money, *, automatic: bool) -> UUID:
    made = TopUp.objects.create(
        currency=amount.currency,
        amount=amount.amount,
        automatic=automatic,
        asked_by_id=actor.id,
        asked_by=actor.label[:254],
    )
    record(TOP_UP_ASKED, actor=actor, target=made, changes={"amount": [None, amount.json()]})
    publish(TopUpAsked(tenant_id=actor.tenant_id, top_up_id=made.pk))
    return made.pk


def _fault(amount: Decimal, currency: str) -> str | None:
    if not amount.is_finite() or not 0 < amount < LARGEST:
        return "Give an amount above 0 and below 1,000,000,000."
    return fineness_fault(amount, currency)


def _rule_faults(rule: Rule, currency: str) -> dict[str, list[str]]:
    faults = {name: [fault] for name in ("amount", "most") if (fault := _fault(getattr(rule, name), currency))}
    if not rule.below.is_finite() or not 0 <= rule.below < LARGEST:
        faults["below"] = ["Give an amount from 0 to below 1,000,000,000."]
    elif fault := fineness_fault(rule.below, currency):
        faults["below"] = [fault]
    if not faults and rule.most < rule.amount:
        faults["most"] = ["Allow at least one top-up a month."]
    return faults
