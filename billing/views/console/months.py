"""A month of all organisations in the console: what its run prepared, what stands out, and ordering a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.approving import acts
from billing.money import minor_decimals
from billing.rating.calendar import next_period, period_of
from billing.reconciling import orders
from billing.runs import queries, running
from billing.views.invoices import short_name
from tenants.currencies import amount_text
from tenants.errors import Invalid, NotFound
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.parsing import parse_month
from tenants.web.pagination import after, paged

PAGE = 50
#: How the page words a flag: `of` is the meter's title, and the project if it is one project's use of it.
FLAG_WORDS = {
    "nothing_billed": "Nothing billed, {before} the month before",
    "tax_unknown": "No rate of tax is in force for the customer",
    "unpriced_usage": "{of}: usage without a price",
    "negative_line": "{of}: a negative line, {now}",
    "meter_gone": "{of}: none any more, {before} the month before",
    "late_usage": "{of}: late usage, {now}",
    "changed": "{of}: {before} the month before, now {now}",
    "new_meter": "{of}: new, {now}",
}


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.view")
def month_page(request: OperatorRequest, month: str) -> HttpResponse:
    """List what a month comes to for each organisation, the worst flags first.

    A POST orders its run, or with `act=compare` the comparison of all figures.
    """
    period = _period(month)
    refused = ""
    if request.method == "POST" and request.POST.get("act") == "compare":
        orders.order(operator=request.operator, tenant_id=None)
        messages.success(request, "The comparison is ordered. It appears in the column Figures.")
        return redirect("operator-month", f"{period:%Y-%m}")
    if request.method == "POST":
        request.operator.require("invoices.manage")
        try:
            running.order(operator=request.operator, period=period)
        except Invalid as wrong:
            refused = " ".join(text for texts in wrong.fields.values() for text in texts)
        else:
            messages.success(request, "The run is ordered. Its figures appear here as organisations are done.")
            return redirect("operator-month", f"{period:%Y-%m}")
    rows = queries.prepared(period, after=after(request, int, str, str), limit=PAGE + 1)
    shown, links = paged(request, rows, PAGE, lambda row: (row.severity, row.tenant_slug, row.currency))
    waits = acts.waiting([row.invoice_id for row in shown if row.invoice_id])
    context = {
        "period": period,
        "earlier": period_of(period - timedelta(days=1)),
        "later": next_period(period),
        "run": queries.newest_run(period),
        "rows": [
            (
                row,
                [_words(flag, row.currency) for flag in row.flags],
                waits.get(row.invoice_id, []) if row.invoice_id else [],
            )
            for row in shown
        ],
        "may_manage": request.operator.can("invoices.manage"),
        "refused": refused,
        **links,
    }
    return render(request, "console/month.html", context, status=422 if refused else 200)


def _period(text: str) -> date:
    try:
        period = parse_month(text)
    except Invalid:
        period = None
    if period is None or len(text) != len("2026-11"):
        raise NotFound
    return period


def _words(flag: Mapping[str, str | None], currency: str) -> str:
    title = flag.get("title") or (flag["meter"] or "").replace("_", " ").capitalize()
    project = flag["project"]
    amounts = {
        name: amount_text(Decimal(flag[name] or 0), currency, minor_decimals(currency)) for name in ("before", "now")
    }
    of = f"{title} of {short_name(UUID(project))}" if project else title
    return FLAG_WORDS.get(flag["flag"] or "", flag["flag"] or "").format(of=of, **amounts)
