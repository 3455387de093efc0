"""How an invoice stands at the payment provider, as pages show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Case, F, Sum, When

from billing.models import Collection, CreditMovement, Payment, PaymentCircuit
from billing.models.collecting import CHARGE, DECLINED, FAILED, PAID_OUTSIDE, PUSH, WAITING
from billing.models.settling import DISPUTE, REFUND, REVERSAL
from billing.models.wallets import DISPUTED as TAKEN
from billing.models.wallets import WON_BACK
from tenants.clock import DatabaseNow

WORDS = {
    "push": "Push the invoice",
    "charge": "Charge the default payment method",
    "paid_outside": "Record a payment received outside",
    "credit": "Credit the invoice",
    "refund": "Return money to the payer",
    "void": "Void the invoice",
}


@dataclass(frozen=True, slots=True)
class StepView:
    """A step at the payment provider: what it does, how it went, and when it is repeated."""

    words: str
    state: str
    tries: int
    next_at: datetime
    external_id: str
    error: str


@dataclass(frozen=True, slots=True)
class CollectingView:
    """An invoice at the payment provider. `pay_url` is where it is paid; `declined` says why the last charge was."""

    steps: Sequence[StepView]
    pay_url: str
    declined: str
    disputed_at: datetime | None

    @property
    def failed(self) -> bool:
        """Whether a step needs a person."""
        return any(step.state == FAILED for step in self.steps)

    @property
    def waits(self) -> bool:
        """Whether a step is still to be taken."""
        return any(step.state == WAITING for step in self.steps)


def collecting(invoice_id: UUID) -> CollectingView:
    """Return how an invoice of the open scope stands at the payment provider; without steps if it is not there."""
    rows = list(Collection.objects.filter(invoice_id=invoice_id).order_by("n"))
    push = next((row for row in rows if row.step == PUSH), None)
    charges = [row for row in rows if row.step == CHARGE]
    return CollectingView(
        steps=[
            StepView(WORDS[row.step], row.state, row.tries, row.next_at, row.external_id, row.error) for row in rows
        ],
        pay_url=push.url if push and not is_paid_there(invoice_id) else "",
        declined=charges[-1].error if charges and charges[-1].state == DECLINED else "",
        disputed_at=push.disputed_at if push else None,
    )


def kept_by_banks(invoice_id: UUID) -> dict[str, Decimal]:
    """Return what banks keep of the provider's payments of an invoice, by lost disputes, by the payment's external id."""
    signed = Case(When(kind=REFUND, then=F("amount")), default=-F("amount"))
    rows = Payment.objects.filter(invoice_id=invoice_id, method=DISPUTE).values("reference").annotate(kept=Sum(signed))
    return dict(rows.filter(kept__gt=0).values_list("reference", "kept"))


def taken_of_credit(invoice_id: UUID) -> dict[str, Decimal]:
    """Return what banks took out of the wallet of the provider's payments of an invoice, by the payment's external id.

    It is no money of the invoice any more, and what is due does not depend on it.
    """
    signed = Case(When(kind=TAKEN, then=F("amount")), default=-F("amount"))
    moved = CreditMovement.objects.filter(block__invoice_id=invoice_id, kind__in=[TAKEN, WON_BACK]).exclude(payment="")
    return dict(moved.values("payment").annotate(kept=Sum(signed)).filter(kept__gt=0).values_list("payment", "kept"))


def is_paid_there(invoice_id: UUID) -> bool:
    """Return whether the payment provider counts what was taken back since: less is due there than here.

    That is a payment by hand that was reversed, or one that a bank keeps.
    """
    if kept_by_banks(invoice_id):
        return True
    taken_back = Payment.objects.filter(invoice_id=invoice_id, method=REVERSAL).values_list("external_id", flat=True)
    return Collection.objects.filter(invoice_id=invoice_id, step=PAID_OUTSIDE, object_id__in=list(taken_back)).exists()


def paused_until() -> datetime | None:
    """Return until when nothing is sent to the payment provider, because it does not answer (console, ops worker)."""
    return PaymentCircuit.objects.filter(open_until__gt=DatabaseNow()).values_list("open_until", flat=True).first()
