"""Error pages: what happened, what to do, and the request's id for whoever is asked for help."""

import sys
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlencode

from tenants import problems
from tenants.middleware import page_behind


@dataclass(frozen=True)
class Words:
    """What one status says: its stable code, what happened, what to do about it."""

    code: str
    title: str
    advice: str


WORDS = {
    400: Words(
        "bad_request",
        "This request cannot be read.",
        "Go back, check what was entered and send it again.",
    ),
    403: Words(
        "permission_denied",
        "Your role does not include this.",
        "Ask an owner or admin of the organisation.",
    ),
    404: Words(
        "not_found",
        "There is nothing here.",
        "The link is wrong, the thing was removed, or it belongs to an organisation you are not a member of.",
    ),
    405: Words(
        "method_not_allowed",
        "This page cannot be used that way.",
        "Go back and use the button or form on the page.",
    ),
    413: Words("too_large", "That file is too large.", "Choose a smaller file, or split it."),
    422: Words(
        "invalid",
        "Some values cannot be accepted.",
        "Go back, correct the marked fields and send the form again.",
    ),
    500: Words(
        "internal_error",
        "Something broke on our side.",
        "Nothing was half done. If it happens twice, pass on the number of the request.",
    ),
    503: Words(
        "unavailable",
        "A part of Exchequer is away for a moment.",
        "Nothing was changed; try again in a few seconds.",
    ),
}
STALE_FORM = "This form was open for too long or came from another site. Reload the page and send it again."


def error_page(request: HttpRequest, status: int, *, title: str = "", advice: str = "") -> HttpResponse:
    """Answer an error as a page or, under /api/, as problem+json."""
    words = WORDS[status]
    if request.path_info.startswith("/api/"):
        return problems.json_problem(request, status=status, code=words.code, title=title or words.title)
    context = _context(request, status, title or words.title, advice or words.advice)
    return render(request, "error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 400."""
    return error_page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 403."""
    return error_page(request, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 for a missing or old CSRF token, with the way back to the form: through the log-in page without a session."""
    words = ("This form is no longer valid.", STALE_FORM)
    if request.path_info.startswith("/api/"):
        return error_page(request, 403, title=words[0], advice=words[1])
    back, label = page_behind(request), "Back to the form"
    if not request.user.is_authenticated:
        back, label = f"{reverse('account_login')}?{urlencode({'next': back})}", "Log in"
    context = {**_context(request, 403, *words), "back": back, "back_label": label}
    return render(request, "error.html", context, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 404: the same page for what is missing and for what is another tenant's."""
    return error_page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 when the database is away."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    return without_database(request, 503 if away else 500)


def without_database(request: HttpRequest, status: int) -> HttpResponse:
    """Answer a status by problem+json or by the page that reads neither session nor database."""
    words = WORDS[status]
    answer: HttpResponse
    if request.path_info.startswith("/api/"):
        answer = problems.json_problem(request, status=status, code=words.code, title=f"{words.title} {words.advice}")
    else:
        answer = plain_page(request, status, title=words.title, advice=words.advice)
    if status == 503:
        answer["Retry-After"] = "5"
    return answer


def plain_page(request: HttpRequest, status: int, *, title: str, advice: str) -> HttpResponse:
    """Answer an error page that reads neither session nor database."""
    nonce = {"csp_nonce": getattr(request, "csp_nonce", "")}
    page = render_to_string(
        "error.html",
        {
            **_context(request, status, title, advice),
            "request": nonce,
            "theme": "light",
        },
    )
    return HttpResponse(page, status=status)


def _context(request: HttpRequest, status: int, title: str, advice: str) -> dict[str, object]:
    return {
        "status": status,
        "title": title,
        "advice": advice,
        "request_id": getattr(request, "request_id", ""),
    }
