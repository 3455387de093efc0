"""Error pages: what happened, what to do, and the request's id for support."""

import errno
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from tenants.web import problems
from tenants.web.error_pages import HEADINGS, context_of, log_in_url, page_behind, status_text, without_database
from tenants.web.middleware import enter_by_address

STALE_FORM = "This form has expired or came from another site. Reload the page and submit it again."


def error_page(request: HttpRequest, status: int, *, title: str = "", advice: str = "") -> HttpResponse:
    """Return an error as a page or, under /api/, as problem+json."""
    words = status_text(status)
    if request.path_info.startswith("/api/"):
        return problems.json_problem(request, status=status, code=words.code, title=title or words.title)
    context = context_of(request, status, title or words.title, advice or words.advice)
    context["heading"] = HEADINGS.get(status, "")
    return render(request, "error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the page of a 400."""
    return error_page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the page of a 403."""
    return error_page(request, 403)


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the page of a 429, for allauth's limits."""
    answer = error_page(request, 429)
    answer["Retry-After"] = "60"
    return answer


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return 403 for a missing or old CSRF token, with a link back to the form, through the login page if logged out."""
    words = ("This form is no longer valid.", STALE_FORM)
    if request.path_info.startswith("/api/"):
        return error_page(request, 403, title=words[0], advice=words[1])
    form = page_behind(request)
    back, label = form, "Back to the form"
    if not request.user.is_authenticated:
        back, label = log_in_url(form), "Log in"
    context = {**context_of(request, 403, *words), "back": back, "back_label": label, "unsent": form}
    return render(request, "error.html", context, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return 404: the same page for a missing object and another tenant's.

    An address that no page has, inside an organisation of the reader, keeps the organisation's navigation.
    """
    enter_by_address(request)
    return error_page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 500, or 503 if the database is unreachable or the disk is full, which are temporary."""
    error = sys.exc_info()[1]
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    away = full or isinstance(error, OperationalError | InterfaceError)
    return without_database(request, 503 if away else 500)
