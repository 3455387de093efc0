"""The audit log: who did what, the changes, and whether the chain verifies."""

from collections.abc import Callable, Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from tenants.access.actor import Actor
from tenants.access.reader import reading_as
from tenants.audit import queries, reviews
from tenants.audit.checkpoints import public_keys
from tenants.audit.verify import verify_newest, verify_part
from tenants.clock import now
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.views.forms import AuditFilter
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import before, csv_stream, jsonl_stream, paged, refuse_unknown, wants_csv, whole
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
EXPORTED = (
    "seq",
    "occurred_at",
    "actor_type",
    "actor_label",
    "action",
    "operation",
    "target_type",
    "target_id",
    "target_label",
    "differences",
    "reason",
    "ip",
    "user_agent",
    "request_id",
    "credential",
    "on_behalf_of",
    "outcome",
    "error_code",
    "hash",
)


class ReviewForm(forms.Form):
    """That a log was reviewed up to an entry."""

    up_to = forms.IntegerField(label="Up to entry #", min_value=1, max_value=10**12, help_text="All before it, too.")
    note = forms.CharField(
        label="Note",
        max_length=reviews.LONGEST_NOTE,
        help_text="What you looked at, and what you found. It stays in the log.",
    )

    def record(self, request: HttpRequest, review: Callable[..., object], **who: object) -> bool:
        """Record the review by its operation, and say so; False if the form says what is wrong."""
        if not self.is_valid():
            return False
        try:
            review(**who, **self.cleaned_data)
        except Invalid as refused:
            explain(self, refused)
            return False
        messages.success(request, f"Recorded: you have reviewed the log up to entry {self.cleaned_data['up_to']}.")
        return True


@page("audit.view", own_transaction=True)
def audit_log(request: TenantRequest) -> HttpResponseBase:
    """List entries, newest first, filtered; `?export=csv` for the same rows as a file.

    By default actions of persons and keys, because most entries are the system's; `acts` selects others.
    """
    form = AuditFilter(request.GET)
    only = queries.EntryFilter(**form.chosen())
    if wants_csv(request, form=form):
        actor = request.actor
        actor.require("audit.export")
        return csv_stream(request, "audit", EXPORTED, _exported(actor, only))
    with tenant_scope(request.tenant_id):
        return _shown(request, form, only)


@page("audit.review")
@redirect_get_to("audit")
def audit_review(request: TenantRequest) -> HttpResponse:
    """Record that the actor has reviewed the log up to an entry."""
    form = ReviewForm(request.POST)
    if form.record(request, reviews.review, actor=request.actor):
        return redirect("audit", request.tenant.slug)
    shown = AuditFilter({})
    return _shown(request, shown, queries.EntryFilter(**shown.chosen()), form)


def _shown(
    request: TenantRequest, form: AuditFilter, only: queries.EntryFilter, review: ReviewForm | None = None
) -> HttpResponse:
    rows = queries.entries(only, before_seq=before(request, whole), limit=PAGE)
    entries, links = paged(request, rows, PAGE, lambda row: (row.seq,))
    form.offer_types(queries.target_types())
    can_export = request.actor.can("audit.export")
    if review is None and request.actor.can("audit.review"):
        review = ReviewForm(initial={"up_to": reviews.newest()})
    context = {
        "entries": entries,
        "form": form,
        "filtered": only != queries.EntryFilter(acts="people"),
        "can_export": can_export,
        "review": reviews.last_review(),
        "review_form": review,
        "review_url": reverse("audit-review", args=[request.tenant.slug]),
        **links,
    }
    return render(request, "tenants/audit.html", context, status=422 if review and review.is_bound else 200)


@require_safe
@page("audit.export", own_transaction=True)
def audit_export(request: TenantRequest) -> HttpResponseBase:
    """Stream the whole log with its proof, as the API does."""
    refuse_unknown(request)
    return jsonl_stream(request, "audit", queries.export_lines_of(request.actor))


def _exported(actor: Actor, only: queries.EntryFilter) -> Iterator[list[Any]]:
    """Yield the rows of the file, which are read while it is sent, after the request has ended."""
    pages = queries.pages(only)
    while True:
        with reading_as(actor), tenant_scope(actor.tenant_id):
            rows = next(pages, None)
        if rows is None:
            return
        for row in rows:
            yield ["; ".join(row.differences) if name == "differences" else getattr(row, name) for name in EXPORTED]


@page("audit.view")
def audit_verified(request: TenantRequest) -> HttpResponse:
    """Verify the newest entries and return the banner; requested by the page after it has loaded.

    With `?from=` the part that begins there, whose banner requests the next one until the log ends.
    """
    try:
        given = request.GET.get("from")
        part = verify_part(max(1, whole(given))) if given else verify_newest()
    except ValueError:
        raise Invalid(fields={"from": ["Use the number of an entry."]}) from None
    context = {"part": part, "in_parts": bool(given), "at": now(), "keys": public_keys()}
    return render(request, "tenants/_audit_verified.html", context)
