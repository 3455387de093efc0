"""What follows an invoice: credit notes, payments, reminders and deferrals, append-only."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.fields import exact
from billing.models.invoicing import Invoice, InvoiceLine, NumberSeries
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

#: Where the money of a credit note goes: off what is due, back to the payer, or into the wallet.
DUE, REFUND, WALLET = "due", "refund", "wallet"
PAYMENT = "payment"
#: Method of the refund that takes a wrongly recorded payment back; its external id is the id of the payment.
REVERSAL = "reversal"
#: Method of the refund by which the payer's bank took a payment back permanently; its external id is that of the dispute, and
#: its reference that of the payment. A payment of this method gives it back: the dispute was won after all.
DISPUTE = "dispute"
#: What is sent of an unpaid invoice.
REMIND, FINAL_NOTICE = "remind", "final"
#: The last step: new launches and deploys wait for the payment.
STOP = "stop"
DUNNING_STEPS = [REMIND, FINAL_NOTICE, STOP]


class CreditNote(TenantModel):
    """A credit on lines of a standing invoice. `total` includes `tax`."""

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    series = models.ForeignKey(NumberSeries, on_delete=models.PROTECT, related_name="+", db_index=False)
    number = models.PositiveBigIntegerField()
    label = models.CharField(max_length=40)
    reason = models.CharField(max_length=400)
    subtotal = exact()
    tax = exact()
    total = exact()
    off_due = exact(default=0, db_default=0)
    refunded = exact(default=0, db_default=0)
    to_wallet = exact(default=0, db_default=0)
    content_hash = models.BinaryField()
    issued_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    issued_by = models.CharField(max_length=254)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["series", "number"], name="credit_note_number_once"),
            models.CheckConstraint(
                condition=Q(subtotal__gte=0, tax__gte=0, total__gt=0, total=F("subtotal") + F("tax")),
                name="credit_note_credits",
            ),
            models.CheckConstraint(
                condition=Q(off_due__gte=0, refunded__gte=0, to_wallet__gte=0)
                & Q(total=F("off_due") + F("refunded") + F("to_wallet")),
                name="credit_note_goes_somewhere",
            ),
        ]

    def __str__(self) -> str:
        return self.label


class CreditNoteLine(TenantModel):
    """What a credit note takes off one line, and its part of the tax."""

    note = TenantForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines")
    line = TenantForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="+")
    amount = exact()
    tax = exact(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "note", "line"], name="credit_note_line_once"),
            models.CheckConstraint(condition=Q(amount__gt=0, tax__gte=0), name="credit_note_line_credits"),
        ]


class Payment(TenantModel):
    """Money that arrived for an invoice, or went back. `reference` is what a person or the gateway knows it by."""

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    kind = models.CharField(max_length=7, choices=[(PAYMENT, "Payment"), (REFUND, "Refund")])
    method = models.CharField(max_length=20)
    amount = exact()
    currency = models.CharField(max_length=3)
    reference = models.CharField(max_length=200, blank=True, default="", db_default="")
    external_id = models.CharField(max_length=120, blank=True, default="", db_default="")
    received_on = models.DateField()
    recorded_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    recorded_by = models.CharField(max_length=254)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0, kind__in=[PAYMENT, REFUND]), name="payment_is_real"),
            models.UniqueConstraint(
                fields=["tenant", "method", "external_id"], condition=~Q(external_id=""), name="payment_once"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-received_on", "-id"], name="payment_newest")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.amount} {self.currency}"


class Reminder(TenantModel):
    """A step of the schedule that an unpaid invoice reached: `days` after its due day. `sent` is false if a later one
    was reached at the same time.
    """

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="reminders")
    days = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=6)
    sent = models.BooleanField(default=True)
    done_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "invoice", "days", "step"], name="reminder_once"),
            models.CheckConstraint(condition=Q(step__in=DUNNING_STEPS), name="reminder_step_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant"], condition=Q(step=STOP), name="reminder_stops")]

    def __str__(self) -> str:
        return f"{self.step} after {self.days} days"


class StopDeferral(TenantModel):
    """Launches go on despite an overdue invoice, up to and including the day `until`. The newest of an invoice counts."""

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="deferrals")
    until = models.DateField()
    reason = models.CharField(max_length=400)
    deferred_by = models.CharField(max_length=254)
    deferred_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    def __str__(self) -> str:
        return f"deferred until {self.until}"
