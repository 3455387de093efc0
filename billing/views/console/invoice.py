"""One invoice of the console: what it states and what followed it, and the forms that change its state."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.approving import acts
from billing.collecting import retrying
from billing.forms.invoices import CreditForm, DeferForm, PaymentForm, VoidForm
from billing.invoices import crediting, disputes, finalising, parties, paying
from billing.invoices.commenting import INVOICE_COMMENTED
from billing.mailing import orders
from billing.models.invoicing import FINALISED, PERIOD
from billing.payments.chosen import payment_gateway
from billing.queries import issued
from billing.queries.drafts import contract_in
from billing.queries.invoices import InvoiceView, replaced
from billing.queries.lines import InvoiceLine
from billing.queries.owed import deferrals
from billing.queries.owed.collecting import collecting, paused_until
from billing.views.invoices import EXPORTED, by_project, exported, plans_of
from tenants import clock
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.log import queries as operator_log
from tenants.operators.operator_log import record_act
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.parsing import uuid_in
from tenants.web.form_posts import done, explain
from tenants.web.pagination import csv_response, wants_csv

INVOICE_EXPORTED = "billing.invoice.exported"
ASKED = "Another operator must approve this. The request waits on the page Approvals."
#: Acts on the page; the operator log has all.
MOST_ACTS = 100
#: Lines of one form of a credit note.
MOST_LINES = 200


@require_safe
@operator_page("invoices.view")
def invoice_page(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Show one invoice; `?export=csv` returns its lines as a file."""
    if wants_csv(request):
        _, view, lines = issued.for_seller(invoice_id)
        label = view.number or f"{view.period:%Y-%m}"
        record_act(request.operator, INVOICE_EXPORTED, target=("invoice", invoice_id, label))
        return csv_response(request, f"invoice-{label}", EXPORTED, (exported(one, named=False) for one in lines))
    return shown(request, invoice_id)


