"""REST endpoints of the documents of invoices: PDF and CSV, streamed and entered in the audit log."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from billing.documents import downloads, rows
from billing.documents.compiling import typeset
from billing.documents.downloads import Taken
from billing.documents.files import csv_file, pdf_file
from billing.documents.finding import document_of_credit_note, document_of_invoice
from billing.documents.sheet import Sheet
from billing.queries.invoices import with_lines
from tenants.isolation.scoping import tenant_scope
from tenants.parsing import parse_choice
from tenants.web.views import FILE_RENDERERS, ApiView

PDF = {(200, "application/pdf"): OpenApiTypes.BINARY}
CSV = {(200, "text/csv"): OpenApiTypes.STR}


class DocumentEndpoint(ApiView):
    """Base of endpoints that answer with a document; no transaction is open while it is made or sent."""

    permissions = {"GET": "invoices.view"}
    own_transaction = True
    renderer_classes = FILE_RENDERERS

    def pdf(self, invoice_id: UUID, filename: str, sheet: Sheet) -> HttpResponse:
        """Answer with a document as PDF, and record the download; HEAD makes none."""
        if self.request.method == "HEAD":
            return pdf_file(filename)
        taken = Taken(invoice_id=invoice_id, filename=filename, content=typeset(sheet))
        self.note(taken)
        return pdf_file(filename, taken.content)

    def note(self, taken: Taken) -> None:
        """Record a download."""
        with tenant_scope(self.actor.tenant_id):
            downloads.note(actor=self.actor, taken=taken)


class InvoicePdf(DocumentEndpoint):
    """An invoice as PDF."""

    @extend_schema(responses=PDF)
    def get(self, request: Request, invoice_id: UUID) -> HttpResponseBase:
        """Return an invoice, or a draft marked as such, as PDF. The download is recorded in the audit log."""
        with tenant_scope(self.actor.tenant_id):
            view, sheet = document_of_invoice(invoice_id)
        return self.pdf(invoice_id, downloads.filename(view, ".pdf"), sheet)


class CreditNotePdf(DocumentEndpoint):
    """A credit note as PDF."""

    @extend_schema(responses=PDF)
    def get(self, request: Request, invoice_id: UUID, note_id: UUID) -> HttpResponseBase:
        """Return a credit note as PDF. The download is recorded in the audit log."""
        with tenant_scope(self.actor.tenant_id):
            number, sheet = document_of_credit_note(invoice_id, note_id)
        return self.pdf(invoice_id, downloads.named(number, ".pdf"), sheet)


class InvoiceCsv(DocumentEndpoint):
    """The lines of an invoice as CSV."""

    @extend_schema(
        parameters=[OpenApiParameter("intervals", str, enum=["0", "1"], description="1: every usage interval too")],
        responses=CSV,
    )
    def get(self, request: Request, invoice_id: UUID) -> HttpResponseBase:
        """Return an invoice's lines as CSV, each followed by its usage intervals if wanted.

        The amounts of a line's intervals add up to its exact amount; that rounded half-even to the minor unit is the
        line's amount; amounts and taxes of the lines add up to the total. The download is recorded in the audit log.
        """
        intervals = parse_choice(request.query_params.get("intervals", ""), "intervals", ("0", "1")) == "1"
        tenant_id = self.actor.tenant_id
        with tenant_scope(tenant_id):
            view, lines = with_lines(invoice_id)
        filename = downloads.filename(view, "-intervals.csv" if intervals else ".csv")
        if request.method != "HEAD":
            self.note(Taken(invoice_id=invoice_id, filename=filename))
        listed = rows.interval_rows(tenant_id, view, lines) if intervals else rows.line_rows(lines)
        return csv_file(filename, rows.header(intervals=intervals), listed)
