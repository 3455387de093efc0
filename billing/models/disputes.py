"""What people say about an invoice: disputes of its lines, with messages of both sides, and comments of operators."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.invoicing import Invoice
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

DISPUTED, AGREED, DECLINED, WITHDRAWN = "open", "agreed", "declined", "withdrawn"
DISPUTE_STATES = [DISPUTED, AGREED, DECLINED, WITHDRAWN]
TENANT, SELLER = "tenant", "seller"
SIDES = [TENANT, SELLER]
LONGEST_TEXT = 2_000


class Dispute(TenantModel):
    """An objection to a line of an invoice. `line_id` is the line's id on the draft and on the finalised invoice.

    The tenant opens and withdraws it, the seller agrees or declines; triggers keep it otherwise.
    """

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="disputes", db_index=False)
    line_id = models.UUIDField()
    line_n = models.PositiveIntegerField()
    state = models.CharField(
        max_length=9, choices=[(one, one) for one in DISPUTE_STATES], default=DISPUTED, db_default=DISPUTED
    )
    opened_by = models.CharField(max_length=254)
    opened_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    ended_by = models.CharField(max_length=254, blank=True, default="", db_default="")
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "invoice", "line_id"], condition=Q(state=DISPUTED), name="dispute_open_once"
            ),
            models.CheckConstraint(
                condition=Q(state=DISPUTED, ended_at=None) | Q(state__in=DISPUTE_STATES[1:], ended_at__isnull=False),
                name="dispute_state_known",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "invoice"], name="dispute_of_invoice"),
            models.Index(fields=["-opened_at", "id"], condition=Q(state=DISPUTED), name="dispute_waits"),
        ]

    def __str__(self) -> str:
        return f"dispute of line {self.line_n}"


class DisputeMessage(TenantModel):
    """What a side wrote about a dispute; the first one is its reason. Append-only."""

    dispute = TenantForeignKey(Dispute, on_delete=models.PROTECT, related_name="messages")
    side = models.CharField(max_length=6, choices=[(side, side) for side in SIDES])
    text = models.CharField(max_length=LONGEST_TEXT)
    written_by = models.CharField(max_length=254)
    written_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    def __str__(self) -> str:
        return f"message of the {self.side}"


class InvoiceComment(TenantModel):
    """What an operator noted about an invoice, for other operators. Append-only."""

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="comments")
    text = models.CharField(max_length=LONGEST_TEXT)
    written_by = models.CharField(max_length=254)
    written_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    def __str__(self) -> str:
        return "comment"
