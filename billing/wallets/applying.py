"""Invoices and the wallet: what a finalised invoice uses of it or puts into it, and what a void undoes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from django.db.models import F, Q, QuerySet, Sum

from billing.models import CreditBlock, Invoice, Payment, TopUp, Wallet
from billing.models.settling import PAYMENT, REFUND
from billing.models.wallets import CARRIED, PAID_CREDIT, PROMOTIONAL, WITHDRAWN
from billing.money import Money
from billing.queries.drafts import Draft
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine, frozen_lines
from billing.wallets import blocks
from billing.wallets.blocks import Part, Terms
from tenants.clock import DatabaseNow

#: By which method each kind of credit pays.
METHODS = {PAID_CREDIT: "wallet", PROMOTIONAL: "credit"}
OWN_METHODS = tuple(METHODS.values())
NOTHING = Decimal(0)


def use_credit(invoice: Invoice, draft: Draft, *, today: date, by: str) -> None:
    """Let an invoice that is being finalised use the credit that its draft shows; the wallet is locked.

    A total below zero becomes a block of paid credit. Usage that is billed leaves the count of a prepaid wallet.
    """
    _count(invoice, draft.lines, -1)
    blocks.use(invoice, [Part(one.block_id, one.amount, one.before_tax) for one in draft.credits])
    for kind, method in METHODS.items():
        amount = sum((c.amount.amount for c in draft.credits if c.kind == kind and not c.before_tax), NOTHING)
        _pay(invoice, kind=PAYMENT, method=method, amount=amount, day=today, by=by)
    if draft.carried:
        terms = Terms(starts_on=today, reason=f"carried over from {invoice.period:%B %Y}")
        blocks.add(source=CARRIED, amount=draft.carried, by=by, terms=terms, invoice=invoice)


def may_undo(invoice: Invoice) -> bool:
    """Return whether a void can undo an invoice: only credit paid it, and what it carried over is not used."""
    blocks.lock_wallet(invoice.currency, make=False)
    used = CreditBlock.objects.filter(invoice=invoice, source=CARRIED).exclude(remaining=F("amount"))
    return invoice.paid - invoice.returned == _paid_by_credit(invoice) and not used.exists()


def undo_credit(invoice: Invoice, *, today: date, by: str, reissued: bool) -> Money:
    """Return to the blocks what an invoice used of them, take back what it carried over; return what it was paid by them.

    With `reissued` its usage is unbilled again. See `may_undo`.
    """
    if reissued:
        _count(invoice, frozen_lines({invoice.pk: invoice.currency})[invoice.pk], 1)
    blocks.give_back(invoice)
    for block in CreditBlock.objects.filter(invoice=invoice, source=CARRIED):
        blocks.write_off(block, WITHDRAWN)
    TopUp.objects.filter(invoice=invoice).update(closed_at=DatabaseNow())
    paid = Money.zero(invoice.currency)
    for method in OWN_METHODS:
        back = _net(invoice, method)
        _pay(invoice, kind=REFUND, method=method, amount=back, day=today, by=by)
        paid += Money(back, invoice.currency)
    return paid


def refundable(invoice: Invoice) -> Money:
    """Return how much of what an invoice was paid came from outside and has not gone back."""
    rows = Payment.objects.filter(invoice=invoice).exclude(method__in=OWN_METHODS)
    return Money(_sums(rows), invoice.currency)


def promotional_part(invoice: Invoice, back: Money) -> Money:
    """Return which part of what goes back was paid by promotional credit: it goes back last, and only as such."""
    given = CreditBlock.objects.filter(invoice=invoice, kind=PROMOTIONAL).aggregate(sum=Sum("amount"))["sum"] or NOTHING
    promotional = _net(invoice, METHODS[PROMOTIONAL]) - given
    bought = invoice.paid - invoice.returned - promotional
    return Money(max(back.amount - bought, NOTHING), invoice.currency)


def _paid_by_credit(invoice: Invoice) -> Decimal:
    return sum((_net(invoice, method) for method in OWN_METHODS), NOTHING)


def _net(invoice: Invoice, method: str) -> Decimal:
    return _sums(Payment.objects.filter(invoice=invoice, method=method))


def _sums(rows: QuerySet[Payment]) -> Decimal:
    sums = rows.aggregate(paid=Sum("amount", filter=Q(kind=PAYMENT)), back=Sum("amount", filter=Q(kind=REFUND)))
    return (sums["paid"] or NOTHING) - (sums["back"] or NOTHING)


def _count(invoice: Invoice, lines: Sequence[InvoiceLine], sign: int) -> None:
    usage = [line.exact.amount for line in lines if line.kind in (USAGE, CORRECTION)]
    Wallet.objects.filter(currency=invoice.currency, counted=True).update(spent=F("spent") + sign * sum(usage, NOTHING))


def _pay(invoice: Invoice, *, kind: str, method: str, amount: Decimal, day: date, by: str) -> None:
    if amount:
        Payment.objects.create(
            invoice=invoice,
            kind=kind,
            method=method,
            amount=amount,
            currency=invoice.currency,
            received_on=day,
            recorded_by=by[:254],
        )
