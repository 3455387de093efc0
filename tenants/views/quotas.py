"""Quotas of the organisation, its projects and its people; a change is confirmed with its difference and its effect."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.forms import Select
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from tenants import queries, quotas
from tenants.audit import queries as audit_queries
from tenants.errors import Conflict, ExchequerError
from tenants.quotas import ORGANISATION, QuotaUse, Resource, Scope, scopes
from tenants.quotas.limits import label
from tenants.views.forms import QuotaLimit
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

HEADINGS = {"tenant": "Organisation", "project": "Projects", "person": "People"}
#: Lines of projects, and of people; the file has all.
MOST = 200
COLUMNS = ("resource", "limit", "in_use", "changed_by", "changed_at", "scope", "period", "unit", "ceiling", "queued")


@dataclass(frozen=True)
class Line:
    """One limit on the page, in shown units. `changed_by` and `changed_at` are empty if nobody ever set it."""

    use: QuotaUse
    what: Resource
    whose: str
    queued: int | float
    changed_by: str
    changed_at: datetime | None

    @property
    def limit(self) -> Any:
        """The limit that was set; None without one."""
        return None if self.use.limit is None else self.what.shown(self.use.limit)

    @property
    def effective(self) -> Any:
        """The limit that binds; None without one."""
        return None if self.use.effective is None else self.what.shown(self.use.effective)

    @property
    def ceiling(self) -> Any:
        """The operators' ceiling; None without one."""
        return None if self.use.ceiling is None else self.what.shown(self.use.ceiling)

    @property
    def ceiling_words(self) -> str:
        """The operators' ceiling in words, and whether it is below the limit; empty without one."""
        binds = ", which binds" if self.use.clamped else ""
        return "" if self.use.ceiling is None else f"operators’ ceiling {self.what.said(self.use.ceiling)}{binds}"

    @property
    def in_use(self) -> Any:
        """What is in use now."""
        return self.what.shown(self.use.in_use)

    @property
    def used(self) -> str:
        """What is in use now, as text: with decimals where it is not whole."""
        return self.what.figure(self.use.in_use)

    @property
    def over(self) -> Any:
        """How much is in use beyond a lowered limit."""
        return self.what.shown(self.use.over)

    @property
    def counts(self) -> str:
        """What the figures count: `at once`, `a month, in hours`."""
        unit = f", in {self.what.unit_words}" if self.what.unit_words else ""
        return f"{self.what.period_words}{unit}"

    @property
    def share(self) -> float | None:
        """The share of the limit in use; None without one."""
        if self.use.effective is None:
            return None
        return float(self.use.in_use) / self.use.effective if self.use.effective else 1.0

    @property
    def title(self) -> str:
        """The resource, and whose it is unless it is the organisation's."""
        return self.what.title if self.use.scope == ORGANISATION else f"{self.what.title} of {self.whose}"

    @property
    def key(self) -> str:
        """What the page calls this line in its address."""
        return self.use.resource if self.use.scope == ORGANISATION else f"{self.use.resource}@{self.use.scope.text}"


@require_safe
@page("quotas.view")
def quotas_page(request: TenantRequest) -> HttpResponse:
    """List limits; `?edit=RESOURCE` or `?edit=RESOURCE@SCOPE` opens one for a change, `?export=csv` returns a file."""
    if wants_csv(request):
        return csv_response(request, "quotas", COLUMNS, (_exported(line) for line in _lines()))
    return _render(request, editing=request.GET.get("edit", ""))


