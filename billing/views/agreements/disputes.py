"""Disputes of the organisation's invoices: one to open, and the page on which both sides write."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from billing.forms.disputes import DisputeForm, MessageForm
from billing.invoices import disputes, disputing
from billing.queries.invoices import with_lines
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.web.form_posts import done, explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.manage")
def dispute_open(request: TenantRequest, invoice_id: UUID) -> HttpResponse:
    """Dispute a line of an invoice; `?line=` chooses it."""
    view, lines = with_lines(invoice_id)
    form = DisputeForm(request.POST or None, lines=lines, chosen=request.GET.get("line", ""))
    if request.method == "POST" and form.is_valid():
        try:
            made = disputing.open_dispute(
                actor=request.actor,
                invoice_id=invoice_id,
                line_id=form.cleaned_data["line"],
                reason=form.cleaned_data["reason"],
            )
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "The line is disputed. You are notified when the seller answers.")
            return redirect("dispute", request.tenant.slug, made)
    context = {"form": form, "invoice": view}
    return render(request, "billing/dispute_new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.view")
def dispute(request: TenantRequest, dispute_id: UUID) -> HttpResponse:
    """Show a dispute with its messages; a POST writes one."""
    form = MessageForm(request.POST or None)
    if request.method == "POST" and done(
        form, lambda: disputing.write(actor=request.actor, dispute_id=dispute_id, text=form.cleaned_data["text"])
    ):
        messages.success(request, "The message is sent.")
        return redirect("dispute", request.tenant.slug, dispute_id)
    context = {
        "thread": disputes.thread(dispute_id),
        "form": form,
        "may_manage": request.actor.can("invoices.manage"),
    }
    return render(request, "billing/dispute.html", context, status=422 if form.errors else 200)


@require_POST
@page("invoices.manage")
def dispute_withdraw(request: TenantRequest, dispute_id: UUID) -> HttpResponse:
    """Take a dispute back."""
    try:
        disputing.withdraw(actor=request.actor, dispute_id=dispute_id)
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "The dispute is withdrawn.")
    return redirect("dispute", request.tenant.slug, dispute_id)
