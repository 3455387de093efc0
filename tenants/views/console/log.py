"""The console's page of the operator log: its entries, and who has reviewed them."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from tenants.operators.log import queries, reviews
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.views.audit import ReviewForm
from tenants.views.console.forms import LogFilter
from tenants.web.pagination import before, paged

PAGE = 50


@require_safe
@operator_page("log.view")
def log_page(request: OperatorRequest) -> HttpResponse:
    """List the operator log, newest first, filtered."""
    return _listed(request)


@require_POST
@operator_page("log.review")
def log_review(request: OperatorRequest) -> HttpResponse:
    """Record that the operator has reviewed the log up to an entry."""
    form = ReviewForm(request.POST)
    if form.record(request, reviews.review, operator=request.operator):
        return redirect("operator-acts")
    return _listed(request, form, status=422)


def _listed(request: OperatorRequest, review: ReviewForm | None = None, *, status: int = 200) -> HttpResponse:
    form = LogFilter(request.GET)
    chosen = form.chosen()
    rows = queries.acts(queries.ActFilter(**chosen), before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    if review is None and request.operator.can("log.review"):
        review = ReviewForm(initial={"up_to": reviews.newest()})
    context: dict[str, Any] = {
        "acts": shown,
        "form": form,
        "filtered": bool(chosen),
        "review": reviews.last_review(),
        "review_form": review,
        "review_url": reverse("operator-log-review"),
        **links,
    }
    return render(request, "console/log.html", context, status=status)
