"""Shared parts of error responses, with or without a database: texts, pages, and the link back to a form."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from tenants.errors import ExchequerError
from tenants.web import problems


@dataclass(frozen=True)
class StatusText:
    """Texts of one status: its stable code, what happened, what to do about it."""

    code: str
    title: str
    advice: str


STATUS_TEXTS = {
    400: StatusText(
        "bad_request",
        "This request cannot be read.",
        "Go back, check your input and submit it again.",
    ),
    403: StatusText(
        "permission_denied",
        "Your role does not include this.",
        "Contact an owner or admin of the organisation.",
    ),
    404: StatusText(
        "not_found",
        "Page not found.",
        "The link is wrong, the object was removed, or it belongs to an organisation that you are not a member of.",
    ),
    405: StatusText(
        "method_not_allowed",
        "This page cannot be used that way.",
        "Go back and use the button or form on the page.",
    ),
    413: StatusText(
        "too_large",
        "The request is too large.",
        "Send less at once.",
    ),
    422: StatusText(
        "invalid",
        "Some values cannot be accepted.",
        "Go back, correct the marked fields and submit the form again.",
    ),
    429: StatusText(
        "rate_limited",
        "Too many requests.",
        "Wait a minute and try again.",
    ),
    500: StatusText(
        "internal_error",
        "Something went wrong on our side.",
        "Nothing was changed in part. If it happens again, report the request id to your administrator.",
    ),
    503: StatusText(
        "unavailable",
        "A part of Exchequer is temporarily unavailable.",
        "Nothing was changed; try again in a few seconds.",
    ),
}

_advice: dict[int, Callable[[], str]] = {}


def register_advice(status: int, advice: Callable[[], str]) -> None:
    """Set what an app above advises at a status that its own limits bring about."""
    _advice[status] = advice


def status_text(status: int) -> StatusText:
    """Return what a status says, with the advice that an app has registered. Raises KeyError for a status without a text."""
    text = STATUS_TEXTS[status]
    return replace(text, advice=_advice[status]()) if status in _advice else text


#: Heading of an error inside an organisation's pages.
HEADINGS = {
    400: "Not accepted",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    408: "Too slow",
    409: "Not possible now",
    413: "Too large",
    422: "Not accepted",
    429: "Too many requests",
    503: "Not available",
}

#: Set in the WSGI environment by a web server that refused a request's body: the status or the error to return.
REFUSED = "exchequer.refused"
#: The form of SCIM's errors; `tenants.scim` is above this.
SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def without_database(request: HttpRequest, refusal: int | ExchequerError) -> HttpResponse:
    """Return a status or an error as problem+json or as the page that reads neither session nor database."""
    answer: HttpResponse
    if isinstance(refusal, ExchequerError):
        if request.path_info.startswith("/api/"):
            body = problems.from_error(refusal, request)
            answer = JsonResponse(body, status=refusal.status, content_type=problems.CONTENT_TYPE)
        else:
            title = f"{HEADINGS[refusal.status]}."
            answer = plain_page(request, refusal.status, title=title, advice=refusal.message)
        for name, value in problems.retry_after(refusal).items():
            answer[name] = value
        return answer
    status, words = refusal, status_text(refusal)
    if request.path_info.startswith("/api/"):
        answer = problems.json_problem(request, status=status, code=words.code, title=f"{words.title} {words.advice}")
    elif request.path_info.startswith("/scim/"):
        body = {"schemas": [SCIM_ERROR], "status": str(status), "detail": f"{words.title} {words.advice}"}
        answer = JsonResponse(body, status=status, content_type="application/scim+json")
    else:
        answer = plain_page(request, status, title=words.title, advice=words.advice)
    if status == 503:
        answer["Retry-After"] = "5"
    return answer


def explained(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return a page in place of a bare 405: an address that takes forms alone is opened by a reload, or from the history."""
    bare = response.status_code == 405 and not response.streaming and not response.content
    if (
        not bare
        or request.method not in ("GET", "HEAD")
        or request.path_info.startswith(("/api/", "/scim/", "/webhooks/"))
    ):
        return response
    words = status_text(405)
    context = {**context_of(request, 405, words.title, words.advice), "heading": HEADINGS[405]}
    page = render_to_string("error.html", context, request)
    return HttpResponse(page, status=405, headers={"Allow": response["Allow"]})


def plain_page(request: HttpRequest, status: int, *, title: str, advice: str) -> HttpResponse:
    """Return an error page that reads neither session nor database."""
    nonce = {"csp_nonce": getattr(request, "csp_nonce", "")}
    page = render_to_string(
        "error.html",
        {
            **context_of(request, status, title, advice),
            "request": nonce,
            "theme": "light",
        },
    )
    return HttpResponse(page, status=status)


def context_of(request: HttpRequest, status: int, title: str, advice: str) -> dict[str, object]:
    """Return the context of the error page."""
    return {
        "status": status,
        "title": title,
        "advice": advice,
        "request_id": getattr(request, "request_id", ""),
    }


def page_behind(request: HttpRequest) -> str:
    """Return the page that a person came from, same origin only; not a fragment, and not the form's own target."""
    partial = bool(request.headers.get("HX-Request"))
    if not partial and request.method in ("GET", "HEAD"):
        return request.get_full_path()
    named = request.headers.get("HX-Current-URL" if partial else "Referer", "")
    if url_has_allowed_host_and_scheme(named, {request.get_host()}, require_https=request.is_secure()):
        parts = urlsplit(named)
        return urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return "/"


def log_in_url(page: str, *, ended: bool = False) -> str:
    """Return the URL of the login page that redirects to `page` afterwards; it says so if a session has `ended`."""
    asked = {"next": page, **({"ended": "1"} if ended else {})}
    return f"{reverse('account_login')}?{urlencode(asked)}"
