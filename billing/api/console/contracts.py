"""REST endpoints of the console's contracts: those of all organisations, one's, the next one, and its withdrawal."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.api.serializers import ContractSerializer
from billing.pricing import contracts
from billing.pricing.billing_details import BillingDetails, change_details
from billing.pricing.currency_changes import preview
from billing.queries import books
from tenants.errors import Invalid
from tenants.fields.days import Day
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.parsing import parse_day
from tenants.web.body_fields import Whole, checked
from tenants.web.openapi import page_of


class ListedContractSerializer(ContractSerializer):
    """A contract that runs, else the next one."""

    state = None  # type: ignore[assignment]


class ContractRowSerializer(serializers.Serializer[Any]):
    """An organisation with its contract."""

    tenant_id = serializers.UUIDField()
    tenant_slug = serializers.CharField(source="slug")
    tenant_name = serializers.CharField(source="name")
    contract = ListedContractSerializer()


class BillingDetailsSerializer(serializers.Serializer[Any]):
    """To whom an organisation's invoices go, all of it; country and tax number decide the tax."""

    billing_name = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)
    billing_address = serializers.CharField(required=False, default="", allow_blank=True, max_length=1000)
    billing_email = serializers.EmailField(required=False, default="", allow_blank=True)
    tax_number = serializers.CharField(required=False, default="", allow_blank=True, max_length=40)
    country = serializers.CharField(required=False, default="", allow_blank=True, max_length=2)
    reason = serializers.CharField(max_length=400, help_text="The organisation reads it in its audit log")


class NewContractSerializer(BillingDetailsSerializer):
    """The next contract of an organisation; terms that are not given are the default ones."""

    price_book = serializers.UUIDField()
    starts_on = Day(help_text="The first day of a coming month")
    payment_days = Whole(required=False, default=30, min_value=0, max_value=contracts.MOST_DAYS)
    tax_rate = serializers.DecimalField(
        required=False,
        default=None,
        allow_null=True,
        max_digits=5,
        decimal_places=2,
        min_value=0,
        max_value=100,
        help_text="per cent",
    )
    grace_days = Whole(
        required=False,
        default=0,
        min_value=0,
        max_value=contracts.MOST_GRACE,
        help_text="days after a month's end during which late usage is awaited before its invoice is finalised",
    )
    terms = serializers.DictField(
        required=False,
        default=dict,
        help_text="What adjusts a period's bill: models, savings_plans, commitments, discounts, minimums, paid_first, prepaid",
    )
    currency = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=3,
        help_text="What the organisation pays in from then on; default: as before. GET …/contracts/currency/ shows what changes",
    )


class CurrencyChangeSerializer(serializers.Serializer[Any]):
    """What a contract in another currency changes."""

    before = serializers.CharField()
    after = serializers.CharField()
    starts_on = serializers.DateField()
    rate = serializers.DecimalField(
        max_digits=38,
        decimal_places=12,
        allow_null=True,
        help_text="the worth of one unit of the currency before, by which budgets are restated; null: no rate is in force then",
    )
    credit = MoneySerializer(help_text="what is left in the wallet: it pays invoices in the currency before alone")
    effects = serializers.ListField(child=serializers.CharField())
    obstacles = serializers.ListField(
        child=serializers.CharField(), help_text="why it would be refused; empty if it would not"
    )


class Contracts(OperatorView):
    """The contracts of all organisations."""

    permissions: ClassVar = {"GET": "prices.view"}

    @extend_schema(operation_id="contracts_list", responses=page_of(ContractRowSerializer))
    def get(self, request: Request) -> Response:
        """List organisations by short name, each with the contract that runs, else the next."""
        rows = books.contract_rows(after=self.before(str) or "", limit=self.page_size())
        return self.paginated(rows, ContractRowSerializer, lambda row: (row.slug,))


class TenantContracts(OperatorView):
    """The contracts of one organisation."""

    permissions: ClassVar = {"GET": "prices.view", "POST": "prices.manage"}

    @extend_schema(operation_id="tenants_contracts_list", responses=page_of(ContractSerializer))
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """List an organisation's contracts, the latest start first."""
        return self.whole(books.contracts_of(tenant_id)[1], ContractSerializer)

    @extend_schema(request=NewContractSerializer, responses={201: ContractSerializer})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Agree on the next contract, which replaces one that has not begun. No key does this, whatever its roles."""
        data = checked(NewContractSerializer(data=request.data))
        book_id, starts_on, reason = data.pop("price_book"), data.pop("starts_on"), data.pop("reason")
        try:
            made = contracts.agree(
                operator=self.operator,
                tenant_id=tenant_id,
                book_id=book_id,
                starts_on=starts_on,
                terms=contracts.ContractTerms(**data),
                reason=reason,
            )
        except Invalid as wrong:
            fields = {"price_book" if name == "book" else name: texts for name, texts in wrong.fields.items()}
            raise Invalid(fields=fields) from None
        found = next(one for one in books.contracts_of(tenant_id)[1] if one.id == made.pk)
        return Response(ContractSerializer(found).data, status=201)


class CurrencyPreview(OperatorView):
    """What a contract in another currency would change."""

    permissions: ClassVar = {"GET": "prices.view"}

    @extend_schema(
        parameters=[
            OpenApiParameter("currency", str, required=True),
            OpenApiParameter(
                "starts_on", date, description="the first day of a coming month; default: of the next one"
            ),
        ],
        responses=CurrencyChangeSerializer,
    )
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """Return what changes if the next contract is in another currency, and what stands in the way. Nothing is stored."""
        tenant, _ = books.contracts_of(tenant_id)
        query, months = request.query_params, contracts.months_ahead(tenant)
        starts_on = parse_day(query.get("starts_on", ""), "starts_on") or months[0]
        if starts_on not in months:
            raise Invalid(fields={"starts_on": ["Give the first day of one of the next twelve months."]})
        change = preview(tenant, query.get("currency", ""), starts_on)
        return Response(CurrencyChangeSerializer(change).data)


class ContractWithdrawn(OperatorView):
    """The withdrawal of the contract that has not begun."""

    permissions: ClassVar = {"POST": "prices.manage"}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Withdraw the contract that has not begun; the one before it goes on. No key does this."""
        data = checked(ReasonSerializer(data=request.data))
        contracts.withdraw(operator=self.operator, tenant_id=tenant_id, reason=data["reason"])
        return Response(status=204)


class BillingDetailsChanged(OperatorView):
    """To whom an organisation's invoices go."""

    permissions: ClassVar = {"PUT": "prices.manage"}

    @extend_schema(request=BillingDetailsSerializer, responses={204: None})
    def put(self, request: Request, tenant_id: UUID) -> Response:
        """Change to whom an organisation's invoices go: drafts follow, finalised invoices stay. No key does this."""
        data = checked(BillingDetailsSerializer(data=request.data))
        reason = data.pop("reason")
        details = BillingDetails(**data)
        change_details(operator=self.operator, tenant_id=tenant_id, details=details, reason=reason)
        return Response(status=204)
