"""Deferring, in the console, that an overdue invoice stops launches."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from billing.dunning import deferring
from billing.forms.invoices import DeferForm
from billing.queries import issued
from billing.views.console.invoice import shown
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done


@require_POST
@operator_page("invoices.manage")
def invoice_defer(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Let launches go on despite an unpaid invoice until a day."""
    form = DeferForm(request.POST)
    if done(
        form,
        lambda: deferring.defer(
            operator=request.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            **form.cleaned_data,
        ),
    ):
        messages.success(request, f"Launches go on until {form.cleaned_data['until']:%-d %B %Y}.")
        return redirect("operator-invoice", invoice_id)
    return shown(request, invoice_id, asked="defer", defer_form=form)
