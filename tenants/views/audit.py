"""The audit log: who did what, the difference it made, and whether the chain still verifies."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from tenants import queries
from tenants.actor import Actor
from tenants.audit.verify import verify
from tenants.clock import now
from tenants.edges import page
from tenants.forms import AuditFilter
from tenants.listing import csv_response, pager, wants_csv

PAGE = 50
EXPORTED = (
    "seq",
    "occurred_at",
    "actor_type",
    "actor_label",
    "action",
    "target_type",
    "target_id",
    "target_label",
    "reason",
    "ip",
    "request_id",
    "hash",
)


@page("audit.view")
def audit_log(request: HttpRequest) -> HttpResponse:
    """List entries, newest first, filtered; `?export=csv` for the same rows as a file."""
    form = AuditFilter(request.GET)
    filters: dict[str, Any] = form.chosen()
    if wants_csv(request, form=form):
        actor: Actor = request.actor  # type: ignore[attr-defined]
        actor.require("audit.export")
        rows = queries.audit_entries(limit=10_000, **filters)
        return csv_response(
            "audit",
            EXPORTED,
            ([getattr(row, name) for name in EXPORTED] for row in rows),
        )
    rows = queries.audit_entries(before_seq=_before(request), limit=PAGE, **filters)
    following = str(rows[PAGE - 1].seq) if len(rows) > PAGE else None
    can_export = request.actor.can("audit.export")  # type: ignore[attr-defined]
    context = {
        "entries": rows[:PAGE],
        "form": form,
        "filtered": bool(filters),
        "can_export": can_export,
        **pager(request, following),
    }
    return render(request, "tenants/audit.html", context)


@page("audit.view")
def audit_verified(request: HttpRequest) -> HttpResponse:
    """Verify the whole chain and answer the banner; asked for by the page after it has loaded."""
    verdict = verify()
    at: datetime = now()
    return render(request, "tenants/_audit_verified.html", {"verdict": verdict, "at": at})


def _before(request: HttpRequest) -> int | None:
    cursor = request.GET.get("cursor", "")
    return int(cursor) if cursor.isdecimal() and len(cursor) < 18 else None
