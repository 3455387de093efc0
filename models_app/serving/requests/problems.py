"""Problems of requests as problem+json, with the API's shape and codes but without Django's request."""

from __future__ import annotations

import orjson

from tenants.errors import ExchequerError, Invalid, NotFound, PermissionDenied, RateLimited, Unavailable

Headers = list[tuple[bytes, bytes]]


class Unauthenticated(ExchequerError):
    """A valid endpoint key is needed: Authorization: Bearer <endpoint key>."""

    code = "not_authenticated"
    status = 401


class NoSuchModel(NotFound):
    """There is no such model for this key. A key calls one endpoint, by the endpoint's name."""


class NotReady(Unavailable):
    """The endpoint is being loaded. Try again shortly."""

    code = "endpoint_not_ready"


class BudgetSpent(ExchequerError):
    """The budget that pays for this endpoint is used up. Raise it, or wait for the next month."""

    code = "budget_exceeded"
    status = 402


class Stopped(BudgetSpent):
    """This endpoint was stopped: its budget has no room for it. Raise the budget, then deploy it again."""


class Suspended(PermissionDenied):
    """The organisation of this endpoint is suspended or being closed. Ask its owners. This key works again once it is resumed."""

    code = "tenant_suspended"


class NotDeployedAgain(Unavailable):
    """This endpoint is stopped. Ask the organisation that runs it to deploy it again; this key stays valid."""

    code = "endpoint_stopped"


#: By the cause for which an endpoint is stopped.
OF_CAUSES: dict[str, type[ExchequerError]] = {
    "suspended": Suspended,
    "budget": Stopped,
    "refused": NotDeployedAgain,
}


class UsageNotRecorded(Unavailable):
    """The answer could not be accounted for, so it was not given and is not charged. Try again shortly."""

    code = "usage_not_recorded"


class NotJSON(Invalid):
    """The body is not JSON."""

    code = "invalid_json"


class BadBody(Invalid):
    """The body does not have the format of this route."""

    code = "invalid_body"


class BadInstanceProblem(ExchequerError):
    """A row does not fit the model's columns."""

    code = "bad_instance"
    status = 422


class TooLarge(ExchequerError):
    """The request is too large."""

    code = "too_large"
    status = 413


class MethodNotAllowed(ExchequerError):
    """This route does not support this method."""

    code = "method_not_allowed"
    status = 405


class WrongMedia(ExchequerError):
    """Send the body uncompressed."""

    code = "unsupported_media_type"
    status = 415


class Broken(ExchequerError):
    """Something went wrong on our side. It is logged under the request's id and not charged."""

    code = "internal_error"
    status = 500


__all__ = [
    "OF_CAUSES", "BadBody", "BadInstanceProblem", "Broken", "BudgetSpent", "Headers", "MethodNotAllowed", "NoSuchModel",
    "NotDeployedAgain", "NotJSON", "NotReady", "RateLimited", "Stopped", "Suspended", "TooLarge", "Unauthenticated",
    "Unavailable", "UsageNotRecorded", "WrongMedia", "body_of", "headers_of",
]  # fmt: skip


def body_of(error: ExchequerError, request_id: str) -> bytes:
    """Return the error as problem+json. `error` repeats the title, where clients of the inference protocol look."""
    return orjson.dumps({**error.problem(request_id), "error": error.message})


def headers_of(error: ExchequerError) -> Headers:
    """Return the extra headers of an error."""
    headers: Headers = [(b"content-type", b"application/problem+json")]
    wait = error.extra.get("retry_after", 5 if error.status == 503 else 30 if error.status == 402 else None)
    if wait is not None:
        headers.append((b"retry-after", str(wait).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
