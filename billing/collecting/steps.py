"""Which steps an invoice needs at the payment provider: derived from its rows, so that no order of events matters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from billing.invoices.finalising import locked
from billing.invoices.refunds import allotted
from billing.models import Collection, CreditNote, Invoice, Payment
from billing.models.collecting import CHARGE, CREDIT, GIVE_BACK, PAID_OUTSIDE, PUSH, VOIDING
from billing.models.invoicing import FINALISED, VOID
from billing.models.settling import DISPUTE, PAYMENT, REVERSAL
from billing.payments.chosen import payment_gateway


def order(invoice_id: UUID) -> int:
    """Store the steps that an invoice of the open scope needs and has not; return how many. Idempotent.

    Only an unpaid invoice is pushed, and only what was pushed needs further steps. Nothing happens without a provider.
    """
    gateway = payment_gateway()
    if not gateway.collects:
        return 0
    invoice = locked(invoice_id)
    stored = list(Collection.objects.filter(invoice=invoice).values_list("object_id", "step"))
    known = set(stored)
    if (invoice.pk, PUSH) not in known and invoice.state != FINALISED:
        return 0
    wanted = [
        (invoice.pk, PUSH, ""),
        *((it, step, about) for _, it, step, about in sorted(_follow(invoice, gateway.name))),
    ]
    if invoice.state == VOID:
        wanted.append((invoice.pk, VOIDING, ""))
    return _store(invoice, [one for one in wanted if one[:2] not in known], placed=len(stored))


def order_charge(invoice: Invoice, *, attempt: int) -> None:
    """Store that a pushed, locked invoice is charged to the default payment method; attempts count from 1."""
    place = Collection.objects.filter(invoice=invoice).count()
    step = Collection(invoice=invoice, n=place, object_id=invoice.pk, step=CHARGE, attempt=attempt)
    Collection.objects.bulk_create([step], ignore_conflicts=True)


def _store(invoice: Invoice, steps: list[tuple[UUID, str, str]], *, placed: int) -> int:
    made = [
        Collection(invoice=invoice, n=placed + at, object_id=object_id, step=step, about=about)
        for at, (object_id, step, about) in enumerate(steps)
    ]
    return len(Collection.objects.bulk_create(made))


def _follow(invoice: Invoice, method: str) -> Iterator[tuple[datetime, UUID, str, str]]:
    """Yield what followed an invoice and concerns the provider, with its time."""
    reversed_ids = set(Payment.objects.filter(invoice=invoice, method=REVERSAL).values_list("external_id", flat=True))
    for payment in Payment.objects.filter(invoice=invoice, kind=PAYMENT).exclude(method__in=[method, DISPUTE]):
        if str(payment.pk) not in reversed_ids:
            yield payment.recorded_at, payment.pk, PAID_OUTSIDE, ""
    for note in CreditNote.objects.filter(invoice=invoice, off_due__gt=0):
        yield note.issued_at, note.pk, CREDIT, ""
    of = {refund: paid.external_id for paid in allotted(invoice, method) for refund in paid.refunds}
    for refund in Payment.objects.filter(pk__in=of):
        yield refund.recorded_at, refund.pk, GIVE_BACK, of[refund.pk]
