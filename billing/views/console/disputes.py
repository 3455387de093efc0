"""The console's disputes: the queue, one with its messages and answer, and comments on an invoice."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.forms.disputes import MessageForm
from billing.invoices import commenting, disputes, disputing
from billing.models.disputes import DISPUTE_STATES, DISPUTED
from billing.queries import issued
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import explain
from tenants.web.pagination import before, paged

PAGE = 50


@require_safe
@operator_page("invoices.view")
def disputes_page(request: OperatorRequest) -> HttpResponse:
    """List disputes, by default the open ones."""
    state = request.GET.get("state", DISPUTED)
    state = state if state in (*DISPUTE_STATES, "all") else DISPUTED
    rows = disputes.of_all(state="" if state == "all" else state, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    tabs = [*((one, one.capitalize()) for one in DISPUTE_STATES), ("all", "All")]
    return render(request, "console/disputes.html", {"rows": shown, "tabs": tabs, "tab": state, **links})


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.view")
def dispute_page(request: OperatorRequest, dispute_id: UUID) -> HttpResponse:
    """Show a dispute with its messages; a POST writes one, and with `outcome` ends it."""
    if request.method == "POST":
        request.operator.require("invoices.manage")
    tenant_id = disputes.tenant_of(dispute_id)
    form = MessageForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            said = _act(request, tenant_id, dispute_id, form.cleaned_data["text"])
        except (NotFound, PermissionDenied):
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, said)
            return redirect("operator-dispute", dispute_id)
    with tenant_scope(tenant_id):
        thread = disputes.thread(dispute_id)
    context = {"thread": thread, "form": form, "may_manage": request.operator.can("invoices.manage")}
    return render(request, "console/dispute.html", context, status=422 if form.errors else 200)


@require_POST
@operator_page("invoices.manage")
def invoice_comment(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Note something about an invoice for other operators."""
    tenant_id = issued.tenant_of(invoice_id)
    try:
        commenting.comment(
            operator=request.operator, tenant_id=tenant_id, invoice_id=invoice_id, text=request.POST.get("text", "")
        )
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "The comment stands.")
    return redirect("operator-invoice", invoice_id)


def _act(request: OperatorRequest, tenant_id: UUID, dispute_id: UUID, text: str) -> str:
    """Write, or end the dispute; return what was done."""
    given: dict[str, Any] = {
        "operator": request.operator,
        "tenant_id": tenant_id,
        "dispute_id": dispute_id,
        "text": text,
    }
    outcome = request.POST.get("outcome", "")
    if not outcome:
        disputing.reply(**given)
        return "The message is sent."
    disputing.answer(**given, outcome=cast(disputing.Answer, outcome))
    return f"The dispute is {outcome}. The organisation is notified."
