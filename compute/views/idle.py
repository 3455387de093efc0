"""The list of jobs whose devices do nothing, by the money that is lost, and the organisation's rule for it."""

from collections.abc import Iterable
from dataclasses import asdict

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from billing.money import Money
from compute.idle import rules
from compute.queries.idle import MOST, idle_jobs
from compute.views.forms import IdleRuleForm
from tenants.web.form_posts import done
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("jobs.view")
def idle(request: TenantRequest) -> HttpResponse:
    """Show the idle jobs, most money lost first, what they lose together in each hour, and the rule in force."""
    rows = idle_jobs()
    context = {
        "jobs": rows,
        "capped": len(rows) == MOST,
        "hourly": sums(row.per_hour for row in rows),
        "rules": rules.rules(),
        "can_manage": request.actor.can("quotas.manage"),
    }
    return render(request, "compute/idle.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page("quotas.manage")
def idle_rule(request: TenantRequest) -> HttpResponse:
    """Show the organisation's rule. A POST sets it, or with `act=platform` returns to those of the platform."""
    found = rules.rules()
    if request.method == "POST" and request.POST.get("act") == "platform":
        rules.set_own(actor=request.actor, figures=None)
        messages.success(request, "The rules of the platform are in force.")
        return redirect("idle-jobs", request.tenant.slug)
    bound = request.POST if request.method == "POST" else None
    form = IdleRuleForm(bound, initial=asdict(found.general))
    if bound is not None and done(form, lambda: rules.set_own(actor=request.actor, figures=form.figures)):
        messages.success(request, "Rule saved. It counts from the next look on, within a minute.")
        return redirect("idle-jobs", request.tenant.slug)
    return render(request, "compute/idle_rule.html", {"form": form, "rules": found}, status=422 if form.errors else 200)


def sums(amounts: Iterable[Money]) -> list[Money]:
    """Return the sums by currency."""
    sums: dict[str, Money] = {}
    for amount in amounts:
        sums[amount.currency] = sums[amount.currency] + amount if amount.currency in sums else amount
    return [sums[currency] for currency in sorted(sums)]
