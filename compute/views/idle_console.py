"""The console's page of idle work: that of all organisations by the money that is lost, and the platform's rules for it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from compute.cluster.idle_work import MOST, idle_of_all
from compute.idle import rules
from compute.queries.capacity import class_title
from compute.views.forms import PoolRuleForm
from compute.views.idle import sums
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("fleet.view")
def idle_work(request: OperatorRequest) -> HttpResponse:
    """Show idle work, most money lost first, and the rules. A POST sets one."""
    bound = request.method == "POST"
    if bound:
        request.operator.require("fleet.manage")
    form = PoolRuleForm(request.POST if bound else None)
    if bound and done(
        form,
        lambda: rules.set_pool(
            operator=request.operator,
            device_class=form.cleaned_data["device_class"],
            figures=form.figures,
            reason=form.cleaned_data["reason"],
        ),
    ):
        messages.success(request, "The rule is set. It counts for organisations without a rule of their own.")
        return redirect("operator-idle")
    rows, work = rules.pool_rules(), idle_of_all()
    context = {
        "work": work,
        "capped": len(work) == MOST,
        "hourly": sums(row.per_hour for row in work),
        "rules": [(row, class_title(row.device_class) if row.device_class else "All other classes") for row in rows],
        "built_in": None if any(not row.device_class for row in rows) else rules.BUILT_IN,
        "form": form,
        "may_manage": request.operator.can("fleet.manage"),
    }
    return render(request, "compute/idle_console.html", context, status=422 if form.errors else 200)


@require_POST
@operator_page("fleet.manage")
def idle_rule_removed(request: OperatorRequest) -> HttpResponse:
    """Remove a rule."""
    name, reason = request.POST.get("device_class", ""), request.POST.get("reason", "")
    rules.remove_pool(operator=request.operator, device_class=name, reason=reason)
    messages.success(request, "The rule is removed.")
    return redirect("operator-idle")
