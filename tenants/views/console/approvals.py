"""The console's approvals: what tenants ask of operators, and the answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants.errors import ExchequerError, NotFound
from tenants.models import ApprovalState
from tenants.operators.answers import answering, queries
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.views.console.forms import Answer
from tenants.web.form_posts import explain
from tenants.web.pagination import before, paged

PAGE = 50


@require_safe
@operator_page("quotas.view")
def approvals_page(request: OperatorRequest) -> HttpResponse:
    """List the requests of all tenants that wait, newest first; `?show=all` lists answered ones too."""
    return _listed(request)


@require_POST
@operator_page("approvals.answer")
def approval_answer(request: OperatorRequest, approval_id: UUID) -> HttpResponse:
    """Approve or decline a request for a reason, as the pressed button says."""
    form = Answer(request.POST)
    if form.is_valid():
        granted, reason = form.cleaned_data["answer"] == "approve", form.cleaned_data["reason"]
        try:
            row = answering.answer(operator=request.operator, approval_id=approval_id, granted=granted, reason=reason)
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
            return _listed(request, form=form, status=refused.status)
        messages.success(request, f"The request of {row.requester_label} is {row.state}.")
        return redirect("operator-approvals")
    return _listed(request, form=form, status=422)


def _listed(request: OperatorRequest, *, status: int = 200, **given: Any) -> HttpResponse:
    everything = request.GET.get("show") == "all"
    state = "" if everything else ApprovalState.OPEN
    rows = queries.requests(request.operator, state=state, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {
        "rows": shown,
        "everything": everything,
        "may_answer": request.operator.can("approvals.answer"),
        **links,
        **given,
    }
    return render(request, "console/approvals.html", context, status=status)
