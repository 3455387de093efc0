"""The credit that invoices use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from billing.models import CreditMovement
from billing.models.invoicing import VOID
from billing.models.wallets import USED
from billing.money import Money


@dataclass(frozen=True, slots=True)
class AppliedCredit:
    """How much of a block of credit an invoice uses: before tax as a line, else as a payment."""

    block_id: UUID
    kind: str
    amount: Money
    before_tax: bool


def applied_credits(invoices: Mapping[UUID, str]) -> dict[UUID, list[AppliedCredit]]:
    """Return the credit that these finalised invoices, given with their currencies, use; a void one uses none."""
    rows = CreditMovement.objects.filter(invoice__in=invoices, kind=USED).exclude(invoice__state=VOID)
    found: dict[UUID, list[AppliedCredit]] = {}
    names = ("invoice_id", "block_id", "block__kind", "amount", "before_tax")
    for invoice_id, block_id, kind, amount, before_tax in rows.order_by("id").values_list(*names):
        used = AppliedCredit(block_id, kind, Money(amount, invoices[invoice_id]), before_tax)
        found.setdefault(invoice_id, []).append(used)
    return found
