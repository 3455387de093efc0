"""Reversing, in the console, a payment that was recorded wrongly."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from billing.invoices import paying
from billing.queries import issued
from billing.views.console.invoice import shown
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.operators.pages import OperatorRequest, operator_page


@require_POST
@operator_page("invoices.manage")
def payment_reverse(request: OperatorRequest, invoice_id: UUID, payment_id: UUID) -> HttpResponse:
    """Take back a payment that was recorded by hand and never arrived."""
    try:
        paying.reverse(
            operator=request.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            payment_id=payment_id,
            reason=request.POST.get("reason", ""),
        )
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        return shown(request, invoice_id, refused=refused.message)
    messages.success(request, "The payment is reversed. What it paid is due again.")
    return redirect("operator-invoice", invoice_id)
