"""The page of the rules by which shared cost is split between projects: a list, and a form for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.allocation.shared_costs import MOST_RULES, fingerprint, set_shared_costs, shared_costs
from billing.allocation.sharing import Rule
from billing.forms.shared_costs import RuleForm, changed, words
from tenants import quotas
from tenants.errors import ExchequerError
from tenants.models import Project
from tenants.projects.sight import named
from tenants.web.form_posts import explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page

#: Projects that the form offers; the API takes any.
MOST_PROJECTS = 200


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.manage")
def shared_costs_page(request: TenantRequest) -> HttpResponse:
    """Show the rules; `?rule=N` opens one for a change. A POST saves a rule, removes one or moves it up."""
    given = request.POST if request.method == "POST" else request.GET
    n = int(text) if (text := given.get("rule", "")).isdecimal() and len(text) < 3 else None
    if request.method != "POST":
        return _render(request, n)
    act, rules = request.POST.get("act", "save"), shared_costs()
    form = _form(request, n, bound=True) if act == "save" else None
    if form is None or form.is_valid():
        try:
            wanted = changed(rules, act, n, form.rule if form else None)
            set_shared_costs(actor=request.actor, rules=wanted, instead_of=request.POST.get("shown", ""))
        except ExchequerError as refused:
            if form is None:
                return _render(request, None, refused=refused.message)
            explain(form, refused)
        else:
            messages.success(request, "Shared cost saved. Chargeback shows every month by these rules.")
            return redirect("shared-costs", request.tenant.slug)
    return _render(request, n, form=form)


def _projects(rules: Sequence[Rule]) -> dict[str, str]:
    """Return the projects that the form offers by id, and those that the rules name."""
    rows = Project.objects.filter(named("id")).order_by("archived_at", "name", "id").values_list("pk", "name")
    of_rules = {one for rule in rules for one in (rule.project, *rule.shares) if one}
    found = {str(pk): name for pk, name in rows[:MOST_PROJECTS]}
    return found | {str(pk): name for pk, name in rows.filter(pk__in=of_rules - found.keys())}


def _form(request: TenantRequest, n: int | None, *, bound: bool = False) -> RuleForm:
    rules = shared_costs()
    rule = rules[n - 1] if n and n <= len(rules) else None
    return RuleForm(request.POST if bound else None, projects=_projects(rules), resources=quotas.titles(), rule=rule)


def _render(request: TenantRequest, n: int | None, *, form: RuleForm | None = None, **given: Any) -> HttpResponse:
    rules, resources = shared_costs(), quotas.titles()
    projects = _projects(rules)
    context = {
        "rules": [words(rule, projects, resources) for rule in rules],
        "shown": fingerprint(rules),
        "changing": n if n and n <= len(rules) else None,
        "form": form or _form(request, n),
        "room": len(rules) < MOST_RULES,
        **given,
    }
    return render(request, "billing/shared_costs.html", context, status=422 if form or given else 200)
