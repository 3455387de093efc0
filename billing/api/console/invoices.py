"""REST endpoints of the seller's invoices: the list, one with its lines, and what is done to it."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.invoice_serializers import (
    CreditNoteSerializer,
    InvoiceRowSerializer,
    InvoiceSerializer,
    SellersLineSerializer,
)
from billing.approving import acts
from billing.collecting import retrying
from billing.invoices import crediting, finalising
from billing.mailing import orders
from billing.models.invoicing import STATES
from billing.queries import issued
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.parsing import parse_month, parse_uuid
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE


class ReviewSerializer(serializers.Serializer[Any]):
    """Whether a draft is in review."""

    in_review = serializers.BooleanField(required=False, default=True, help_text="false: a draft again")


class FinaliseSerializer(serializers.Serializer[Any]):
    """Why an invoice is finalised before late usage has been awaited."""

    early = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=400,
        help_text="needed within the contract's days of grace",
    )


class VoidSerializer(ReasonSerializer):
    """Why an invoice is void, and whether another takes its place."""

    reissue = serializers.BooleanField(required=False, default=False, help_text="open a draft of the same month")


class NumberSerializer(serializers.Serializer[Any]):
    """The number of a finalised invoice."""

    number = serializers.CharField()


class AskedSerializer(serializers.Serializer[Any]):
    """The request that another operator answers."""

    approval = serializers.UUIDField()


class ReplacedSerializer(serializers.Serializer[Any]):
    """The draft in the place of a void invoice."""

    draft = serializers.UUIDField(allow_null=True)


class CreditPartSerializer(serializers.Serializer[Any]):
    """What to take off one line."""

    line = serializers.UUIDField()
    amount = serializers.DecimalField(max_digits=38, decimal_places=12, help_text="without tax")


class NewCreditNoteSerializer(ReasonSerializer):
    """A credit note to issue."""

    lines = CreditPartSerializer(many=True, required=False, default=list, help_text="none: all that is left")
    paid_back = serializers.ChoiceField(
        choices=["refund", "wallet"], required=False, default="refund", help_text="where paid money goes"
    )


class Invoices(OperatorView):
    """The invoices of all organisations."""

    permissions: ClassVar = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="invoices_list",
        parameters=[
            OpenApiParameter("state", str, enum=STATES),
            OpenApiParameter("tenant", UUID),
            OpenApiParameter("period", str, description="a month, such as 2026-11"),
            *PAGE,
        ],
        responses=page_of(InvoiceRowSerializer),
    )
    def get(self, request: Request) -> Response:
        """List invoices, the newest month first."""
        state = request.query_params.get("state") or None
        if state is not None and state not in STATES:
            raise Invalid(fields={"state": [f"Choose among {', '.join(STATES)}."]})
        tenant = request.query_params.get("tenant")
        wanted = issued.InvoiceFilter(
            state=state,
            tenant_id=parse_uuid(tenant, "tenant") if tenant else None,
            period=parse_month(request.query_params.get("period", "")),
        )
        rows = issued.issued(
            wanted,
            after=self.after(date.fromisoformat, UUID),
            limit=self.page_size() + 1,
        )
        return self.paginated(rows, InvoiceRowSerializer, lambda row: (row.period, row.id))


class OneInvoice(OperatorView):
    """One invoice."""

    permissions: ClassVar = {"GET": "invoices.view"}

    @extend_schema(responses=InvoiceSerializer)
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """Return one invoice; a draft's sums are computed."""
        return Response(InvoiceSerializer(issued.for_seller(invoice_id)[1]).data)


class InvoiceLines(OperatorView):
    """The lines of one invoice."""

    permissions: ClassVar = {"GET": "invoices.view"}

    @extend_schema(operation_id="invoices_lines_list", responses=page_of(SellersLineSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List the lines of an invoice; projects are named by id."""
        return self.whole(issued.for_seller(invoice_id)[2], SellersLineSerializer)


class Review(OperatorView):
    """The review of a draft."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=ReviewSerializer, responses={204: None})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Mark a draft as in review, or as a draft again."""
        data = checked(ReviewSerializer(data=request.data))
        finalising.set_review(
            operator=self.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            in_review=data["in_review"],
        )
        return Response(status=204)


class Finalised(OperatorView):
    """Finalising a draft."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=FinaliseSerializer, responses={200: NumberSerializer, 202: AskedSerializer})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Close the month of a draft, freeze its lines and give it the next number, or ask a second operator. Idempotent."""
        data = checked(FinaliseSerializer(data=request.data))
        done = acts.finalise(
            operator=self.operator, tenant_id=issued.tenant_of(invoice_id), invoice_id=invoice_id, early=data["early"]
        )
        return _asked(done) if isinstance(done, acts.Asked) else Response(NumberSerializer({"number": done}).data)


class Voided(OperatorView):
    """Voiding a finalised invoice."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=VoidSerializer, responses={200: ReplacedSerializer, 202: AskedSerializer})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Void an invoice that nobody has paid, and open a draft in its place if wanted; or ask a second operator."""
        data = checked(VoidSerializer(data=request.data))
        made = acts.void(
            operator=self.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            reason=data["reason"],
            reissue=data["reissue"],
        )
        return _asked(made) if isinstance(made, acts.Asked) else Response(ReplacedSerializer({"draft": made}).data)


class CreditNotes(OperatorView):
    """The credit notes of an invoice."""

    permissions: ClassVar = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="invoices_credit_notes_list", responses=page_of(CreditNoteSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List the credit notes of an invoice, the newest first."""
        with tenant_scope(issued.tenant_of(invoice_id)):
            return self.whole(issued.credit_notes(invoice_id), CreditNoteSerializer)

    @extend_schema(request=NewCreditNoteSerializer, responses={201: CreditNoteSerializer, 202: AskedSerializer})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Issue a credit note, which comes off what is due first, then off what was paid; or ask a second operator."""
        data = checked(NewCreditNoteSerializer(data=request.data))
        tenant_id = issued.tenant_of(invoice_id)
        made = acts.credit(
            operator=self.operator,
            tenant_id=tenant_id,
            invoice_id=invoice_id,
            parts=[crediting.Part(one["line"], one["amount"]) for one in data["lines"]],
            reason=data["reason"],
            paid_back=data["paid_back"],
        )
        if isinstance(made, acts.Asked):
            return _asked(made)
        with tenant_scope(tenant_id):
            note = next(one for one in issued.credit_notes(invoice_id) if one.id == made)
        return Response(CreditNoteSerializer(note).data, status=201)


class Collected(OperatorView):
    """An invoice at the payment provider."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Repeat what failed at the payment provider, or push an invoice of earlier."""
        retrying.retry(operator=self.operator, tenant_id=issued.tenant_of(invoice_id), invoice_id=invoice_id)
        return Response(status=204)


class Sent(OperatorView):
    """Sending an invoice by email."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=None, responses={202: None})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Have an invoice sent by email; the ops worker does it."""
        orders.send(operator=self.operator, tenant_id=issued.tenant_of(invoice_id), invoice_id=invoice_id)
        return Response(status=202)


def _asked(asked: acts.Asked) -> Response:
    """Return that another operator must approve what was asked for."""
    return Response(AskedSerializer({"approval": asked.approval_id}).data, status=202)
