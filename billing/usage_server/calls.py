"""A request to store usage, and the answer to it: what the event loop and the threads that store hand each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from tenants.errors import ExchequerError, Unavailable
from tenants.web import problems
from tenants.web.error_pages import STATUS_TEXTS

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of a response."""

    status: int
    headers: Headers = ()
    body: bytes = b""


STORED = Answer(204)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from. Requests of one key are stored together if it is equal."""

    ip: str
    user_agent: str


@dataclass(eq=False, slots=True)
class Call:
    """One request that waits to be stored."""

    key: str
    origin: Origin
    request_id: str
    content_type: str
    body: bytes
    future: asyncio.Future[Answer]


def rendered(response: Response) -> Answer:
    """Return a response of the REST views as bytes."""
    if response.data is None:
        return STORED if response.status_code == STORED.status else Answer(response.status_code)
    kind = response.content_type or "application/json"
    own = ((name.lower(), value) for name, value in response.items())  # its type is Django's own until it is rendered
    headers = [(name.encode(), value.encode()) for name, value in own if name != "content-type"]
    return Answer(
        response.status_code, ((b"content-type", kind.encode()), *headers), JSONRenderer().render(response.data)
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as problems name it."""

    request_id: str


def refusal(error: Exception, request_id: str) -> Answer | None:
    """Return the answer to an expected error, as the REST views give it; None for any other."""
    response = problems.response_to(error, Asked(request_id))
    return None if response is None else rendered(response)


def refused(error: ExchequerError, request_id: str) -> Answer:
    """Return the answer to a refusal."""
    return refusal(error, request_id) or broken(request_id)


def broken(request_id: str, status: int = 500) -> Answer:
    """Return the answer to an unexpected error (500), or while the database is away (503)."""
    words = STATUS_TEXTS[status]
    title = f"{words.title} {words.advice}"
    body = problems.problem(status=status, code=words.code, title=title, request=Asked(request_id))
    wait = problems.retry_after(Unavailable()) if status == Unavailable.status else {}
    return rendered(Response(body, status=status, headers=wait, content_type=problems.CONTENT_TYPE))
