"""Blocks of credit: what is left of each, and every movement of it with its postings.

Whatever changes a block locks its wallet's row first, so that two invoices, an expiry and prepaid work never use the same
money. In the ledger the wallet is what the seller owes for money received; promotional credit is owed too, against its
cost in `write_off`: what an invoice uses of it becomes revenue, what expires is no cost any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from django.db.models import F

from billing.ledger import ledger
from billing.ledger.ledger import LedgerAccount, LedgerEntry, Posting
from billing.models import CreditBlock, CreditMovement, Invoice, Wallet
from billing.models.ledger import CLEARING, CREDIT, RECEIVABLE, REVENUE, WALLET, WRITE_OFF
from billing.models.wallets import (
    CARRIED,
    CREDITED,
    DISPUTED,
    EXPIRED,
    GRANT,
    PAID_CREDIT,
    PROMOTIONAL,
    REFUNDED,
    RETURNED,
    TOPPED_UP,
    USED,
    WITHDRAWN,
    WON_BACK,
)
from billing.money import Money
from billing.rating.billed.usage import Scope
from billing.rating.calendar import local_day, period_of
from tenants import clock
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

#: How the ledger names movements of blocks.
ENTRIES = {
    EXPIRED: "expired",
    WITHDRAWN: "revoked",
    USED: "used",
    RETURNED: "returned",
    REFUNDED: "refunded",
    DISPUTED: "disputed",
    WON_BACK: "won_back",
}
#: Against which account money comes into the wallet. A credit note posts its own part; what a bank takes of it is its payment.
AGAINST = {TOPPED_UP: CLEARING, CREDITED: CLEARING, CARRIED: REVENUE}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a block is given on: when it can be used, before which others, and for what usage."""

    starts_on: date
    expires_on: date | None = None
    priority: int = 50
    scope: Scope = Scope()  # noqa: RUF009 (frozen)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a block moves; `before_tax`: as a line of a bill, else as a payment."""

    block_id: UUID
    amount: Money
    before_tax: bool = False


def lock_wallet(currency: str, *, make: bool = True) -> Wallet | None:
    """Lock the wallet of the open scope's tenant in a currency; `make` it if there is none, else return None."""
    if make:
        Wallet.objects.bulk_create([Wallet(currency=currency)], ignore_conflicts=True)
    return Wallet.objects.select_for_update(no_key=True).filter(currency=currency).first()


def add(
    *, source: str, amount: Money, by: str, terms: Terms, kind: str = PAID_CREDIT, invoice: Invoice | None = None
) -> CreditBlock:
    """Add a block to the wallet. A credit note posts its own part of it."""
    lock_wallet(amount.currency)
    block = CreditBlock.objects.create(
        currency=amount.currency,
        kind=kind,
        source=source,
        amount=amount.amount,
        remaining=amount.amount,
        priority=terms.priority,
        starts_on=terms.starts_on,
        expires_on=terms.expires_on,
        meters=sorted(terms.scope.meters),
        projects=sorted(str(one) for one in terms.scope.projects),
        reason=terms.reason,
        invoice=invoice,
        made_by=by[:254],
    )
    legs: list[tuple[str, LedgerAccount, Money]] = []
    if source == GRANT:
        legs = [(CREDIT, LedgerAccount("credit", block.pk), -amount), (WRITE_OFF, _tenant(), amount)]
    elif source != CREDITED:
        legs = [(WALLET, _wallet(), -amount), (AGAINST[source], _tenant(), amount)]
    _post({GRANT: "granted", TOPPED_UP: "top_up", CARRIED: "carried"}.get(source, ""), legs, invoice)
    return block


def use(invoice: Invoice, parts: Sequence[Part]) -> None:
    """Let an invoice use parts of blocks; the wallet is locked."""
    _of_invoice(USED, invoice, parts, Decimal(1))


def give_back(invoice: Invoice) -> list[Part]:
    """Return to the blocks what a voided invoice used of them, and return the parts; the wallet is locked."""
    rows = CreditMovement.objects.filter(invoice=invoice, kind=USED).order_by("id")
    parts = [Part(row.block_id, Money(row.amount, invoice.currency), row.before_tax) for row in rows]
    _of_invoice(RETURNED, invoice, parts, Decimal(-1))
    return parts


def write_off(block: CreditBlock, kind: str) -> Money:
    """Take away what is left of a block that expired or was withdrawn; the wallet is locked."""
    left = Money(block.remaining, block.currency)
    take(block, left, kind)
    return left


def take(block: CreditBlock, amount: Money, kind: str, *, dispute: str = "", payment: str = "") -> None:
    """Take an amount away of a block that has as much; the wallet is locked."""
    _change(block, -amount, kind, dispute, payment)


def put_back(block: CreditBlock, amount: Money, kind: str, *, dispute: str = "", payment: str = "") -> None:
    """Return to a block an amount that was taken of it; the wallet is locked."""
    _change(block, amount, kind, dispute, payment)


def _change(block: CreditBlock, change: Money, kind: str, dispute: str, payment: str) -> None:
    amount = -change
    CreditMovement.objects.create(block=block, kind=kind, amount=abs(change.amount), dispute=dispute, payment=payment)
    CreditBlock.objects.filter(pk=block.pk).update(remaining=F("remaining") + change.amount)
    if block.kind == PROMOTIONAL:
        legs = [(CREDIT, LedgerAccount("credit", block.pk), amount), (WRITE_OFF, _tenant(), -amount)]
    else:
        legs = [(WALLET, _wallet(), amount), (AGAINST[block.source], _tenant(), -amount)]
    _post(ENTRIES[kind], legs, block.invoice)


def _of_invoice(kind: str, invoice: Invoice, parts: Sequence[Part], sign: Decimal) -> None:
    kinds = dict(CreditBlock.objects.filter(pk__in=[part.block_id for part in parts]).values_list("id", "kind"))
    legs = []
    for part in parts:
        CreditMovement.objects.create(
            block_id=part.block_id,
            kind=kind,
            invoice=invoice,
            amount=part.amount.amount,
            before_tax=part.before_tax,
        )
        # The table refuses to take more than is left, or to give back more than was there.
        CreditBlock.objects.filter(pk=part.block_id).update(remaining=F("remaining") - sign * part.amount.amount)
        promotional = kinds[part.block_id] == PROMOTIONAL
        source = (CREDIT, LedgerAccount("credit", part.block_id)) if promotional else (WALLET, _wallet())
        target = (REVENUE, _tenant()) if part.before_tax else (RECEIVABLE, LedgerAccount("invoice", invoice.pk))
        legs += [(*source, part.amount * sign), (*target, -part.amount * sign)]
    _post(ENTRIES[kind], legs, invoice)


def _tenant() -> LedgerAccount:
    return LedgerAccount("tenant", current_tenant_id())


def _wallet() -> LedgerAccount:
    return LedgerAccount("wallet", current_tenant_id())


def _post(kind: str, legs: Sequence[tuple[str, LedgerAccount, Money]], invoice: Invoice | None) -> None:
    if not legs:
        return
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=current_tenant_id())
    period = invoice.period if invoice else period_of(local_day(clock.now(), zone))
    postings = [Posting(account, owner, money.currency, money.amount) for account, owner, money in legs]
    ledger.post(LedgerEntry(kind, period, postings, invoice_id=invoice.pk if invoice else None))