@page("quotas.manage")
@redirect_get_to("quotas")
def quota_change(request: TenantRequest) -> HttpResponse:
    """Set a limit: the first submission shows the difference and its effect; `confirmed` applies it."""
    actor, form = request.actor, QuotaLimit(request.POST)
    editing = str(request.POST.get("editing", ""))
    if not form.is_valid():
        return _render(request, form=form, editing=editing, status=422)
    resource, limit = form.cleaned_data["resource"].strip(), form.cleaned_data["limit"]
    try:
        scope = scopes.parse(form.cleaned_data["scope"])
        quotas.check_limit(resource, limit, scope=scope)
        line = _line_of(resource, scope)
        if not form.cleaned_data["confirmed"]:
            asked = {
                "line": line,
                "limit": limit,
                "was": _text(line.limit),
                "effect": quotas.preview(resource, scope, limit),
            }
            return _render(request, asked=asked)
        if form.cleaned_data["was"] != _text(line.limit):
            raise Conflict("Somebody else has changed this limit. Check it and try again.")
        quotas.set_limit(actor=actor, resource=resource, limit=limit, scope=scope)
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, form=form, editing=editing, status=refused.status)
    messages.success(request, f"{line.title}: {_words(line.what, limit)}. Effective immediately.")
    return redirect("quotas", request.tenant.slug)


def _lines() -> list[Line]:
    uses = quotas.everywhere()
    known, names = quotas.resources(), scopes.names({use.scope for use in uses})
    changed, queued = audit_queries.last_changes(quotas.QUOTA_CHANGED, "quota"), quotas.queued()
    lines = []
    for use in uses:
        if use.scope != ORGANISATION and use.limit is None and not use.in_use:
            continue
        what = known.get(use.resource, Resource(use.resource, use.resource))
        by = changed.get(label(what, use.scope, names[use.scope]))
        if by is None and use.scope == ORGANISATION:
            by = changed.get(use.resource)  # entries of before name the resource
        waits = what.shown(queued.get((use.resource, use.scope), 0))
        lines.append(Line(use, what, names[use.scope], waits, by.label if by else "", by.at if by else None))
    return sorted(lines, key=lambda line: (list(HEADINGS).index(line.use.scope.kind), line.whose, line.use.resource))


def _line_of(resource: str, scope: Scope) -> Line:
    use, whose = quotas.use_of(resource, scope), scopes.names([scope])[scope]
    return Line(use, quotas.resources().get(resource, Resource(resource, resource)), whose, 0, "", None)


def _exported(line: Line) -> list[Any]:
    return [
        line.use.resource, line.limit, line.in_use, line.changed_by, line.changed_at, line.use.scope.text,
        line.use.period, line.what.unit_words, line.ceiling, line.queued,
    ]  # fmt: skip


def _text(limit: Any) -> str:
    return "" if limit is None else str(limit)


def _words(what: Resource, limit: int | None) -> str:
    return "no limit" if limit is None else f"limit {what.said(limit * what.unit)}"


def _tree(lines: list[Line]) -> list[tuple[str, list[Line], int]]:
    """Return the lines under their headings, at most so many, and how many more there are."""
    found = [(heading, [line for line in lines if line.use.scope.kind == kind]) for kind, heading in HEADINGS.items()]
    return [(heading, some[:MOST], max(0, len(some) - MOST)) for heading, some in found if some]


def _render(
    request: TenantRequest, *, form: QuotaLimit | None = None, editing: str = "", status: int = 200, **given: Any
) -> HttpResponse:
    lines, may = _lines(), request.actor.can("quotas.manage")
    context: dict[str, Any] = {"tree": _tree(lines), "can_manage": may, "editing": "", **given}
    context["set_here"] = "#set" if may else ""
    known = next((line for line in lines if line.key == editing), None)
    if known is not None:
        initial = {"resource": known.use.resource, "scope": known.use.scope.text, "limit": known.limit}
        context |= {"editing": known.key, "form": form or QuotaLimit(initial=initial, auto_id="edit_%s")}
    elif form is not None:
        context["new_form"] = form
    if may:
        context.setdefault("new_form", QuotaLimit(auto_id="new_%s"))
        fields = context["new_form"].fields
        fields["resource"].widget = Select(choices=[("", "Choose one"), *quotas.titles().items()])
        fields["scope"].widget = Select(choices=_offered())
    return render(request, "tenants/quotas.html", context, status=status)


def _offered() -> list[tuple[str, Any]]:
    """Return the scopes to choose from."""
    projects = [(Scope(project_id=one.id).text, one.name) for one in queries.projects()]
    people = [(Scope(person=one.user_id).text, one.email) for one in queries.members()]
    return [(ORGANISATION.text, "The organisation"), ("Projects", projects), ("People", people[:MOST])]
