"""The start page: choose an organisation."""

from typing import cast

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from tenants import queries
from tenants.identity import sessions
from tenants.models import User
from tenants.web.navigation import home_url


@login_required
def pick_tenant(request: HttpRequest) -> HttpResponse:
    """List one's organisations, or redirect to the only one."""
    person = cast(User, request.user)
    tenants = queries.tenants_of(person.id, bound=sessions.bound_to(request))
    if len(tenants) == 1:
        return redirect(home_url(tenants[0].slug))
    return render(request, "tenants/entrance.html", {"tenants": tenants})
