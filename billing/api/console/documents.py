"""REST endpoints of the documents of invoices for the seller: projects are named by id, and no interval is shown."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from billing.api.documents import CSV, PDF
from billing.documents import downloads, rows
from billing.documents.compiling import typeset
from billing.documents.downloads import Taken
from billing.documents.files import csv_file, pdf_file
from billing.documents.finding import document_of_credit_note, document_of_invoice
from billing.documents.sheet import Sheet
from billing.queries import issued
from tenants.isolation.scoping import tenant_scope
from tenants.operators.api.base import OperatorView
from tenants.web.views import FILE_RENDERERS


class PdfView(OperatorView):
    """A document of an invoice as PDF."""

    permissions: ClassVar = {"GET": "invoices.view"}
    renderer_classes = FILE_RENDERERS

    def pdf(self, request: Request, invoice_id: UUID, filename: str, sheet: Sheet) -> HttpResponseBase:
        """Answer with a document, and record the download; HEAD makes none."""
        if request.method == "HEAD":
            return pdf_file(filename)
        taken = Taken(invoice_id=invoice_id, filename=filename, content=typeset(sheet))
        downloads.note_of_operator(operator=self.operator, taken=taken)
        return pdf_file(filename, taken.content)


class InvoicePdf(PdfView):
    """An invoice as PDF."""

    @extend_schema(responses=PDF)
    def get(self, request: Request, invoice_id: UUID) -> HttpResponseBase:
        """Return an invoice, or a draft marked as such, as PDF. The download is recorded in the operator log."""
        with tenant_scope(issued.tenant_of(invoice_id)):
            view, sheet = document_of_invoice(invoice_id, projects_by_id=True)
        return self.pdf(request, invoice_id, downloads.filename(view, ".pdf"), sheet)


class CreditNotePdf(PdfView):
    """A credit note as PDF."""

    @extend_schema(responses=PDF)
    def get(self, request: Request, invoice_id: UUID, note_id: UUID) -> HttpResponseBase:
        """Return a credit note as PDF. The download is recorded in the operator log."""
        with tenant_scope(issued.tenant_of(invoice_id)):
            number, sheet = document_of_credit_note(invoice_id, note_id)
        return self.pdf(request, invoice_id, downloads.named(number, ".pdf"), sheet)


class InvoiceCsv(OperatorView):
    """The lines of an invoice as CSV."""

    permissions: ClassVar = {"GET": "invoices.view"}
    renderer_classes = FILE_RENDERERS

    @extend_schema(responses=CSV)
    def get(self, request: Request, invoice_id: UUID) -> HttpResponseBase:
        """Return an invoice's lines as CSV. The download is recorded in the operator log."""
        _, view, lines = issued.for_seller(invoice_id)
        filename = downloads.filename(view, ".csv")
        if request.method != "HEAD":
            taken = Taken(invoice_id=invoice_id, filename=filename)
            downloads.note_of_operator(operator=self.operator, taken=taken)
        return csv_file(filename, rows.header(intervals=False), rows.line_rows(lines, projects_by_id=True))
