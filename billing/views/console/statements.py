"""The statement of account of an organisation, as the seller sees it."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.documents.compiling import typeset
from billing.documents.files import pdf_file
from billing.documents.finding import document_of_statement
from billing.forms.statements import RangeForm
from billing.queries.calendar import tenant_today
from billing.queries.owed.statements import Statement
from billing.views.statements import EXPORTED, exported
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator_log import record_act
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.pagination import csv_response, wants_csv

STATEMENT_EXPORTED = "billing.statement.exported"


@require_safe
@operator_page("invoices.view")
def statement_page(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show the statement of an organisation; `?export=csv` returns a file."""
    organisation, form, shown = _asked_for(request, tenant_id)
    if wants_csv(request, form=form) and shown is not None:
        record_act(request.operator, STATEMENT_EXPORTED, target=("tenant", tenant_id, organisation.slug))
        return csv_response(request, f"statement-{organisation.slug}", EXPORTED, exported(shown))
    context = {"form": form, "statement": shown, "organisation": organisation}
    return render(request, "console/statement.html", context, status=200 if shown else 422)


@require_safe
@operator_page("invoices.view", one_transaction=False)
def statement_pdf(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Download the statement of an organisation as PDF; the operator log has the download."""
    organisation, _, shown = _asked_for(request, tenant_id)
    if shown is None:
        raise Invalid("Give a first and a last day, such as 2026-01-01.")
    with tenant_scope(tenant_id):
        filename, sheet = document_of_statement(shown)
    if request.method == "HEAD":
        return pdf_file(filename)
    content = typeset(sheet)
    record_act(request.operator, STATEMENT_EXPORTED, target=("tenant", tenant_id, f"{organisation.slug}: {filename}"))
    return pdf_file(filename, content)


def _asked_for(request: OperatorRequest, tenant_id: UUID) -> tuple[Tenant, RangeForm, Statement | None]:
    organisation = Tenant.objects.filter(pk=tenant_id).first()
    if organisation is None:
        raise Http404
    with tenant_scope(tenant_id):
        at = tenant_today()
        form = RangeForm(request.GET, today=at.day, currency=at.currency)
        return organisation, form, form.statement
