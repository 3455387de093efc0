"""A month's invoice, line by line down to the interval and the job, and its reconciliation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.defaults import SECOND
from billing.invoices import disputes
from billing.ledger.reconcile import reconcile_faults
from billing.models.invoicing import DRAFT, TOP_UP, VOID
from billing.money import Money
from billing.queries.explain import (
    DEEPEST,
    ORDERS,
    Explanation,
    IntervalPage,
    IntervalPosition,
    Narrowing,
    Share,
    explain,
)
from billing.queries.invoices import InvoiceView, draft_invoice, invoice_lines, invoices, replaced
from billing.queries.invoices import invoice as invoice_by_id
from billing.queries.issued import credit_notes, payments
from billing.queries.lines import InvoiceLine
from billing.queries.owed.collecting import collecting
from billing.rating.billed.lines import Kind
from billing.rating.billed.savings import PlanFigures
from billing.resource_names import job_names, page_of, record_noun_of, resource_names
from tenants.clock import now
from tenants.parsing import uuid_in
from tenants.web.pagination import after, before, csv_response, encode_cursor, heading, pager, wants_csv, whole
from tenants.web.requests import TenantRequest
from tenants.web.views import page

INTERVALS = 50
MONTHS = 13
EXPORTED = (
    "line",
    "project",
    "meter",
    "unit",
    "dimensions",
    "quantity",
    "measured",
    "unit_amount",
    "amount",
    "currency",
    "price_version",
    "intervals",
    "origin",
    "corrects",
    "tax_rate",
    "tax",
    "price_currency",
    "rate",
    "rate_valid_from",
)


@dataclass
class ProjectLines:
    """The lines of one project on an invoice, with their sum."""

    name: str
    lines: list[InvoiceLine] = field(default_factory=list)

    @property
    def total(self) -> Money:
        """The sum of the rounded lines."""
        return sum((line.amount for line in self.lines[1:]), self.lines[0].amount)


@require_safe
@page("invoices.view")
def invoice(request: TenantRequest) -> HttpResponse:
    """Show the running month's draft."""
    return _page(request, draft_invoice())


@require_safe
@page("invoices.view")
def invoice_of(request: TenantRequest, invoice_id: UUID) -> HttpResponse:
    """Show one invoice."""
    return _page(request, invoice_by_id(invoice_id))


@require_safe
@page("invoices.view")
def invoice_reconciled(request: TenantRequest) -> HttpResponse:
    """Reconcile intervals, roll-ups and lines and return the badge; requested after the page has loaded.

    `?invoice=` names the invoice to check; default: the running month's draft.
    """
    faults = [str(fault) for fault in islice(reconcile_faults(), 5)]
    wanted = uuid_in(request.GET.get("invoice"))
    view = invoice_by_id(wanted) if wanted else draft_invoice()
    return render(request, "billing/_reconciled.html", {"faults": faults, "invoice": view, "at": now()})


@require_safe
@page("invoices.view")
def line(request: TenantRequest, invoice_id: UUID, n: int) -> HttpResponse:
    """Explain one line: its price, its jobs and attempts or other resources, and every interval in its sum."""
    attempt, resource = uuid_in(request.GET.get("attempt")), request.GET.get("resource") or None
    text, order = request.GET.get("q", "").strip()[:200], request.GET.get("order", "")
    order = order if order in ORDERS else ""
    skip = (before(request, whole) or 0) if order else 0
    keys = None if order else after(request, *IntervalPosition.KINDS)
    place = IntervalPosition(*keys) if keys else None
    shown = explain(
        invoice_id,
        n,
        Narrowing(attempt_id=attempt, resource=resource, text=text),
        IntervalPage(after=place, limit=INTERVALS + 1, order=order, skip=skip),
        people="people" in request.GET,
    )
    more = len(shown.intervals) > INTERVALS and skip < DEEPEST
    following = None
    if more:
        following = encode_cursor(*((skip + INTERVALS,) if order else shown.intervals[INTERVALS - 1].place.keys))
    context = {
        "invoice": shown.invoice,
        "line": shown.line,
        "intervals": shown.intervals[:INTERVALS],
        "narrowed": attempt is not None or resource is not None or bool(text),
        "people": shown.people,
        "asked": {"q": text, "order": order, "people": "people" in request.GET},
        **(words := _words(shown, request.tenant.slug)),
        **_shares(shown, words, request.GET.get("shares", "")),
        **pager(request, following),
    }
    return render(request, "billing/line.html", context)


def _words(shown: Explanation, slug: str) -> dict[str, Any]:
    """Return the nouns of the line's page: jobs and intervals, or other resources and their batches or events."""
    timed, of_jobs = shown.line.unit == SECOND, any(share.job_id for share in shown.shares)
    resources = {share.resource for share in shown.shares if share.job_id is None}
    return {
        "timed": timed,
        "of_jobs": of_jobs,
        "record_noun": "Intervals" if timed else record_noun_of(resources),
        "sorted_by": "By attempt, then by time" if of_jobs else "By resource, then by time",
        "names": job_names(share.job_id for share in shown.shares),
        "resources": resource_names(resources),
        "links": {resource: page_of(resource, slug) for resource in resources},
    }


