"""REST endpoints for meters, sums, price books, and invoices down to the interval."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.api import invoice_serializers as shapes
from billing.api import serializers as forms
from billing.models.invoicing import STATES
from billing.queries import issued
from tenants.errors import Invalid, PermissionDenied
from tenants.parsing import parse_moment, parse_month, parse_uuid
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView

RANGE = [
    OpenApiParameter("from", str, description="RFC 3339 time or local day; default: the running month"),
    OpenApiParameter("to", str, description="end, not included"),
    OpenApiParameter(
        "group_by",
        str,
        description="project, meter, resource, job, attempt, person, model, tag:NAME, dim:NAME; by comma",
    ),
    OpenApiParameter("granularity", str, enum=["hour", "day", "month"]),
    OpenApiParameter("project", UUID),
    OpenApiParameter("job", UUID),
    OpenApiParameter("meter", str),
]


class Sums(ApiView):
    """Base of the endpoints for sums of usage and spend."""

    always: tuple[str, ...] = ()

    def sums(self) -> Response:
        """Return the sums that the query string requests; refuse more than the largest response."""
        asked = self.request.query_params
        groups = [name for name in asked.get("group_by", "").split(",") if name]
        groups += [name for name in self.always if name not in groups]
        filters = queries.Filters(
            project_id=parse_uuid(asked["project"], "project") if "project" in asked else None,
            job_id=parse_uuid(asked["job"], "job") if "job" in asked else None,
            meter=asked.get("meter"),
        )
        rows = queries.spend(
            queries.span(self._moment("from"), self._moment("to")),
            group_by=list(dict.fromkeys(groups)),
            granularity=asked.get("granularity", ""),
            filters=filters,
        )
        if len(rows) > queries.MOST_ROWS:
            raise Invalid(
                f"This answer has more than {queries.MOST_ROWS} rows. Ask for a shorter range or fewer groups."
            )
        return self.whole(rows, forms.SumSerializer)

    def _moment(self, name: str) -> date | datetime | None:
        text = self.request.query_params.get(name)
        if not text:
            return None
        if len(text) != len("2026-01-31"):
            return parse_moment(text, name)
        try:
            return date.fromisoformat(text)
        except ValueError:
            help_text = "Give a day such as 2026-01-31 or a time such as 2026-01-31T08:00:00Z."
            raise Invalid(fields={name: [help_text]}) from None


class Usage(Sums):
    """Quantities, always by meter, because different units do not add up."""

    permissions = {"GET": "usage.view"}
    always = ("meter",)

    @extend_schema(operation_id="usage_list", parameters=RANGE, responses=page_of(forms.SumSerializer))
    def get(self, request: Request) -> Response:
        """Return sums of usage."""
        return self.sums()


class Spend(Sums):
    """Costs by time and group."""

    permissions = {"GET": "spend.view"}

    @extend_schema(operation_id="spend_list", parameters=RANGE, responses=page_of(forms.SumSerializer))
    def get(self, request: Request) -> Response:
        """Return sums of cost."""
        return self.sums()


class PricesAreAgreed(PermissionDenied):
    """Prices come from the contract, and the operator of this installation publishes them. Ask the operator for others."""

    code = "prices_are_agreed"


class PriceBooks(ApiView):
    """The price book of the contract and its versions."""

    permissions = {"GET": "pricebooks.view"}

    @extend_schema(operation_id="price_books_list", responses=page_of(forms.PriceBookSerializer))
    def get(self, request: Request) -> Response:
        """List the price book of the contract in force.

        It has all coming versions, the one in force and the newest past ones, the latest start first.
        """
        return self.whole(queries.price_books(), forms.PriceBookSerializer)


class PriceVersions(ApiView):
    """Versions of one book, which operators publish."""

    permissions = {"POST": "pricebooks.view"}

    @extend_schema(request=forms.VersionSerializer, responses={201: forms.VersionSerializer}, deprecated=True)
    def post(self, request: Request, book_id: UUID) -> Response:
        """Refuse with 403: prices come from the contract, and operators publish them."""
        raise PricesAreAgreed


class ContractOf(ApiView):
    """The contract that rates the organisation's usage."""

    permissions = {"GET": "pricebooks.view"}

    @extend_schema(operation_id="contract_list", responses=page_of(forms.ContractSerializer))
    def get(self, request: Request) -> Response:
        """List contracts, the latest start first: one to come, the one in force, and past ones."""
        return self.whole(queries.contracts(), forms.ContractSerializer)


class Invoices(ApiView):
    """Invoices, drafts included."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="invoices_list",
        parameters=[
            OpenApiParameter("state", str, enum=STATES),
            OpenApiParameter("period", str, description="a month, such as 2026-11"),
            *PAGE,
        ],
        responses=page_of(shapes.InvoiceSerializer),
    )
    def get(self, request: Request) -> Response:
        """List invoices, the newest month first."""
        state = request.query_params.get("state") or None
        if state is not None and state not in STATES:
            raise Invalid(fields={"state": [f"Choose among {', '.join(STATES)}."]})
        period = parse_month(request.query_params.get("period", ""))
        rows = queries.invoices(
            after=self.after(date.fromisoformat, UUID), state=state, period=period, limit=self.page_size() + 1
        )
        return self.paginated(rows, shapes.InvoiceSerializer, lambda row: (row.period, row.id))


class Invoice(ApiView):
    """One invoice, without its lines."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(responses=shapes.InvoiceSerializer)
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """Return one invoice."""
        return Response(shapes.InvoiceSerializer(queries.invoice(invoice_id)).data)


class Lines(ApiView):
    """The lines of one invoice."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="invoices_lines_list", responses=page_of(shapes.LineSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List the lines in order of first use."""
        return self.whole(queries.invoice_lines(invoice_id), shapes.LineSerializer)


class CreditNotes(ApiView):
    """The credit notes of one invoice."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="invoices_credit_notes_list", responses=page_of(shapes.CreditNoteSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List an invoice's credit notes, the newest first."""
        return self.whole(issued.credit_notes(invoice_id), shapes.CreditNoteSerializer)


class Payments(ApiView):
    """The payments of one invoice."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="invoices_payments_list", responses=page_of(shapes.PaymentSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List what arrived for an invoice and what went back, the newest first."""
        return self.whole(issued.payments(invoice_id), shapes.PaymentSerializer)


class Explain(ApiView):
    """Explanation of a line's cost."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(
        parameters=[*PAGE, OpenApiParameter("job", UUID), OpenApiParameter("attempt", UUID)],
        responses=forms.ExplanationSerializer,
    )
    def get(self, request: Request, invoice_id: UUID, n: int) -> Response:
        """Return the attempts of a line and a page of its intervals."""
        asked = request.query_params
        only = queries.Narrowing(
            job_id=parse_uuid(asked["job"], "job") if "job" in asked else None,
            attempt_id=parse_uuid(asked["attempt"], "attempt") if "attempt" in asked else None,
        )
        keys = self.after(*queries.IntervalPosition.KINDS)
        after = queries.IntervalPosition(*keys) if keys else None
        page = queries.IntervalPage(after=after, limit=self.page_size() + 1)
        explanation = queries.explain(invoice_id, n, only, page)
        answer = self.paginated(explanation.intervals, forms.IntervalSerializer, lambda row: row.place.keys)
        line = shapes.LineSerializer(explanation.line).data
        shares = forms.ShareSerializer(explanation.shares, many=True).data
        return Response({"line": line, "shares": shares, **answer.data})
