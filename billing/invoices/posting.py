"""Postings of money: what is owed, what a void or a credit takes back of it, and what was paid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from billing.ledger import ledger
from billing.ledger.ledger import LedgerAccount, LedgerEntry, Posting
from billing.models import Invoice
from billing.models.invoicing import TOP_UP
from billing.models.ledger import CLEARING, CREDIT, RECEIVABLE, REVENUE, TAX, WALLET, WRITE_OFF
from billing.money import Money


def post_owed(invoice: Invoice, subtotal: Money, tax: Money, *, kind: str = "invoiced") -> None:
    """Post what is owed by an invoice: receivable against revenue and tax; negative amounts take it back.

    A top-up earns nothing: it is owed against the payment that clearing awaits. One whose payment a bank took back after its
    credit was used is written off when it is voided.
    """
    owed = (RECEIVABLE, _of(invoice), subtotal + tax)
    account = WRITE_OFF if invoice.paid else CLEARING
    awaited = [(account, LedgerAccount("tenant", invoice.tenant_id), -subtotal)]
    _post(kind, invoice, [owed, *(awaited if invoice.kind == TOP_UP else _earned(invoice, -subtotal, -tax))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """Where the money of a credit note goes: off what is due, to the payer, into the wallet, or to a promotional block."""

    off_due: Money
    refunded: Money
    to_wallet: Money
    promotional: Money
    block_id: UUID | None = None


def post_credit(invoice: Invoice, subtotal: Money, tax: Money, back: Back) -> None:
    """Post a credit note: revenue and tax go back."""
    legs = [
        *_earned(invoice, subtotal, tax),
        (RECEIVABLE, _of(invoice), -back.off_due),
        (CLEARING, LedgerAccount("tenant", invoice.tenant_id), -back.refunded),
        (WALLET, LedgerAccount("wallet", invoice.tenant_id), -back.to_wallet),
    ]
    if back.block_id is not None:
        legs.append((CREDIT, LedgerAccount("credit", back.block_id), -back.promotional))
    _post("credited", invoice, legs)


def post_payment(invoice: Invoice, amount: Money, *, kind: str = "paid") -> None:
    """Post a payment of an invoice."""
    tenant = LedgerAccount("tenant", invoice.tenant_id)
    _post(kind, invoice, [(RECEIVABLE, _of(invoice), -amount), (CLEARING, tenant, amount)])


def post_refund(invoice: Invoice, amount: Money) -> None:
    """Post that money returns which an invoice did not need."""
    post_payment(invoice, -amount, kind="refunded")


def _of(invoice: Invoice) -> LedgerAccount:
    return LedgerAccount("invoice", invoice.pk)


def _earned(invoice: Invoice, subtotal: Money, tax: Money) -> list[tuple[str, LedgerAccount, Money]]:
    tenant = LedgerAccount("tenant", invoice.tenant_id)
    return [(REVENUE, tenant, subtotal), (TAX, tenant, tax)]


def _post(kind: str, invoice: Invoice, legs: list[tuple[str, LedgerAccount, Money]]) -> None:
    period: date = invoice.period
    invoice_id: UUID = invoice.pk
    postings = [Posting(account, owner, money.currency, money.amount) for account, owner, money in legs if money]
    ledger.post(LedgerEntry(kind, period, postings, invoice_id=invoice_id))
