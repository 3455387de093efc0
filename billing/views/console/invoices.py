"""The console's invoices of all organisations: the list, its file, many drafts finalised at once, and who issues them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from billing import second_person as rule
from billing.approving import acts
from billing.forms.invoices import STATUSES, ListFilter, SellerForm
from billing.invoices import parties
from billing.invoices.reminders import as_text
from billing.mailing import orders
from billing.queries import issued
from billing.queries.issued import InvoiceRow
from billing.queries.owed.overdue import overdue
from billing.rating.calendar import local_day, period_of
from tenants import clock
from tenants.errors import ExchequerError, PermissionDenied
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.pages import OperatorRequest, operator_page, require_recent_proof
from tenants.parsing import uuid_in
from tenants.web.form_posts import explain
from tenants.web.pagination import EXPORT_LIMIT, after, csv_response, paged, wants_csv

PAGE = 50
LIST_EXPORTED = "billing.invoices.exported"
EXPORTED = (
    "number",
    "organisation",
    "organisation_name",
    "month",
    "kind",
    "status",
    "total",
    "due",
    "currency",
    "due_on",
    "finalised_at",
    "id",
)


@dataclass
class Outcome:
    """What became of the chosen invoices: numbers given, requests, those that stood before, and the refused ones with the reason."""

    numbers: list[str] = field(default_factory=list)
    refused: list[tuple[InvoiceRow, str]] = field(default_factory=list)
    asked: int = 0
    standing: int = 0

    @property
    def words(self) -> str:
        """How many were finalised, in sentences, how many wait for a second operator, and how many stood before."""
        count, sentences = len(self.numbers), []
        if count:
            span = self.numbers[0] if count == 1 else f"{self.numbers[0]} to {self.numbers[-1]}"
            sentences.append(f"{count} invoice{'s are' if count > 1 else ' is'} finalised: {span}.")
        elif not self.asked:
            sentences.append("No invoice was finalised.")
        if self.asked:
            sentences.append(
                f"{self.asked} wait{'' if self.asked > 1 else 's'} for another operator, on the page Approvals."
            )
        if self.standing:
            sentences.append(f"{self.standing} of the chosen {'were' if self.standing > 1 else 'was'} final before.")
        return " ".join(sentences)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.view", one_transaction=False)
def invoices_page(request: OperatorRequest) -> HttpResponse:
    """List invoices by newest month, filtered; `?export=csv` returns a file. A POST finalises the chosen drafts."""
    form = ListFilter(request.GET)
    wanted = form.chosen
    if wants_csv(request, form=form):
        return _export(request, wanted)
    outcome = None
    if request.method == "POST" and request.POST.get("act") == "send":
        request.operator.require("invoices.manage")
        if count := _send(request.operator, request.POST.getlist("invoice")):
            messages.success(request, f"{count} invoice{'s are' if count > 1 else ' is'} on the way by email.")
        else:
            messages.error(request, "No invoice was sent. Choose at least one that has a number.")
        return redirect(request.get_full_path())
    if request.method == "POST":
        request.operator.require("invoices.manage")
        outcome = _finalise(request.operator, request.POST.getlist("invoice"))
        if (outcome.numbers or outcome.asked or outcome.standing) and not outcome.refused:
            messages.success(request, outcome.words)
            return redirect(request.get_full_path())
    rows = issued.issued(wanted, after=after(request, date.fromisoformat, UUID), limit=PAGE + 1)
    shown, links = paged(request, rows, PAGE, lambda row: (row.period, row.id))
    may_manage = request.operator.can("invoices.manage")
    context = {
        "rows": issued.with_totals(shown),
        "form": form,
        "tabs": [*STATUSES, ("", "All")],
        "tab": wanted.status or "",
        "filtered": bool(wanted.status or wanted.period or wanted.text),
        "month_before": period_of(period_of(local_day(clock.now(), "UTC")) - timedelta(days=1)),
        "seller": parties.current_seller(),
        "may_manage": may_manage,
        "choosable": may_manage and any(row.can_be_chosen for row in shown),
        "drafts": any(row.can_be_finalised for row in shown),
        "standing": any(row.can_be_sent for row in shown),
        "chosen": {row.id for row, _ in outcome.refused} if outcome else set(),
        "outcome": outcome,
        **links,
    }
    return render(request, "console/invoices.html", context, status=422 if outcome else 200)


@require_safe
@operator_page("invoices.view")
def overdue_page(request: OperatorRequest) -> HttpResponse:
    """List the unpaid invoices that are past due, with the reminders that were sent."""
    rows = overdue(after=after(request, date.fromisoformat, UUID), limit=PAGE + 1)
    shown, links = paged(request, rows, PAGE, lambda row: (row.due_on, row.id))
    context = {"rows": shown, "schedule": parties.dunning_schedule(), **links}
    return render(request, "console/overdue.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.view")
def seller_page(request: OperatorRequest) -> HttpResponse:
    """Show who issues invoices and where they are paid, and change it, as an operator who proved who they are just now."""
    if request.method == "POST":
        request.operator.require("seller.manage")
    known = parties.current_seller()
    second = rule.current()
    now = {
        "sends_invoices": parties.sends_invoices(),
        "dunning": as_text(parties.dunning_schedule()),
        "second_person": second.wanted,
        "second_person_from": second.text,
    }
    form = SellerForm(request.POST or None, initial=asdict(known) | now)
    if request.method == "POST" and form.is_valid():
        require_recent_proof(request)
        try:
            parties.change_seller(
                operator=request.operator,
                party=form.party,
                reason=form.cleaned_data["reason"],
                sends_invoices=form.cleaned_data["sends_invoices"],
            )
            if as_text(form.cleaned_data["dunning"]) != now["dunning"]:
                parties.change_dunning(
                    operator=request.operator,
                    steps=form.cleaned_data["dunning"],
                    reason=form.cleaned_data["reason"],
                )
            if form.second_rule != second:
                rule.change(operator=request.operator, rule=form.second_rule, reason=form.cleaned_data["reason"])
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "The seller is changed. Invoices that are finalised keep what they state.")
            return redirect("operator-seller")
    context = {"form": form, "seller": known, "may_manage": request.operator.can("seller.manage")}
    return render(request, "console/seller.html", context, status=422 if form.is_bound else 200)


def _send(operator: Operator, given: list[str]) -> int:
    """Have the chosen invoices sent by email, as far as they are finalised; return how many are."""
    rows = [row for row in issued.by_ids(_chosen(given)) if row.can_be_sent]
    for row in rows:
        orders.send(operator=operator, tenant_id=row.tenant_id, invoice_id=row.id)
    return len(rows)


def _chosen(given: list[str]) -> set[UUID]:
    return {invoice_id for text in given[:PAGE] if (invoice_id := uuid_in(text)) is not None}


def _finalise(operator: Operator, given: list[str]) -> Outcome:
    """Finalise the chosen drafts, the earliest month first, each in a transaction of its own."""
    outcome = Outcome()
    for row in reversed(issued.by_ids(_chosen(given))):
        if row.can_be_sent:
            outcome.standing += 1
            continue
        try:
            done = acts.finalise(operator=operator, tenant_id=row.tenant_id, invoice_id=row.id)
        except PermissionDenied:
            raise
        except ExchequerError as refused:
            outcome.refused.append((row, refused.message))
        else:
            if isinstance(done, acts.Asked):
                outcome.asked += 1
            else:
                outcome.numbers.append(done)
    return outcome


def _export(request: OperatorRequest, wanted: issued.InvoiceFilter) -> HttpResponse:
    rows = issued.with_totals(issued.issued(wanted, limit=EXPORT_LIMIT))
    record_act(request.operator, LIST_EXPORTED, target=("list", "invoices", f"{len(rows)} invoices"))
    return csv_response(request, "invoices", EXPORTED, (_exported(row) for row in rows))


def _exported(row: InvoiceRow) -> tuple[object, ...]:
    return (
        row.number,
        row.tenant_slug,
        row.tenant_name,
        f"{row.period:%Y-%m}",
        row.kind,
        row.status,
        None if row.total is None else row.total.rounded().amount,
        None if row.due is None else row.due.rounded().amount,
        row.currency,
        row.due_on,
        row.finalised_at,
        row.id,
    )
