"""The entrance: which organisation to look at."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from tenants import queries


@login_required
def entrance(request: HttpRequest) -> HttpResponse:
    """Show the tenants one belongs to, or go straight to the only one; an operator of none goes to the platform."""
    tenants = queries.tenants_of(request.user.id)  # type: ignore[arg-type]
    if not tenants and request.user.is_operator:  # type: ignore[union-attr]
        return redirect("operator-fleet")
    if len(tenants) == 1:
        return redirect("overview", tenants[0].slug)
    return render(request, "tenants/entrance.html", {"tenants": tenants})
