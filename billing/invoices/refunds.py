"""Which payments a refund returns: those of the payment provider first, in the order in which they arrived."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from billing.models import Invoice, Payment
from billing.models.settling import PAYMENT
from billing.money import Money
from billing.payments.chosen import payment_gateway
from billing.queries.owed.collecting import kept_by_banks, taken_of_credit

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Allotted:
    """What is left of a payment of the provider, and the refunds of it, with their amounts, by id."""

    external_id: str
    left: Money
    refunds: tuple[UUID, ...]


def ways_back(invoice: Invoice, amount: Money) -> list[tuple[str, Money]]:
    """Return in which parts an amount goes back, each with its method: through the provider as far as it was paid there.

    The invoice is locked. An amount of zero has no parts.
    """
    gateway = payment_gateway()
    parts: list[tuple[str, Money]] = []
    for paid in allotted(invoice, gateway.name) if gateway.collects else ():
        if part := min(paid.left, amount):
            parts.append((gateway.name, part))
            amount -= part
    return [*parts, (MANUAL, amount)] if amount else parts


def allotted(invoice: Invoice, method: str) -> list[Allotted]:
    """Return the payments of a provider, the earliest first, with its refunds: each belongs to the first that covers it.

    What a bank keeps of a payment cannot be returned again, be it due again or taken out of the wallet.
    """
    kept, taken = kept_by_banks(invoice.pk), taken_of_credit(invoice.pk)
    rows = Payment.objects.filter(invoice=invoice, method=method).order_by("recorded_at", "id")
    payments = [
        Allotted(
            row.external_id,
            Money(row.amount - kept.get(row.external_id, 0) - taken.get(row.external_id, 0), row.currency),
            (),
        )
        for row in rows
        if row.kind == PAYMENT and row.external_id
    ]
    for row in rows:
        if row.kind != PAYMENT:
            money = Money(row.amount, row.currency)
            at = next((n for n, paid in enumerate(payments) if money <= paid.left), None)
            if at is not None:
                paid = payments[at]
                payments[at] = Allotted(paid.external_id, paid.left - money, (*paid.refunds, row.pk))
    return payments
