"""The list of jobs whose devices do nothing, by the money that is lost."""

from collections.abc import Iterable

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.money import Money
from compute.queries.idle import MOST, idle_jobs
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("jobs.view")
def idle(request: TenantRequest) -> HttpResponse:
    """Show the idle jobs, most money lost first, and what they lose together in each hour."""
    rows = idle_jobs()
    context = {"jobs": rows, "capped": len(rows) == MOST, "hourly": _sums(row.per_hour for row in rows)}
    return render(request, "compute/idle.html", context)


def _sums(amounts: Iterable[Money]) -> list[Money]:
    """Return the sums by currency."""
    sums: dict[str, Money] = {}
    for amount in amounts:
        sums[amount.currency] = sums[amount.currency] + amount if amount.currency in sums else amount
    return [sums[currency] for currency in sorted(sums)]