def _shares(shown: Explanation, words: dict[str, Any], sort: str) -> dict[str, Any]:
    """Return the shares of a line in the requested order, by default of first use, and the headings that sort them."""

    def called(share: Share) -> str:
        named = words["names"].get(share.job_id) if share.job_id else words["resources"].get(share.resource)
        return str(named or share.resource).casefold()

    keys: dict[str, Callable[[Share], Any]] = {
        "name": called,
        "intervals": lambda share: share.intervals,
        "measured": lambda share: share.measured,
        "charged": lambda share: share.quantity,
        "cost": lambda share: share.exact.amount,
    }
    key = keys.get(sort.removeprefix("-"))
    labels = ("Job" if words["of_jobs"] else "Resource", words["record_noun"], "Measured", "Charged", "Cost")
    columns = [
        heading(name, label, name != "name", sort if key else "", down_first=[*keys][1:])
        for name, label in zip(keys, labels, strict=True)
    ]
    listed = sorted(shown.shares, key=key, reverse=sort.startswith("-")) if key else shown.shares
    return {"shares": listed, "share_columns": columns}


def _page(request: TenantRequest, view: InvoiceView) -> HttpResponse:
    lines = invoice_lines(view.id) if view.id else []
    if wants_csv(request):
        return csv_response(request, f"invoice-{view.period:%Y-%m}", EXPORTED, (exported(one) for one in lines))
    at = now()
    others = [(other, _state(other, at)) for other in invoices(limit=MONTHS)[:MONTHS] if other.id != view.id]
    context = {
        "invoice": view,
        "state": _state(view, at),
        "projects": by_project(lines),
        "plans": plans_of(lines),
        "may_dispute": request.actor.can("invoices.manage") and bool(lines) and view.state != VOID,
        "others": [one for one in others if one[0].kind != TOP_UP],
        "top_ups": [one for one in others if one[0].kind == TOP_UP],
        # Spend and budgets show usage to the last digit; an invoice is in whole minor units, line by line.
        "rounding": view.subtotal.amount - view.exact.amount,
        "line_numbers": {line.id: f"Line {line.n}" for line in lines},
        "may_pay": request.actor.can("invoices.manage"),
        **_followed(view),
    }
    return render(request, "billing/invoice.html", context)


def _followed(view: InvoiceView) -> dict[str, Any]:
    """Return what followed an invoice: credit notes, payments, and the invoices that it replaces or that replace it."""
    if view.id is None:
        return {}
    return {
        "notes": credit_notes(view.id),
        "payments": payments(view.id),
        "replaced": replaced(view),
        "collecting": collecting(view.id),
        "disputes": disputes.of_invoice(view.id),
    }


def _state(view: InvoiceView, at: datetime) -> str:
    """Return an invoice's state for its page; a draft of a past month takes no more usage by itself."""
    return "over" if view.state == DRAFT and view.ends_at <= at else view.status


def by_project(lines: Sequence[InvoiceLine], *, named: bool = True) -> list[ProjectLines]:
    """Group lines by project, projects by name, lines in their own order; the seller sees no names, but ids."""
    groups: dict[UUID | None, ProjectLines] = {}
    for one in lines:
        name = one.project_name if named else short_name(one.project_id) if one.project_id else ""
        groups.setdefault(one.project_id, ProjectLines(name or "All projects")).lines.append(one)
    return sorted(groups.values(), key=lambda group: group.name.casefold())


def plans_of(lines: Sequence[InvoiceLine]) -> list[PlanFigures]:
    """Return how well the savings plans of an invoice fit its month, as their lines say."""
    names = ("committed", "used", "covered", "eligible")
    return [
        PlanFigures(
            str(one.details["term"]), *(Money(Decimal(one.details[name]), one.amount.currency) for name in names)
        )
        for one in lines
        if one.kind == Kind.PLAN_FEE and "committed" in one.details
    ]


def short_name(project_id: UUID) -> str:
    """Return how the console names a project: it sees no names, but ids."""
    return f"Project {str(project_id)[-8:]}"


def exported(one: InvoiceLine, *, named: bool = True) -> tuple[object, ...]:
    """Return a line of the file of an invoice; the seller's names its project by id."""
    dims = ", ".join(f"{name}={value}" for name, value in sorted(one.dims.items()))
    return (
        one.n,
        one.project_name if named else one.project_id,
        one.meter,
        one.unit,
        dims,
        one.quantity,
        one.measured,
        one.unit_amount,
        one.amount.rounded().amount,
        one.amount.currency,
        one.version_number,
        one.intervals,
        "reported from outside" if one.outside else "measured",
        f"{one.origin:%Y-%m}" if one.origin else None,
        one.tax_rate,
        None if one.tax is None else one.tax.rounded().amount,
        one.unit_price.currency,
        one.rate.value if one.rate else None,
        one.rate.valid_from if one.rate else None,
    )
