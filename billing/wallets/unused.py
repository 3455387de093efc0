"""What is left of a payment in the wallet: of a top-up it can go back to the payer, and a bank that takes the payment back takes it.

A credit note, too, may have put what was paid of an invoice into the wallet.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from django.db.models import Case, F, QuerySet, Sum, When

from billing.credit.queries import standing
from billing.models import CreditBlock, CreditMovement, Invoice
from billing.models.wallets import CREDITED, DISPUTED, PAID_CREDIT, REFUNDED, TOPPED_UP, WON_BACK
from billing.money import Money
from billing.rating.billed.lines import money_of
from billing.wallets import blocks
from billing.wallets.applying import refundable
from tenants.errors import Conflict

#: What a movement names that is older than the names.
UNNAMED = ""


class TopUpUsed(Conflict):
    """Only what is left of a top-up goes back to the payer."""

    code = "top_up_used"


def left_of(invoice: Invoice) -> Money:
    """Lock the wallet, and return what can go back of a top-up's locked invoice.

    Of a prepaid wallet nothing goes back that work holds, or that usage needs which no invoice has billed.
    """
    blocks.lock_wallet(invoice.currency)
    left = min(_in_blocks(invoice), refundable(invoice))
    stands = standing(invoice.currency)
    if stands is not None and (stands.held or stands.spent):
        left = min(left, Money(stands.available, invoice.currency))
    rounded = left.rounded()
    return rounded if rounded <= left else money_of(left.minor - 1, invoice.currency)


def rest_of(invoice: Invoice) -> tuple[UUID, Decimal]:
    """Return the only line of a top-up's locked invoice, and what can go back of it. Raises TopUpUsed if nothing can."""
    left = left_of(invoice)
    if not left:
        raise TopUpUsed
    return invoice.lines.values_list("id", flat=True).get(), left.amount


def refund(invoice: Invoice, amount: Money) -> None:
    """Take an amount that goes back to the payer out of the wallet. The invoice is locked. Raises TopUpUsed."""
    left = left_of(invoice)
    if amount > left:
        raise TopUpUsed(f"{left.plain()} is left of this top-up, less what running work holds and open usage needs.")
    take_out(invoice, amount, REFUNDED)


def take_out(invoice: Invoice, amount: Money, kind: str, *, dispute: str = "", payment: str = "") -> None:
    """Take an amount out of what payments of a locked invoice put into the wallet, the newest block first.

    The wallet is locked, and has as much.
    """
    for block in _blocks(invoice).filter(remaining__gt=0).order_by("-id"):
        part = min(Money(block.remaining, block.currency), amount)
        if part:
            blocks.take(block, part, kind, dispute=dispute, payment=payment)
            amount -= part


def take_disputed(invoice: Invoice, amount: Money, *, dispute: str, payment: str) -> Money:
    """Take away what is left of an amount of a payment that a bank took back by a dispute; return how much that was.

    The invoice is locked.
    """
    blocks.lock_wallet(invoice.currency, make=False)
    taken = min(_in_blocks(invoice), amount)
    take_out(invoice, taken, DISPUTED, dispute=dispute, payment=payment)
    return taken


def put_back_won(invoice: Invoice, *, dispute: str, payment: str) -> Money:
    """Return to the wallet what one dispute took of a top-up; return how much that was. The invoice is locked."""
    blocks.lock_wallet(invoice.currency, make=False)
    back = Money.zero(invoice.currency)
    name, taken = _taken(invoice, dispute)
    for block_id, part in taken:
        block = CreditBlock.objects.get(pk=block_id)
        blocks.put_back(block, part, WON_BACK, dispute=name, payment=payment)
        back += part
    return back


def taken_by(invoice: Invoice, dispute: str) -> Money:
    """Return what a dispute that began has taken out of the wallet. The invoice is locked."""
    _, taken = _taken(invoice, dispute)
    return sum((part for _, part in taken), Money.zero(invoice.currency))


def _taken(invoice: Invoice, dispute: str) -> tuple[str, list[tuple[UUID, Money]]]:
    """Return what a dispute took of the blocks of an invoice and has not given back, and how its movements name it."""
    moved = CreditMovement.objects.filter(block__invoice=invoice, kind__in=[DISPUTED, WON_BACK])
    name = dispute if moved.filter(dispute=dispute).exists() else UNNAMED
    signed = Case(When(kind=DISPUTED, then=F("amount")), default=-F("amount"))
    sums = moved.filter(dispute=name).values("block").annotate(taken=Sum(signed)).filter(taken__gt=0)
    return name, [(block, Money(one, invoice.currency)) for block, one in sums.values_list("block", "taken")]


def _in_blocks(invoice: Invoice) -> Money:
    rows = _blocks(invoice).values_list("remaining", flat=True)
    return sum((Money(one, invoice.currency) for one in rows), Money.zero(invoice.currency))


def _blocks(invoice: Invoice) -> QuerySet[CreditBlock]:
    """Return the blocks that money paid for an invoice is in: those of a top-up, or of credit notes."""
    return CreditBlock.objects.filter(invoice=invoice, kind=PAID_CREDIT, source__in=[TOPPED_UP, CREDITED])
