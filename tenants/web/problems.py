"""Errors on the API, mapped once: problem+json (RFC 9457) with a stable `code` and the request's id."""

from typing import Any, TypeGuard

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.http import Http404, HttpRequest, JsonResponse
from psycopg.errors import UniqueViolation
from rest_framework import exceptions
from rest_framework.response import Response

from tenants import errors
from tenants.audit import refusals
from tenants.errors import (
    ChangedAtOnce,
    ExchequerError,
    Invalid,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from tenants.isolation.scoping import scope_open
from tenants.web.requests import is_admitted

log = structlog.get_logger(__name__)

REFUSAL = "_refusal"
NON_FIELD = "non_field_errors"
CONTENT_TYPE = "application/problem+json"
REST_CODES = {
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


def problem(*, status: int, code: str, title: str, request: Any, **extra: Any) -> dict[str, Any]:
    """Return the body of an error."""
    return errors.problem(status=status, code=code, title=title, request_id=request_id_of(request), **extra)


def request_id_of(request: Any) -> str:
    """Return the id of a request; empty before the middleware has given it one."""
    return getattr(request, "request_id", "")


def from_error(error: ExchequerError, request: Any) -> dict[str, Any]:
    """Return the body for a domain error."""
    return error.problem(request_id_of(request))


def expected(error: BaseException) -> ExchequerError | None:
    """Return the domain error that an exception is, or stands for: of two that make the same at once, the second gets one."""
    if isinstance(error, ExchequerError):
        return error
    if isinstance(error, IntegrityError) and isinstance(error.__cause__, UniqueViolation):
        return ChangedAtOnce()
    return None


def note_refusal(request: HttpRequest) -> None:
    """Record in the audit log that this request was refused, if it would have changed something.

    Call it when the request's own transaction is over: the refusal rolled that back.
    """
    error, where = getattr(request, REFUSAL, None), request.resolver_match
    if error is None or where is None or not is_admitted(request) or request.method in ("GET", "HEAD", "OPTIONS"):
        return
    try:
        refusals.note(request.actor, error, f"{request.method} /{where.route}")
    except (OperationalError, InterfaceError):
        log.warning("refusal.not_recorded", permission=error.extra.get("permission"))


def remember_refusal(request: HttpRequest, error: Exception | None) -> None:
    """Keep for `note_refusal` that rights were missing; other errors say nothing about the reader."""
    if rights_missing(error):
        setattr(request, REFUSAL, error)


def rights_missing(error: Exception | None) -> TypeGuard[PermissionDenied]:
    """Return whether an error refuses for missing rights, and for nothing else."""
    return isinstance(error, PermissionDenied) and error.code == PermissionDenied.code


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response for an expected error; undo what the request wrote so far.

    Unexpected ones go on to the 500 page.
    """
    request = context["request"]._request
    remember_refusal(request, _as_domain_error(error))
    response = response_to(error, request)
    if response is not None and scope_open():
        transaction.set_rollback(True)
    return response


def response_to(error: Exception, request: Any) -> Response | None:
    """Return the response for an expected error of a request, which has a `request_id`; None for any other."""
    mapped = _as_domain_error(error)
    if mapped is not None:
        body, headers = from_error(mapped, request), retry_after(mapped)
    elif isinstance(error, exceptions.APIException):
        status = error.status_code
        body = problem(
            status=status,
            code=REST_CODES.get(status, "invalid"),
            title=_sentence(error.detail),
            request=request,
        )
        headers = {}
        if isinstance(error, exceptions.ValidationError):
            body["fields"] = errors.without_credentials(by_field(error.detail))
        if challenge := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = challenge
        if wait := getattr(error, "wait", None):
            headers["Retry-After"] = str(int(wait) + 1)
    else:
        return None
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)


def json_problem(request: HttpRequest, *, status: int, code: str, title: str) -> JsonResponse:
    """Return an error outside REST views: unknown routes, failed CSRF checks, crashes."""
    return JsonResponse(
        problem(status=status, code=code, title=title, request=request),
        status=status,
        content_type=CONTENT_TYPE,
    )


def _as_domain_error(error: Exception) -> ExchequerError | None:
    if (known := expected(error)) is not None:
        return known
    if isinstance(error, Http404 | exceptions.NotFound):
        return NotFound()
    if isinstance(error, DjangoPermissionDenied):
        return PermissionDenied()
    if isinstance(error, exceptions.PermissionDenied):
        own_words = str(error.detail) != str(exceptions.PermissionDenied.default_detail)
        return PermissionDenied(str(error.detail) if own_words else None)
    if isinstance(error, exceptions.ParseError):
        return Invalid(f"The request cannot be read: {error.detail}")
    return None


def retry_after(error: ExchequerError) -> dict[str, str]:
    """Return the Retry-After header for a temporary error."""
    wait = error.extra.get("retry_after", 5 if isinstance(error, Unavailable) else None)
    return {"Retry-After": str(wait)} if wait is not None else {}


def by_field(detail: Any, name: str = "") -> dict[str, list[str]]:
    """Return messages by field, with faults inside a list or an object as `prices.0.unit_amount`."""
    if isinstance(detail, dict):
        parts = [(str(key), value) for key, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        parts = [(str(at), value) for at, value in enumerate(detail)]
    else:
        return {name: [str(item) for item in detail] if isinstance(detail, list) else [str(detail)]}
    found: dict[str, list[str]] = {}
    for key, value in parts:
        inner = name if key == NON_FIELD and name else f"{name}.{key}".strip(".")
        for field, messages in by_field(value, inner).items():
            found.setdefault(field, []).extend(messages)
    return {field: messages for field, messages in found.items() if messages}


def _sentence(detail: Any) -> str:
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_sentence(value)}" for name, value in detail.items())
    if isinstance(detail, list):
        return " ".join(_sentence(item) for item in detail)
    return str(detail)
