"""The statement of account of an organisation: its page, its CSV and its PDF."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.documents import downloads
from billing.documents.compiling import typeset
from billing.documents.files import pdf_file
from billing.documents.finding import document_of_statement
from billing.forms.statements import RangeForm
from billing.queries.calendar import tenant_today
from billing.queries.owed.statements import Statement
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

EXPORTED = ("day", "at", "kind", "number", "detail", "amount", "balance", "currency")


@require_safe
@page("invoices.view")
def statement_page(request: TenantRequest) -> HttpResponse:
    """Show a statement, by default of the running year; `?export=csv` returns a file."""
    at = tenant_today()
    form = RangeForm(request.GET, today=at.day, currency=at.currency)
    shown = form.statement
    if wants_csv(request, form=form) and shown is not None:
        return csv_response(request, "statement", EXPORTED, exported(shown))
    context = {"form": form, "statement": shown}
    return render(request, "billing/statement.html", context, status=200 if shown else 422)


@require_safe
@page("invoices.view", own_transaction=True)
def statement_pdf(request: TenantRequest) -> HttpResponse:
    """Download a statement as PDF."""
    with tenant_scope(request.tenant.id):
        at = tenant_today()
        shown = RangeForm(request.GET, today=at.day, currency=at.currency).statement
        if shown is None:
            raise Invalid("Give a first and a last day, such as 2026-01-01.")
        filename, sheet = document_of_statement(shown)
    if request.method == "HEAD":
        return pdf_file(filename)
    content = typeset(sheet)
    downloads.note_statement(actor=request.actor, filename=filename, content=content)
    return pdf_file(filename, content)


def exported(shown: Statement) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the file: opening balance, entries, closing balance."""
    currency = shown.opening.currency
    yield (shown.starts_on, None, "opening balance", "", "", None, shown.opening.rounded().amount, currency)
    for one in shown.entries:
        amounts = (one.amount.rounded().amount, one.balance.rounded().amount)
        yield (one.day, one.at, one.kind, one.number, one.detail, *amounts, currency)
    yield (shown.ends_on, None, "closing balance", "", "", None, shown.closing.rounded().amount, currency)
