"""Postings of money: what is owed, what a void or a credit takes back of it, and what was paid."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from billing.ledger import ledger
from billing.ledger.ledger import LedgerAccount, LedgerEntry, Posting
from billing.models import Invoice
from billing.models.ledger import CLEARING, RECEIVABLE, REVENUE, TAX, WALLET
from billing.money import Money


def post_owed(invoice: Invoice, subtotal: Money, tax: Money, *, kind: str = "invoiced") -> None:
    """Post what is owed by an invoice: receivable against revenue and tax; negative amounts take it back."""
    _post(kind, invoice, [(RECEIVABLE, _of(invoice), subtotal + tax), *_earned(invoice, -subtotal, -tax)])


def post_credit(
    invoice: Invoice, subtotal: Money, tax: Money, *, off_due: Money, refunded: Money, to_wallet: Money
) -> None:
    """Post a credit note: revenue and tax go back, off what is due, to the payer or into the wallet."""
    tenant = LedgerAccount("tenant", invoice.tenant_id)
    legs = [
        *_earned(invoice, subtotal, tax),
        (RECEIVABLE, _of(invoice), -off_due),
        (CLEARING, tenant, -refunded),
        (WALLET, LedgerAccount("wallet", invoice.tenant_id), -to_wallet),
    ]
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
