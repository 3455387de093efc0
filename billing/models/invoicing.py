"""Invoices and their frozen lines. A draft has no stored lines: they are computed from the roll-ups, in the same shape."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.fields import exact
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantForeignKey, TenantModel

DRAFT, IN_REVIEW, FINALISED, PAID, VOID = "draft", "in_review", "finalised", "paid", "void"
STATES = [DRAFT, IN_REVIEW, FINALISED, PAID, VOID]
#: An invoice in one of these states has a number and never changes.
STANDING = [FINALISED, PAID, VOID]
PERIOD, TOP_UP = "period", "top_up"
KINDS = [PERIOD, TOP_UP]


class Seller(models.Model):
    """Who issues the invoices of this installation: one row. Each invoice keeps a copy of what it was when finalised.

    `sends_invoices`: each is sent by email when it is finalised. `dunning` is the schedule of reminders (`dunning.schedule`).
    With `second_person` another operator approves what is done to invoices, from an amount by currency
    (`second_person_from`).
    """

    only_row = models.BooleanField(primary_key=True, default=True, editable=False)
    name = models.CharField(max_length=200, blank=True, default="")
    address = models.TextField(blank=True, default="")
    country = models.CharField(max_length=2, blank=True, default="")
    tax_number = models.CharField(max_length=40, blank=True, default="")
    email = models.EmailField(blank=True, default="")
    how_to_pay = models.TextField(blank=True, default="")
    sends_invoices = models.BooleanField(default=True, db_default=True)
    dunning = models.JSONField(default=list, db_default=[])
    second_person = models.BooleanField(default=False, db_default=False)
    second_person_from = models.JSONField(default=dict, db_default={})
    changed_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(only_row=True), name="seller_is_one")]

    def __str__(self) -> str:
        return self.name or "the seller"


class NumberSeries(models.Model):
    """A gapless series of numbers. The row is locked until the document that takes a number commits."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    prefix = models.CharField(max_length=12, unique=True)
    next_number = models.PositiveBigIntegerField(default=1, db_default=1)

    def __str__(self) -> str:
        return self.prefix


class Invoice(TenantModel):
    """The bill of one tenant, one local month, one currency; or of a top-up of its wallet.

    `total` includes `tax`. `credited` is the sum of its credit notes, `paid` of its payments, `returned` what went back
    of them as a refund or to the wallet. Triggers keep a finalised invoice as it was issued.
    """

    period = models.DateField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    currency = models.CharField(max_length=3)
    kind = models.CharField(max_length=6, choices=[(kind, kind) for kind in KINDS], default=PERIOD, db_default=PERIOD)
    state = models.CharField(
        max_length=9, choices=[(state, state) for state in STATES], default=DRAFT, db_default=DRAFT
    )
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    series = models.ForeignKey(NumberSeries, on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    number = models.PositiveBigIntegerField(null=True)
    label = models.CharField(max_length=40, blank=True, default="", db_default="")
    finalised_at = models.DateTimeField(null=True)
    finalised_by = models.CharField(max_length=254, blank=True, default="", db_default="")
    due_on = models.DateField(null=True)
    subtotal = exact(null=True)
    tax = exact(null=True)
    total = exact(null=True)
    taxes = models.JSONField(default=list, db_default=[])
    seller = models.JSONField(default=dict, db_default={})
    customer = models.JSONField(default=dict, db_default={})
    content_hash = models.BinaryField(null=True)
    replaces = TenantForeignKey("self", on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    credited = exact(default=0, db_default=0)
    paid = exact(default=0, db_default=0)
    returned = exact(default=0, db_default=0)
    sent_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    voided_by = models.CharField(max_length=254, blank=True, default="", db_default="")
    void_reason = models.CharField(max_length=400, blank=True, default="", db_default="")

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "period", "currency", "kind"],
                condition=~Q(state=VOID) & Q(kind=PERIOD),
                name="invoice_once_per_period",
            ),
            models.UniqueConstraint(fields=["series", "number"], name="invoice_number_once"),
            models.CheckConstraint(condition=Q(state__in=STATES), name="invoice_state_known"),
            models.CheckConstraint(condition=Q(kind__in=KINDS), name="invoice_kind_known"),
            models.CheckConstraint(
                condition=Q(state__in=[DRAFT, IN_REVIEW], number__isnull=True, total__isnull=True)
                | Q(
                    state__in=STANDING,
                    number__isnull=False,
                    series__isnull=False,
                    total__isnull=False,
                    tax__isnull=False,
                    subtotal__isnull=False,
                    total=F("subtotal") + F("tax"),
                    content_hash__isnull=False,
                    finalised_at__isnull=False,
                    due_on__isnull=False,
                ),
                name="invoice_stands_complete",
            ),
            models.CheckConstraint(
                condition=Q(credited__gte=0, paid__gte=0, returned__gte=0, returned__lte=F("paid"))
                & (
                    Q(total__isnull=True)
                    | Q(credited__lte=F("total"), total__gte=F("credited") + F("paid") - F("returned"))
                ),
                name="invoice_settles_what_is_due",
            ),
            models.CheckConstraint(
                condition=~Q(state=VOID) | Q(credited=0, paid=F("returned"), voided_at__isnull=False),
                name="invoice_void_owes_nothing",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-period", "-id"], name="invoice_newest")]

    def __str__(self) -> str:
        return self.label or f"{self.state} of {self.period:%Y-%m}"


class InvoiceLine(TenantModel):
    """A line of a standing invoice, as it was finalised; its id is the one that the draft showed.

    `exact_amount` is the unrounded sum of rated usage or the adjustment, `amount` it rounded to the minor unit, `list_amount`
    the same at list prices, `tax` the line's part of the tax.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines", db_index=False)
    n = models.PositiveIntegerField()
    kind = models.CharField(max_length=24)
    project_id = models.UUIDField(null=True)
    project_name = models.CharField(max_length=120, blank=True, default="", db_default="")
    project_slug = models.CharField(max_length=60, blank=True, default="", db_default="")
    meter_id = models.UUIDField(null=True)
    meter = models.CharField(max_length=60, blank=True, default="", db_default="")
    meter_title = models.CharField(max_length=120, blank=True, default="", db_default="")
    unit = models.CharField(max_length=30, blank=True, default="", db_default="")
    price_id = models.UUIDField(null=True)
    version_id = models.UUIDField(null=True)
    version_number = models.PositiveIntegerField(null=True)
    unit_amount = exact(null=True)
    dims = models.JSONField(default=dict, db_default={})
    details = models.JSONField(default=dict, db_default={})
    origin = models.DateField(null=True)
    outside = models.BooleanField(default=False, db_default=False)
    measured = exact(default=0, db_default=0)
    quantity = exact(default=0, db_default=0)
    intervals = models.PositiveBigIntegerField(default=0, db_default=0)
    list_amount = exact()
    exact_amount = exact()
    amount = exact()
    tax_rate = models.DecimalField(max_digits=6, decimal_places=3, null=True)
    tax = exact(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "invoice", "n"], name="invoice_line_once")]

    def __str__(self) -> str:
        return f"line {self.n}"


class Reconciliation(TenantModel):
    """What the last reconciliation of a tenant found; with `faults` nothing of it is finalised."""

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.PROTECT, related_name="+", editable=False)
    checked_at = models.DateTimeField(db_default=DatabaseNow())
    faults = models.JSONField(default=list, db_default=[])
