"""Addresses that take a form and nothing else: who opens one in the browser is led to the page the form stands on."""

import functools
from collections.abc import Callable

from django.http import HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect

from tenants.web.requests import TenantRequest

View = Callable[[TenantRequest], HttpResponse]


def posted(back: str) -> Callable[[View], View]:
    """Let a view see POST alone and lead a GET to the page `back`. Stands below `page`, which checks the permission.

    What a form answers may be shown at such an address, and Enter in the address bar asks for it again with GET.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def run(request: TenantRequest) -> HttpResponse:
            if request.method == "POST":
                return view(request)
            if request.method in ("GET", "HEAD"):
                return redirect(back, request.tenant.slug)
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])

        return run

    return decorate