@require_POST
@operator_page("invoices.manage")
def invoice_review(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Mark a draft as in review, or as a draft again."""
    in_review = request.POST.get("in_review") == "1"
    try:
        finalising.set_review(
            operator=request.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            in_review=in_review,
        )
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        return shown(request, invoice_id, refused=refused.message)
    messages.success(request, "The invoice is in review." if in_review else "The invoice is a draft again.")
    return redirect("operator-invoice", invoice_id)


@require_POST
@operator_page("invoices.manage")
def invoice_finalise(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Finalise a draft."""
    try:
        done = acts.finalise(
            operator=request.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            early=request.POST.get("early", ""),
        )
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        texts = [text for found in getattr(refused, "fields", {}).values() for text in found]
        return shown(request, invoice_id, asked="finalise", refused=" ".join(texts) or refused.message)
    messages.success(request, ASKED if isinstance(done, acts.Asked) else f"{done} is finalised.")
    return redirect("operator-invoice", invoice_id)


@require_POST
@operator_page("invoices.manage")
def invoice_void(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Void a finalised invoice, and open the draft in its place if wanted."""
    form = VoidForm(request.POST)
    if form.is_valid():
        try:
            made = acts.void(
                operator=request.operator,
                tenant_id=issued.tenant_of(invoice_id),
                invoice_id=invoice_id,
                **form.cleaned_data,
            )
        except (NotFound, PermissionDenied):
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            if isinstance(made, acts.Asked):
                messages.success(request, ASKED)
                return redirect("operator-invoice", invoice_id)
            more = " This draft is in its place." if made else ""
            messages.success(request, f"The invoice is void.{more}")
            return redirect("operator-invoice", made or invoice_id)
    return shown(request, invoice_id, asked="void", void_form=form)


@require_POST
@operator_page("invoices.manage")
def invoice_payment(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Record a payment that arrived."""
    tenant_id, view, _ = _locked(invoice_id)
    form = PaymentForm(request.POST, invoice=view)
    if done(
        form,
        lambda: paying.mark_paid(
            operator=request.operator, tenant_id=tenant_id, invoice_id=invoice_id, received=form.received
        ),
    ):
        messages.success(request, "The payment is recorded.")
        return redirect("operator-invoice", invoice_id)
    return shown(request, invoice_id, asked="pay", payment_form=form)


@require_POST
@operator_page("invoices.manage")
def invoice_collect(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Repeat what failed at the payment provider, or push an invoice of earlier."""
    try:
        retrying.retry(operator=request.operator, tenant_id=issued.tenant_of(invoice_id), invoice_id=invoice_id)
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        return shown(request, invoice_id, refused=refused.message)
    messages.success(request, "It is sent to the payment provider within a minute.")
    return redirect("operator-invoice", invoice_id)


@require_POST
@operator_page("invoices.manage")
def invoice_send(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Have an invoice sent by email."""
    try:
        orders.send(operator=request.operator, tenant_id=issued.tenant_of(invoice_id), invoice_id=invoice_id)
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        return shown(request, invoice_id, refused=refused.message)
    messages.success(request, "The invoice is on its way. This page shows when it was first sent.")
    return redirect("operator-invoice", invoice_id)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.manage")
def invoice_credit(request: OperatorRequest, invoice_id: UUID) -> HttpResponse:
    """Show the form of a credit note, and issue it; `?from=` is the first line that it lists."""
    bound = request.method == "POST"
    tenant_id, view, lines = _locked(invoice_id) if bound else issued.for_seller(invoice_id)
    start = max(1, int(given) if (given := request.GET.get("from", "")).isdecimal() and len(given) < 10 else 1)
    listed = [line for line in lines if start <= line.n < start + MOST_LINES]
    asked = None if bound else uuid_in(request.GET.get("dispute"))
    prefilled = _disputed(tenant_id, asked, listed) if asked else {}
    form = CreditForm(request.POST if bound else None, invoice=view, lines=listed, given=prefilled)
    if bound and form.is_valid():
        try:
            done = acts.credit(
                operator=request.operator,
                tenant_id=tenant_id,
                invoice_id=invoice_id,
                parts=form.parts,
                reason=form.cleaned_data["reason"],
                paid_back=form.paid_back_as,
            )
        except (NotFound, PermissionDenied):
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, ASKED if isinstance(done, acts.Asked) else "The credit note is issued.")
            return redirect("operator-invoice", invoice_id)
    with tenant_scope(tenant_id):
        left = issued.left_of_lines(invoice_id, listed)
    context = {
        "organisation": Tenant.objects.get(pk=tenant_id),
        "invoice": view,
        "form": form,
        "rows": [(line, field, left[line.id]) for line, field in form.rows()],
        "possible": view.state in crediting.CREDITABLE,
        "next_from": start + MOST_LINES if start + MOST_LINES <= len(lines) else None,
        "previous_from": max(1, start - MOST_LINES) if start > 1 else None,
    }
    return render(request, "console/credit_note.html", context, status=422 if form.errors else 200)


def _disputed(tenant_id: UUID, dispute_id: UUID, lines: list[InvoiceLine]) -> dict[str, Any]:
    """Return what a credit note of a disputed line starts with: all that is left of the line, and why."""
    with tenant_scope(tenant_id):
        row = disputes.thread(dispute_id).row
        mine = [line for line in lines if line.id == row.line_id]
        left = issued.left_of_lines(row.invoice_id, mine)
    return {f"line_{line.n}": left[line.id].amount for line in mine} | {"reason": f"Dispute of line {row.line}: agreed"}


def _locked(invoice_id: UUID) -> tuple[UUID, InvoiceView, list[InvoiceLine]]:
    """Return an invoice as it is while its row is locked: nobody settles it before this request has ended."""
    with tenant_scope(issued.tenant_of(invoice_id)):
        finalising.locked(invoice_id)
    return issued.for_seller(invoice_id)


def shown(request: OperatorRequest, invoice_id: UUID, **given: Any) -> HttpResponse:
    """Show the page; what is `given` was refused."""
    tenant_id, view, lines = issued.for_seller(invoice_id)
    with tenant_scope(tenant_id):
        followed = {
            "notes": issued.credit_notes(invoice_id),
            "payments": issued.payments(invoice_id),
            "replaced": replaced(view),
            "collecting": collecting(invoice_id),
            "disputes": disputes.of_invoice(invoice_id),
            "comments": disputes.comments(invoice_id),
            "deferrals": deferrals.of_invoice(invoice_id),
        }
        grace_ends = finalising.grace_end(view.ends_at, contract_in(view.period))
    now, acted = clock.now(), _acts(invoice_id)
    stands = request.operator.can("invoices.manage") and view.state == FINALISED
    context = {
        "organisation": Tenant.objects.get(pk=tenant_id),
        "invoice": view,
        "projects": by_project(lines, named=False),
        "plans": plans_of(lines),
        "line_numbers": {line.id: f"Line {line.n}" for line in lines},
        "acts": acted,
        "sent_after": None if view.sent_at is None else sum(act.at <= view.sent_at for act in acted),
        "may_manage": request.operator.can("invoices.manage"),
        "month_over": view.ends_at <= now,
        "in_grace": view.is_draft and view.ends_at <= now < grace_ends,
        "grace_ends": grace_ends,
        "may_credit": request.operator.can("invoices.manage")
        and view.state in crediting.CREDITABLE
        and view.credited != view.total,
        "may_reverse": request.operator.can("invoices.manage") and view.kind == PERIOD,
        "seller_known": not view.is_draft or parties.current_seller().may_issue,
        "void_form": VoidForm() if stands and not view.credited and view.paid == view.returned else None,
        "payment_form": _payment_form(view) if stands else None,
        "defer_form": DeferForm() if stands else None,
        "provider": payment_gateway().collects,
        "paused_until": paused_until(),
        "waits": acts.waiting([invoice_id]).get(invoice_id, []),
        **followed,
        **given,
    }
    return render(request, "console/invoice.html", context, status=422 if given else 200)


def _acts(invoice_id: UUID) -> list[operator_log.ActRow]:
    """Return what operators did to an invoice, the earliest first."""
    found = operator_log.acts_on("invoice", invoice_id, MOST_ACTS)
    return [act for act in reversed(found) if act.action not in (INVOICE_EXPORTED, INVOICE_COMMENTED)]


def _payment_form(view: InvoiceView) -> Form:
    return PaymentForm(invoice=view, amount=view.due.rounded().amount, received_on=clock.now().date())
