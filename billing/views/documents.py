"""Documents of invoices from their pages: a PDF of the invoice, and of a credit note."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from billing.documents import downloads
from billing.documents.compiling import typeset
from billing.documents.downloads import Taken
from billing.documents.files import pdf_file
from billing.documents.finding import document_of_credit_note, document_of_invoice
from billing.documents.sheet import Sheet
from tenants.isolation.scoping import tenant_scope
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("invoices.view", own_transaction=True)
def invoice_pdf(request: TenantRequest, invoice_id: UUID) -> HttpResponse:
    """Download an invoice, or a draft marked as such, as PDF."""
    with tenant_scope(request.tenant.id):
        view, sheet = document_of_invoice(invoice_id)
    return _taken(request, invoice_id, downloads.filename(view, ".pdf"), sheet)


@require_safe
@page("invoices.view", own_transaction=True)
def credit_note_pdf(request: TenantRequest, invoice_id: UUID, note_id: UUID) -> HttpResponse:
    """Download a credit note as PDF."""
    with tenant_scope(request.tenant.id):
        number, sheet = document_of_credit_note(invoice_id, note_id)
    return _taken(request, invoice_id, downloads.named(number, ".pdf"), sheet)


def _taken(request: TenantRequest, invoice_id: UUID, filename: str, sheet: Sheet) -> HttpResponse:
    """Answer with a document, and record the download; HEAD makes none. No transaction is open while it is made."""
    if request.method == "HEAD":
        return pdf_file(filename)
    taken = Taken(invoice_id=invoice_id, filename=filename, content=typeset(sheet))
    downloads.note(actor=request.actor, taken=taken)
    return pdf_file(filename, taken.content)
