"""Open a look inside a tenant with its ticket, and leave it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from tenants.errors import NotFound
from tenants.identity import looks
from tenants.web import rate_limits

LONGEST_TICKET = 100


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def look_open(request: HttpRequest) -> HttpResponse:
    """Ask for a click, and then open the look: a browser that fetches links ahead uses no ticket."""
    if request.method != "POST":
        return render(request, "tenants/look_open.html", {"ticket": request.GET.get("ticket", "")[:LONGEST_TICKET]})
    rate_limits.take(request, "look", request.META.get("REMOTE_ADDR", ""))
    try:
        opened = looks.open_look(request, request.POST.get("ticket", "")[:LONGEST_TICKET])
    except NotFound as gone:
        return render(request, "tenants/look_open.html", {"gone": gone.message}, status=404)
    return redirect(reverse("projects", args=[opened.slug]))


@require_POST
def look_leave(request: HttpRequest) -> HttpResponse:
    """Leave the look in this browser. It lasts until its end, or until it is ended in the console."""
    if looks.is_looking(request):
        request.session.flush()
    return render(request, "tenants/look_open.html", {"left": True})
