"""Errors in the form of SCIM (RFC 7644, 3.12)."""

from __future__ import annotations

from typing import Any

from tenants.errors import ExchequerError, Invalid, NotFound, Unavailable, without_credentials

SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"


class ScimError(ExchequerError):
    """The request was refused."""

    status = 400
    scim_type = ""


class InvalidValue(ScimError):
    """A value is not valid."""

    scim_type = "invalidValue"


class InvalidSyntax(ScimError):
    """The body does not have the form that SCIM asks for."""

    scim_type = "invalidSyntax"


class InvalidFilter(ScimError):
    """Use a filter such as userName eq "ana@example.org"."""

    scim_type = "invalidFilter"


class InvalidPath(ScimError):
    """A path names one attribute, with at most one filter in brackets."""

    scim_type = "invalidPath"


class NoTarget(ScimError):
    """A removal names the path of what it removes."""

    scim_type = "noTarget"


class Taken(ScimError):
    """There is one with this name already."""

    status = 409
    scim_type = "uniqueness"


class Unauthorised(ScimError):
    """This SCIM token is unknown, expired or revoked, or the identity provider is disabled."""

    status = 401


def body_of(status: int, detail: str, scim_type: str = "") -> dict[str, Any]:
    """Return the body of an error."""
    found = {"schemas": [SCHEMA], "status": str(status), "detail": without_credentials(detail)}
    return {**found, "scimType": scim_type} if scim_type else found


def of(error: ExchequerError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, body and headers of one of our errors."""
    known = getattr(error, "scim_type", "") or ("invalidValue" if isinstance(error, Invalid) else "")
    detail = (
        "There is no such resource." if isinstance(error, NotFound) and error.message == "Not found." else error.message
    )
    seconds = error.extra.get("retry_after") or (5 if isinstance(error, Unavailable) else None)
    headers = {"Retry-After": str(seconds)} if seconds else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="exchequer scim"'
    return error.status, body_of(error.status, detail, known), headers
