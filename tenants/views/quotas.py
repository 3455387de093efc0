"""Quotas: how much of a resource the organisation may hold at once; a change is confirmed with its difference."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.forms import Select
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from tenants import queries, quotas
from tenants.errors import Conflict, ExchequerError
from tenants.views.forms import QuotaLimit
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@dataclass(frozen=True)
class Line:
    """One resource on the page. `changed_by` and `changed_at` belong to the limit; empty if nobody ever set one."""

    resource: str
    title: str
    limit: int | None
    in_use: int
    changed_by: str
    changed_at: datetime | None

    @property
    def share(self) -> float | None:
        """The share of the limit in use; None without one."""
        if self.limit is None:
            return None
        return self.in_use / self.limit if self.limit else 1.0

    @property
    def over(self) -> int:
        """How much is held beyond a lowered limit."""
        return max(0, self.in_use - self.limit) if self.limit is not None else 0


@require_safe
@page("quotas.view")
def quotas_page(request: TenantRequest) -> HttpResponse:
    """List resources; `?edit=NAME` opens one for a change, `?export=csv` returns a file."""
    if wants_csv(request):
        rows = ([line.resource, line.limit, line.in_use, line.changed_by, line.changed_at] for line in _lines())
        return csv_response(request, "quotas", ("resource", "limit", "in_use", "changed_by", "changed_at"), rows)
    return _render(request, editing=request.GET.get("edit", ""))


@page("quotas.manage")
@redirect_get_to("quotas")
def quota_change(request: TenantRequest) -> HttpResponse:
    """Set a limit: the first submission shows the difference; `confirmed` applies it."""
    actor = request.actor
    form = QuotaLimit(request.POST)
    if not form.is_valid():
        return _render(request, form=form, editing=str(request.POST.get("resource", "")), status=422)
    resource, limit = form.cleaned_data["resource"].strip(), form.cleaned_data["limit"]
    line = next(
        (line for line in _lines() if line.resource == resource),
        Line(resource, quotas.title_of(resource), None, 0, "", None),
    )
    try:
        quotas.check_limit(resource, limit)
        if not form.cleaned_data["confirmed"]:
            return _render(request, asked={"line": line, "limit": limit, "was": _text(line.limit)})
        if form.cleaned_data["was"] != _text(line.limit):
            raise Conflict("Somebody else has changed this limit. Check it and try again.")
        quotas.set_limit(actor=actor, resource=resource, limit=limit)
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, form=form, editing=resource, status=refused.status)
    messages.success(request, f"{line.title}: {_words(limit)}. It applies to new launches.")
    return redirect("quotas", request.tenant.slug)


def _lines() -> list[Line]:
    changed = queries.last_changes(quotas.QUOTA_CHANGED, "quota")
    titles = quotas.titles()
    lines = []
    for use in quotas.usage():
        by = changed.get(use.resource)
        title = titles.get(use.resource, use.resource)
        lines.append(Line(use.resource, title, use.limit, use.in_use, by.label if by else "", by.at if by else None))
    return lines


def _text(limit: int | None) -> str:
    return "" if limit is None else str(limit)


def _words(limit: int | None) -> str:
    return "no limit" if limit is None else f"limit {limit}"


def _render(
    request: TenantRequest, *, form: QuotaLimit | None = None, editing: str = "", status: int = 200, **given: Any
) -> HttpResponse:
    actor = request.actor
    lines = _lines()
    context: dict[str, Any] = {"lines": lines, "can_manage": actor.can("quotas.manage"), "editing": "", **given}
    context["set_here"] = "#set" if context["can_manage"] else ""
    known = next((line for line in lines if line.resource == editing), None)
    if known is not None:
        initial = {"resource": known.resource, "limit": known.limit, "was": _text(known.limit)}
        context |= {"editing": known.resource, "form": form or QuotaLimit(initial=initial, auto_id="edit_%s")}
    elif form is not None:
        context["new_form"] = form
    context.setdefault("new_form", QuotaLimit(auto_id="new_%s"))
    # A limited resource is changed in its row; a name typed past the choices is shown with its error.
    limited = {line.resource for line in lines if line.limit is not None}
    free = [(name, title) for name, title in quotas.titles().items() if name not in limited]
    context["new_form"].fields["resource"].widget = Select(choices=[("", "Choose one"), *free])
    return render(request, "tenants/quotas.html", context, status=status)
