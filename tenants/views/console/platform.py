"""The console's pages about the platform itself: operators, their keys, and the emails of a machine without a mail server."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants.access.operator_roles import OPERATOR_ROLE_WORDS
from tenants.clock import now
from tenants.errors import ExchequerError
from tenants.notifications import file_backend
from tenants.operators import accounts, attention, grants, keys, tenant_metrics
from tenants.operators.log import log_ins, queries
from tenants.operators.operator_log import record_act
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.views.console.forms import NewKey
from tenants.web.form_posts import explain

PAGE = 50
NEWEST = 5
LETTER_OPENED = "tenants.letter.opened"


@require_safe
@operator_page("tenants.view")
def home_page(request: OperatorRequest) -> HttpResponse:
    """Show what needs attention, and the figures of all tenants together."""
    sums = tenant_metrics.totals()
    context = {
        "matters": attention.matters(request.operator),
        "tiles": attention.tiles(request.operator),
        "months": [_compared(row) for row in tenant_metrics.months()]
        if request.operator.can("invoices.view")
        else None,
        "same_day": _month_before(now().date()),
        "tenants": sum(row.tenants for row in sums),
        "running": sum(row.running_jobs for row in sums),
        "acts": queries.acts(limit=NEWEST, without=(accounts.LOGGED_IN, log_ins.REFUSED))[:NEWEST],
    }
    return render(request, "console/home.html", context)


def _compared(row: tenant_metrics.MonthRow) -> dict[str, Any]:
    """Return a currency's months as amounts; `change`: how much more or less this one is, of one; None without both."""
    change = row.cost / row.before - 1 if row.before else None
    return {
        "cost": {"amount": row.cost, "currency": row.currency},
        "before": None if row.before is None else {"amount": row.before, "currency": row.currency},
        "change": None if change is None else abs(change),
        "more": change is not None and change >= 0,
    }


def _month_before(today: date) -> date:
    """Return the same day of the month before, or its last day if it is shorter."""
    last = today.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(today.day, last.day))


@require_safe
@operator_page("operators.view")
def operators_page(request: OperatorRequest) -> HttpResponse:
    """List operators with their roles."""
    return render(request, "console/operators.html", {"rows": grants.operators(), "roles": OPERATOR_ROLE_WORDS})


@operator_page("tenants.view")
def keys_page(request: OperatorRequest) -> HttpResponse:
    """List the operator's own keys, and create one; its secret is shown once, on this response."""
    form = NewKey(request.POST or None, roles=request.operator.roles)
    made = None
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        expires_at = now() + timedelta(days=data["days"])
        try:
            made = keys.create(operator=request.operator, name=data["name"], roles=data["roles"], expires_at=expires_at)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            form = NewKey(roles=request.operator.roles)
    context = {"rows": keys.keys_of(request.operator), "form": form, "made": made}
    return render(request, "console/keys.html", context, status=422 if form.is_bound else 200)


@require_POST
@operator_page("tenants.view")
def key_revoke(request: OperatorRequest, key_id: UUID) -> HttpResponse:
    """Revoke one of the operator's own keys."""
    keys.revoke(operator=request.operator, key_id=key_id)
    messages.success(request, "The key is revoked.")
    return redirect("operator-keys")


@require_safe
@operator_page("mail.view")
def mail_page(request: OperatorRequest) -> HttpResponse:
    """List the emails written to files, newest first; with a mail server there are none.

    `?letter=` opens one of them, without links that grant access, and records who opened it.
    """
    files = file_backend.written_to_files()
    emails = file_backend.stored_emails(PAGE) if files else []
    asked = request.GET.get("letter", "")
    opened = next((email for email in emails if email.name == asked), None)
    if opened is not None:
        # Not to whom: the operator log is for ever, and people of organisations may have to be forgotten.
        sent = f"of {opened.sent_at:%Y-%m-%d %H:%M} UTC" if opened.sent_at else "without a date"
        target = ("letter", opened.name, f"an email {sent}")
        record_act(request.operator, LETTER_OPENED, target=target, reason="Opened in the operator console")
    context = {
        "files": files,
        "folder": settings.EMAIL_FILE_PATH if files else "",
        "emails": emails,
        "opened": opened,
        "text": file_backend.without_links(opened.text) if opened else "",
    }
    return render(request, "console/mail.html", context)
