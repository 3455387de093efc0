"""Errors in Stripe's shape."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An error response. `saved`: an idempotency key keeps it, because the request was being executed."""

    def __init__(self, status: int, kind: str, message: str, *, saved: bool = True, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.body = {"error": {"type": kind, "message": message, **fields}}


def bad(message: str, code: str | None = None, param: str | None = None, *, saved: bool = True) -> Refusal:
    """Return a 400 of a request that makes no sense."""
    fields = {name: value for name, value in (("code", code), ("param", param)) if value}
    return Refusal(400, "invalid_request_error", message, saved=saved, **fields)


def missing(name: str, object_id: str, param: str = "id") -> Refusal:
    """Return a 404 of an unknown object."""
    message = f"No such {name}: '{object_id}'"
    return Refusal(404, "invalid_request_error", message, code="resource_missing", param=param)


def declined(decline_code: str, **fields: Any) -> Refusal:
    """Return a 402 of a card."""
    message = "Your card was declined."
    return Refusal(402, "card_error", message, code="card_declined", decline_code=decline_code, **fields)


def unauthorised(message: str) -> Refusal:
    """Return a 401."""
    return Refusal(401, "invalid_request_error", message, saved=False)


def server_error() -> Refusal:
    """Return a 500 whose effect is unknown to the client."""
    return Refusal(500, "api_error", "Sorry! There was an error while talking to one of our servers.")
