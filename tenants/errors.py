"""Coded errors. The docstring of a class is its default message; `status` and `code` reach the client.

An error is declared beside the function that raises it; only those of all apps are here.
"""

import re
from typing import Any

#: Credentials of ours, as they begin: a program that sends one in a wrong place gets an answer, and leaves a log, without it.
_CREDENTIAL = re.compile(r"\b(exq|exs|xop|whsec)_[A-Za-z0-9_-]{16,}")


def without_credentials(said: Any) -> Any:
    """Return a text, or a structure of texts, with the credentials in it masked."""
    if isinstance(said, str):
        return _CREDENTIAL.sub(r"\1_***", said)
    if isinstance(said, dict):
        return {without_credentials(key): without_credentials(value) for key, value in said.items()}
    if isinstance(said, list | tuple):
        return [without_credentials(one) for one in said]
    return said


def problem(*, status: int, code: str, title: str, request_id: str, **extra: Any) -> dict[str, Any]:
    """Return the body of an answer that refuses (RFC 9457)."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "request_id": request_id, **extra}
    return {key: without_credentials(value) for key, value in body.items()}


class ExchequerError(Exception):
    """Something was refused."""

    code = "error"
    status = 409

    def __init__(self, message: str | None = None, **extra: Any) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.extra = extra
        super().__init__(self.message)

    def problem(self, request_id: str) -> dict[str, Any]:
        """Return what a client reads (RFC 9457)."""
        extra = {key: value for key, value in self.extra.items() if key not in ("status", "code", "title")}
        return problem(status=self.status, code=self.code, title=self.message, request_id=request_id, **extra)


class Invalid(ExchequerError):
    """Some values are not valid; see the messages beside them."""

    code = "invalid"
    status = 400

    def __init__(
        self,
        message: str | None = None,
        *,
        fields: dict[str, list[str]] | None = None,
        **extra: Any,
    ) -> None:
        self.fields = fields or {}
        if message is None and self.fields:
            message = " ".join(f"{name}: {text}" for name, texts in self.fields.items() for text in texts)
        super().__init__(message, **({"fields": self.fields} if self.fields else {}), **extra)


class PermissionDenied(ExchequerError):
    """Your role does not include this. Contact an owner or admin of the organisation."""

    code = "permission_denied"
    status = 403


class NotFound(ExchequerError):
    """Not found."""

    code = "not_found"
    status = 404


class Conflict(ExchequerError):
    """This conflicts with existing data."""

    code = "conflict"
    status = 409


class ChangedAtOnce(Conflict):
    """Somebody made or changed the same at this very moment. Nothing was changed; reload, and try again."""

    code = "changed_at_once"


class RateLimited(ExchequerError):
    """Too many requests. Wait a moment and try again."""

    code = "rate_limited"
    status = 429


class Unavailable(ExchequerError):
    """A part of Exchequer is temporarily unavailable. Nothing was changed; try again shortly."""

    code = "unavailable"
    status = 503
