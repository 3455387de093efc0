"""Wallets: blocks of credit, what moves them, and invoices that top a wallet up."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.fields import exact
from billing.models.invoicing import Invoice
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

PROMOTIONAL, PAID_CREDIT = "promotional", "paid"
#: Where a block comes from: an operator, a paid top-up, a credit note, or an invoice below zero.
GRANT, TOPPED_UP, CREDITED, CARRIED = "grant", "top_up", "credit_note", "carried"
SOURCES = [GRANT, TOPPED_UP, CREDITED, CARRIED]
USED, RETURNED, EXPIRED, WITHDRAWN = "used", "returned", "expired", "withdrawn"
#: Money of a top-up that goes back to the payer, or that the payer's bank took back.
REFUNDED, DISPUTED = "refunded", "disputed"
#: What the bank took and gave back, when the dispute was won.
WON_BACK = "won_back"
MOVES = [USED, RETURNED, EXPIRED, WITHDRAWN, REFUNDED, DISPUTED, WON_BACK]


class Wallet(TenantModel):
    """A tenant's money in one currency: what changes a block or reserves prepaid money locks this row first.

    `held` and `spent` follow the ledger while `counted`, which is so from the day on which a prepaid contract is agreed:
    what holds reserve, and usage of months that no invoice has billed. The rest is the automatic top-up.
    """

    currency = models.CharField(max_length=3)
    counted = models.BooleanField(default=False, db_default=False)
    held = exact(default=0, db_default=0)
    spent = exact(default=0, db_default=0)
    top_up_below = exact(null=True)
    top_up_amount = exact(null=True)
    top_up_most = exact(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "currency"], name="wallet_once"),
            models.CheckConstraint(
                condition=Q(top_up_below__isnull=True, top_up_amount__isnull=True, top_up_most__isnull=True)
                | Q(top_up_below__gte=0, top_up_amount__gt=0, top_up_most__gte=F("top_up_amount")),
                name="wallet_tops_up_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"wallet in {self.currency}"


class CreditBlock(TenantModel):
    """Credit that was given or bought in one piece. `remaining` moves only with a `CreditMovement`.

    It can be used on bills of months whose last day lies from `starts_on` to the day before `expires_on`, and for usage of
    those days where it ends within a month. Empty
    `meters` and `projects` leave no usage out.
    """

    currency = models.CharField(max_length=3)
    kind = models.CharField(max_length=11, choices=[(one, one) for one in (PROMOTIONAL, PAID_CREDIT)])
    source = models.CharField(max_length=11, choices=[(one, one) for one in SOURCES])
    amount = exact()
    remaining = exact()
    priority = models.PositiveSmallIntegerField(default=50, db_default=50)
    starts_on = models.DateField()
    expires_on = models.DateField(null=True)
    meters = models.JSONField(default=list, db_default=[])
    projects = models.JSONField(default=list, db_default=[])
    reason = models.CharField(max_length=400, blank=True, default="", db_default="")
    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    made_by = models.CharField(max_length=254)
    made_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    warned_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, remaining__gte=0, remaining__lte=F("amount")), name="credit_left"
            ),
            models.CheckConstraint(
                condition=Q(kind=PROMOTIONAL) | Q(kind=PAID_CREDIT, expires_on__isnull=True), name="credit_kind_known"
            ),
            models.CheckConstraint(condition=Q(source__in=SOURCES), name="credit_source_known"),
            models.CheckConstraint(condition=Q(priority__lte=100), name="credit_priority_known"),
            models.CheckConstraint(
                condition=Q(expires_on__isnull=True) | Q(expires_on__gt=F("starts_on")), name="credit_expires_later"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "currency"], name="credit_open", condition=Q(remaining__gt=0)),
            models.Index(fields=["tenant", "-id"], name="credit_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} credit of {self.amount} {self.currency}"


class CreditMovement(TenantModel):
    """How much of a block an invoice used or got back, was written off, or went back to the payer. Append-only.

    `before_tax`: as a line that lowers the taxable amount; else as a payment. `dispute` is the provider's id of the dispute
    that took it or gave it back, `payment` that of the payment; movements of before 0046 and 0048 name none.
    """

    block = TenantForeignKey(CreditBlock, on_delete=models.PROTECT, related_name="movements", db_index=False)
    kind = models.CharField(max_length=9, choices=[(one, one) for one in MOVES])
    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    amount = exact()
    before_tax = models.BooleanField(default=False, db_default=False)
    dispute = models.CharField(max_length=255, blank=True, default="", db_default="")
    payment = models.CharField(max_length=255, blank=True, default="", db_default="")
    moved_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0)
                & (
                    Q(kind__in=[USED, RETURNED], invoice__isnull=False)
                    | Q(kind__in=[EXPIRED, WITHDRAWN, REFUNDED, DISPUTED, WON_BACK], invoice__isnull=True)
                ),
                name="credit_moves",
            ),
            models.UniqueConstraint(fields=["tenant", "block", "invoice", "kind"], name="credit_used_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "invoice"], name="credit_of_invoice", condition=Q(invoice__isnull=False)),
        ]


class TopUp(TenantModel):
    """A wish to pay money into the wallet. The ops worker makes its invoice; payments of that fill the wallet."""

    currency = models.CharField(max_length=3)
    amount = exact()
    automatic = models.BooleanField(default=False, db_default=False)
    asked_by_id = models.UUIDField(null=True)
    asked_by = models.CharField(max_length=254)
    asked_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    closed_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="top_up_is_real"),
            models.UniqueConstraint(
                fields=["tenant", "currency"], condition=Q(closed_at__isnull=True, automatic=True), name="top_up_once"
            ),
            models.UniqueConstraint(
                fields=["tenant", "invoice"], condition=Q(invoice__isnull=False), name="top_up_of_invoice"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-id"], name="top_up_newest")]

    def __str__(self) -> str:
        return f"top-up of {self.amount} {self.currency}"
