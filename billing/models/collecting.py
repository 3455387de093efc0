"""What the payment provider is asked to do for a tenant's invoices, and what it reports."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.fields import exact
from billing.models.invoicing import Invoice
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

#: What a step does at the provider. The id of its object is that of the invoice, of a payment or of a credit note.
PUSH, CHARGE, PAID_OUTSIDE, CREDIT, GIVE_BACK, VOIDING = "push", "charge", "paid_outside", "credit", "refund", "void"
STEPS = [PUSH, CHARGE, PAID_OUTSIDE, CREDIT, GIVE_BACK, VOIDING]
#: `failed` needs a person, and holds up the later steps of its invoice; `declined` needs the payer.
WAITING, DONE, FAILED, DECLINED = "waiting", "done", "failed", "declined"
STEP_STATES = [WAITING, DONE, FAILED, DECLINED]
#: Kinds of events about a dispute of the payer's bank.
DISPUTE_KINDS = ["disputed", "dispute_won", "dispute_lost"]


class PaymentAccount(TenantModel):
    """The tenant as the payment provider knows it. `name` and `email` are what the first request stated.

    `autopay`: its invoices are charged to the default payment method once they are pushed. `methods` are the saved ones as
    they were read last; `look_at` is when they are read next.
    """

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.PROTECT, related_name="+", editable=False)
    external_id = models.CharField(max_length=120, blank=True, default="", db_default="")
    name = models.CharField(max_length=200, blank=True, default="", db_default="")
    email = models.CharField(max_length=254, blank=True, default="", db_default="")
    first_at = models.DateTimeField(null=True)
    autopay = models.BooleanField(default=False, db_default=False)
    methods = models.JSONField(default=list, db_default=[])
    look_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [models.Index(fields=["external_id"], name="payment_account_known_as")]

    def __str__(self) -> str:
        return self.external_id or "unknown to the provider"


class Collection(TenantModel):
    """One step of one object at the payment provider: what is to be done, since when, and how it went.

    `first_at` is stored before the first request; it and `attempt` decide the idempotency keys. `about` is what the step acts on: a
    payment method or a payment. Those of one invoice are taken in order of `n`. The row of a push also keeps what the
    provider has received for the invoice (`received`), when that was read, and when it is read next (`look_at`).
    """

    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="collections")
    n = models.PositiveIntegerField()
    object_id = models.UUIDField()
    step = models.CharField(max_length=12)
    attempt = models.PositiveSmallIntegerField(default=1, db_default=1)
    about = models.CharField(max_length=120, blank=True, default="", db_default="")
    state = models.CharField(max_length=8, default=WAITING, db_default=WAITING)
    ordered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    first_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField(db_default=DatabaseNow())
    tries = models.PositiveIntegerField(default=0, db_default=0)
    finished_at = models.DateTimeField(null=True)
    external_id = models.CharField(max_length=120, blank=True, default="", db_default="")
    url = models.TextField(blank=True, default="", db_default="")
    error_code = models.CharField(max_length=60, blank=True, default="", db_default="")
    error = models.CharField(max_length=400, blank=True, default="", db_default="")
    look_at = models.DateTimeField(null=True)
    looked_at = models.DateTimeField(null=True)
    received = exact(null=True)
    disputed_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "object_id", "step", "attempt"], name="collection_once"),
            models.UniqueConstraint(fields=["tenant", "invoice", "n"], name="collection_in_order"),
            models.CheckConstraint(condition=Q(step__in=STEPS), name="collection_step_known"),
            models.CheckConstraint(condition=Q(state__in=STEP_STATES), name="collection_state_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_at"], condition=Q(state=WAITING), name="collection_due"),
            models.Index(fields=["look_at"], condition=Q(look_at__isnull=False), name="collection_to_look_at"),
            models.Index(fields=["external_id"], condition=~Q(external_id=""), name="collection_known_as"),
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.object_id}"


class GatewayEvent(models.Model):
    """An event of the payment provider, verified and stored once; the ops worker handles it in order of arrival.

    `tenant_given` and `our_id` are what we put on its object. `about` is the tenant that it concerns, once handled; none
    for an object that is not ours. `amount` is that of a dispute, which nothing else has: a bank may take back a part.
    """

    id = models.CharField(primary_key=True, max_length=255)
    kind = models.CharField(max_length=30)
    tenant_given = models.CharField(max_length=64, blank=True, default="")
    our_id = models.CharField(max_length=120, blank=True, default="")
    external_id = models.CharField(max_length=255, blank=True, default="")
    payment = models.CharField(max_length=255, blank=True, default="")
    customer = models.CharField(max_length=255, blank=True, default="")
    amount = exact(null=True)
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    handled_at = models.DateTimeField(null=True)
    about = models.UUIDField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["received_at"], condition=Q(handled_at=None), name="gateway_event_waits"),
            models.Index(fields=["payment"], condition=Q(kind__in=DISPUTE_KINDS), name="gateway_event_of_dispute"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class PaymentCircuit(models.Model):
    """Whether the payment provider answers: one row. Until `open_until` nothing is sent to it."""

    only_row = models.BooleanField(primary_key=True, default=True, editable=False)
    failures = models.PositiveIntegerField(default=0, db_default=0)
    open_until = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(only_row=True), name="payment_circuit_is_one")]

    def __str__(self) -> str:
        return f"{self.failures} failures"
