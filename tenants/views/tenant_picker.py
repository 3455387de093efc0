"""The start page: choose an organisation."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from tenants import queries
from tenants.web.navigation import home_url, operator_link


@login_required
def pick_tenant(request: HttpRequest) -> HttpResponse:
    """List one's organisations, or redirect to the only one; an operator without one goes to the platform."""
    tenants = queries.tenants_of(request.user.id)  # type: ignore[arg-type]
    if not tenants and request.user.is_operator:  # type: ignore[union-attr]
        return redirect(operator_link().url)
    if len(tenants) == 1:
        return redirect(home_url(tenants[0].slug))
    return render(request, "tenants/entrance.html", {"tenants": tenants})
