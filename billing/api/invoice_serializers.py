"""What the API states of invoices: those of a tenant, and those of all for the seller."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.fields import MoneySerializer, Quantity
from billing.models.invoicing import KINDS, STATES
from billing.queries.issued import InvoiceRow
from billing.rating.aggregation import AGGREGATIONS

STATUSES = ["draft", "in_review", "open", "past_due", "paid", "void"]


class TaxSerializer(serializers.Serializer[Any]):
    """The tax of one rate."""

    name = serializers.CharField(help_text="as the seller's table of rates names it")
    rate = serializers.DecimalField(max_digits=6, decimal_places=3, help_text="per cent")
    note = serializers.CharField(help_text="VATEX code of the reason why no tax is charged")
    taxable = MoneySerializer()
    tax = MoneySerializer()


class PartySerializer(serializers.Serializer[Any]):
    """A side of an invoice, as it was when the invoice was finalised."""

    name = serializers.CharField(default="")
    address = serializers.CharField(default="")
    country = serializers.CharField(default="")
    tax_number = serializers.CharField(default="")
    email = serializers.CharField(default="")
    how_to_pay = serializers.CharField(default="")


class AppliedCreditSerializer(serializers.Serializer[Any]):
    """How much of a block of credit an invoice uses."""

    block = serializers.UUIDField(source="block_id")
    kind = serializers.CharField(help_text="promotional, or paid: money that lies in the wallet")
    amount = MoneySerializer()
    before_tax = serializers.BooleanField(help_text="as a line that lowers what is taxed; else as a payment")


class InvoiceSerializer(serializers.Serializer[Any]):
    """An invoice; its total is the sum of its rounded lines and the tax."""

    id = serializers.UUIDField()
    number = serializers.CharField(help_text="empty until it is finalised")
    kind = serializers.CharField(help_text=", ".join(KINDS))
    state = serializers.CharField(help_text=", ".join(STATES))
    status = serializers.CharField(
        help_text=f"{', '.join(STATUSES)}: the state, but a finalised one is open, then past due"
    )
    period = serializers.DateField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    currency = serializers.CharField()
    lines = serializers.IntegerField(source="line_count")
    subtotal = MoneySerializer()
    tax = MoneySerializer()
    taxes = TaxSerializer(many=True)
    untaxed = serializers.CharField(help_text="why the tax of a draft is not known; it is not finalised then")
    total = MoneySerializer()
    due = MoneySerializer(help_text="what is still to be paid; of a draft, what credit does not cover")
    due_on = serializers.DateField(allow_null=True)
    credits = AppliedCreditSerializer(many=True)
    exact = MoneySerializer(help_text="the usage before rounding, without tax")
    credited = MoneySerializer(allow_null=True)
    paid = MoneySerializer(allow_null=True)
    seller = PartySerializer()
    customer = PartySerializer()
    content_hash = serializers.CharField(help_text="SHA-256 of what the finalised invoice states")
    finalised_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True)
    voided_at = serializers.DateTimeField(allow_null=True)
    void_reason = serializers.CharField()
    replaces = serializers.UUIDField(source="replaces_id", allow_null=True, help_text="the void invoice it stands for")


class RateSerializer(serializers.Serializer[Any]):
    """The exchange rate that converted a line: what one unit of the price's currency was worth in the invoice's."""

    id = serializers.UUIDField()
    currency = serializers.CharField(help_text="of the price")
    value = serializers.DecimalField(max_digits=38, decimal_places=12)
    valid_from = serializers.DateTimeField()


class LineSerializer(serializers.Serializer[Any]):
    """One project's use of one meter at one price, or an adjustment."""

    id = serializers.UUIDField(help_text="stays from the draft to the finalised invoice")
    n = serializers.IntegerField()
    kind = serializers.CharField()
    origin = serializers.DateField(allow_null=True, help_text="the closed month that this line corrects")
    project = serializers.UUIDField(source="project_id", allow_null=True)
    project_name = serializers.CharField()
    meter = serializers.CharField()
    title = serializers.CharField(source="meter_title")
    unit = serializers.CharField()
    aggregation = serializers.ChoiceField(
        choices=AGGREGATIONS, help_text="how the meter makes the quantity of its events"
    )
    dims = serializers.DictField(child=serializers.CharField())
    price_version = serializers.UUIDField(source="version_id", allow_null=True)
    price_version_number = serializers.IntegerField(source="version_number", allow_null=True)
    price_effective_at = serializers.DateTimeField(allow_null=True)
    unit_amount = MoneySerializer(source="unit_price", help_text="in the currency of the price")
    rate = RateSerializer(allow_null=True, help_text="null if the price is in the invoice's currency")
    measured = Quantity()
    quantity = Quantity()
    intervals = serializers.IntegerField()
    outside = serializers.BooleanField(help_text="reported by keys or people; otherwise the platform measured it")
    list_amount = MoneySerializer(source="list_exact", help_text="before rounding, at list prices")
    exact = MoneySerializer()
    amount = MoneySerializer()
    tax_rate = serializers.DecimalField(max_digits=6, decimal_places=3, allow_null=True, help_text="per cent")
    tax = MoneySerializer(allow_null=True)


