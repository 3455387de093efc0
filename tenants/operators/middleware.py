"""Context of every request to the console: errors as pages, and a second factor before anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from tenants.access.reader import reading_as
from tenants.identity import second_factor
from tenants.web.error_pages import explained
from tenants.web.middleware import answer_to

#: What an operator without a second factor may open: the pages that set one up. The API refuses by itself.
NOT_ASKED = ("/accounts/", "/api/")


class ConsoleMiddleware:
    """Asks an operator for a second factor before their first page, and turns errors into pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, without reader and in UTC."""
        with reading_as(None), timezone.override(None):
            return explained(request, self.get_response(request))

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Redirect a session without a second factor to where it shows one, or sets one up."""
        if not request.user.is_authenticated or not second_factor_required():
            return None
        if request.path_info.startswith(NOT_ASKED) or second_factor.is_proven(request):
            return None
        return redirect(second_factor.where_to_prove(request))

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Respond to an expected error of a page; its writes were rolled back."""
        return answer_to(request, error)


def second_factor_required() -> bool:
    """Return whether operators need a second factor: always but in a demo that no other machine can reach."""
    env = settings.EXCHEQUER
    return not (env.demo and env.demo_logins)
