"""The operator's other pages: tenant metrics, operator log, and the emails of a machine without a mail server."""

from decimal import Decimal
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from tenants.notifications import file_backend
from tenants.operators import tenant_metrics
from tenants.operators.operator_log import OperatorRequest, operator_page, record_act
from tenants.web.pagination import EXPORT_LIMIT, before, csv_response, paged, wants_csv

PAGE = 50
LETTER_OPENED = "tenants.letter.opened"
COLUMNS = (
    "slug",
    "name",
    "members",
    "running_jobs",
    "queued_jobs",
    "month_spend",
    "currency",
    "created_at",
    "refreshed_at",
)


@require_safe
@operator_page
def tenants_page(request: OperatorRequest) -> HttpResponse:
    """List tenants with their metrics; `?q=` is part of the name, `?export=csv` returns a file."""
    text = request.GET.get("q", "").strip()[:100]
    if wants_csv(request, "q"):
        rows = tenant_metrics.digests(text=text, limit=EXPORT_LIMIT)
        return csv_response(request, "tenants", COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in rows))
    rows = tenant_metrics.digests(text=text, after=before(request, str) or "", limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.slug,))
    sums = tenant_metrics.totals(text)
    context = {
        "area": "tenants",
        "rows": [(row, _money(row.month_spend, row.currency)) for row in shown],
        "text": text,
        "number": sum(row.tenants for row in sums),
        "running": sum(row.running_jobs for row in sums),
        "spend": [_money(row.month_spend, row.currency) for row in sums],
        **links,
    }
    return render(request, "tenants/operator_tenants.html", context)


@require_safe
@operator_page
def acts_page(request: OperatorRequest) -> HttpResponse:
    """List the operator log, newest first."""
    rows = tenant_metrics.acts(before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    return render(request, "tenants/operator_acts.html", {"area": "acts", "acts": shown, **links})


@require_safe
@operator_page
def mail_page(request: OperatorRequest) -> HttpResponse:
    """List the emails written to files, newest first; with a mail server there are none.

    `?letter=` opens one of them, without links that grant access, and records who opened it.
    """
    files = file_backend.written_to_files()
    emails = file_backend.stored_emails(PAGE) if files else []
    asked = request.GET.get("letter", "")
    opened = next((email for email in emails if email.name == asked), None)
    if opened is not None:
        target = ("letter", opened.name, f"to {opened.to}: {opened.subject}")
        record_act(request.operator, LETTER_OPENED, target=target, reason="Opened in the operator console")
    context = {
        "area": "mail",
        "files": files,
        "emails": emails,
        "opened": opened,
        "text": file_backend.without_links(opened.text) if opened else "",
    }
    return render(request, "tenants/operator_mail.html", context)


def _money(amount: Decimal, currency: str) -> dict[str, object]:
    return {"amount": amount, "currency": currency}


urlpatterns: list[URLPattern] = [
    path("tenants/", tenants_page, name="operator-tenants"),
    path("acts/", acts_page, name="operator-acts"),
    path("mail/", mail_page, name="operator-mail"),
]