class SellersLineSerializer(LineSerializer):
    """A line as the seller sees it: its project by id alone."""

    project_name = None  # type: ignore[assignment]


class CreditedLineSerializer(serializers.Serializer[Any]):
    """What a credit note takes off one line."""

    line = serializers.UUIDField(source="line_id")
    amount = MoneySerializer(help_text="without tax")
    tax = MoneySerializer()


class CreditNoteSerializer(serializers.Serializer[Any]):
    """A credit note on an invoice."""

    id = serializers.UUIDField()
    number = serializers.CharField()
    invoice = serializers.UUIDField(source="invoice_id")
    reason = serializers.CharField()
    subtotal = MoneySerializer()
    tax = MoneySerializer()
    total = MoneySerializer()
    off_due = MoneySerializer(help_text="what came off the sum that was due")
    refunded = MoneySerializer(help_text="what goes back to the payer")
    to_wallet = MoneySerializer(help_text="what went into the wallet")
    issued_at = serializers.DateTimeField()
    lines = CreditedLineSerializer(many=True)


class PaymentSerializer(serializers.Serializer[Any]):
    """Money that arrived for an invoice, or went back."""

    id = serializers.UUIDField()
    kind = serializers.CharField(
        help_text="payment, refund, or reversal of a payment that was recorded wrongly, or that a bank took back"
    )
    method = serializers.CharField()
    amount = MoneySerializer()
    reference = serializers.CharField()
    received_on = serializers.DateField()
    recorded_at = serializers.DateTimeField()
    reversed = serializers.BooleanField(help_text="whether a reversal took it back")


class OrganisationSerializer(serializers.Serializer[Any]):
    """The organisation of an invoice."""

    id = serializers.UUIDField(source="tenant_id")
    slug = serializers.CharField(source="tenant_slug")
    name = serializers.CharField(source="tenant_name")


class InvoiceRowSerializer(serializers.Serializer[InvoiceRow]):
    """An invoice in the seller's list."""

    id = serializers.UUIDField()
    tenant = OrganisationSerializer(source="*")
    number = serializers.CharField(help_text="empty until it is finalised")
    kind = serializers.CharField(help_text=", ".join(KINDS))
    state = serializers.CharField(help_text=", ".join(STATES))
    status = serializers.CharField(help_text=", ".join(STATUSES))
    period = serializers.DateField()
    currency = serializers.CharField()
    total = MoneySerializer(allow_null=True, help_text="null for a draft: it is computed when the draft is asked for")
    due = MoneySerializer(allow_null=True)
    due_on = serializers.DateField(allow_null=True)
    finalised_at = serializers.DateTimeField(allow_null=True)
