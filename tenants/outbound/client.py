"""Ask a server that a tenant named, through the fetcher.

    from tenants.outbound import client

    client.check(url, tenant_id=tenant.id)               # may it be asked? (looked up, not connected to)
    answer = client.fetch("GET", url, tenant_id=tenant.id)
    answer.status, answer.header("content-type"), answer.body, answer.json()

    client.fetch("POST", url, headers={"Content-Type": "application/json"}, body=b"{}",
                 limits=client.Limits(timeout_s=5, max_bytes=65_536), tenant_id=tenant.id)

Every status is an answer, 3xx included: no redirect is followed. What is no answer raises an `OutboundError`:
`AddressRefused`, `OutboundTimeout`, `AnswerTooLarge`, `TlsFailed`, `ConnectionFailed`, or `FetcherUnavailable` (of this
installation, so worth a retry). Their messages can be shown to the tenant. Never call it within a transaction: the
other server may take its whole time.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from tenants.errors import ExchequerError, Unavailable
from tenants.outbound import wire

#: What the fetcher may need beyond the time limit of a request, before the client gives up on the fetcher.
SPARE_S = 5.0


class OutboundError(ExchequerError):
    """The other server gave no answer."""

    code = "outbound_failed"
    status = 502


class AddressRefused(OutboundError):
    """This address may not be asked."""

    code = "address_refused"
    status = 400


class OutboundTimeout(OutboundError):
    """The other server did not answer in time."""

    code = "outbound_timeout"
    status = 504


class AnswerTooLarge(OutboundError):
    """The other server's answer is too large."""

    code = "outbound_too_large"


class TlsFailed(OutboundError):
    """The other server's certificate is not valid for this address, or TLS failed otherwise."""

    code = "outbound_tls_failed"


class ConnectionFailed(OutboundError):
    """There is no connection to the other server."""

    code = "outbound_connection_failed"


class FetcherUnavailable(OutboundError, Unavailable):
    """Requests to other servers are not possible at the moment. Try again shortly."""

    code = "fetcher_unavailable"
    status = 503


ERRORS: dict[str, type[OutboundError]] = {
    "refused": AddressRefused,
    "timeout": OutboundTimeout,
    "too_large": AnswerTooLarge,
    "tls": TlsFailed,
    "connection": ConnectionFailed,
    "busy": FetcherUnavailable,
}


@dataclass(frozen=True)
class Limits:
    """Limits of one request: seconds for all of it (60 at most), bytes of the answer's body (64 MiB at most).

    With `cut`, a longer body is cut off there instead of raising `AnswerTooLarge`.
    """

    timeout_s: float = 10.0
    max_bytes: int = 1024 * 1024
    cut: bool = False


@dataclass(frozen=True)
class Answer:
    """What the other server answered. Names of headers are in lower case; `whole` is False for a body cut off."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str | None:
        """Return the first header of this name."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        """Return the body as JSON. Raises `ValueError`."""
        return json.loads(self.body)


def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    limits: Limits | None = None,
    tenant_id: UUID | None = None,
) -> Answer:
    """Send one request and return the answer, whatever its status.

    The fetcher writes `Host`, `Content-Length` and the headers of the connection. `tenant_id` names whose address it
    is, so that one tenant's hanging servers leave room for the others'.

    Raises:
        OutboundError: there is no answer; the class says why.
    """
    limits = limits or Limits()
    head = {
        "op": "fetch",
        "method": method,
        "url": url,
        "headers": list((headers or {}).items()),
        "max_bytes": limits.max_bytes,
        "cut": limits.cut,
    }
    answer, content = _ask(head, body, limits.timeout_s, tenant_id)
    pairs = tuple((str(name), str(value)) for name, value in answer["headers"])
    return Answer(int(answer["status"]), pairs, content, bool(answer["whole"]))


def check(url: str, *, tenant_id: UUID | None = None, timeout_s: float = 5.0, look_up: bool = True) -> None:
    """Look the URL's host up and apply the guard, without a connection to it.

    Without `look_up` only the URL itself is checked: nothing outside is asked, so it may stand in a transaction.

    Raises:
        AddressRefused: the guard refuses the URL, or an address that its host leads to.
        ConnectionFailed: the host is not known.
        OutboundError: the fetcher or the resolver does not answer now.
    """
    _ask({"op": "check" if look_up else "parse", "url": url}, b"", timeout_s, tenant_id)


def ping() -> None:
    """Ask the fetcher whether it answers. Raises `FetcherUnavailable`."""
    _ask({"op": "ping"}, b"", 1.0, None)


def _ask(head: dict[str, Any], body: bytes, timeout_s: float, tenant_id: UUID | None) -> tuple[dict[str, Any], bytes]:
    head |= {"timeout_s": timeout_s, "tenant": str(tenant_id or "")}
    deadline = time.monotonic() + timeout_s + SPARE_S
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SPARE_S)
            connection.connect(str(settings.EXCHEQUER.effective_fetcher_socket))
            wire.send(connection, head, body)
            answer, content = wire.receive(connection, deadline)
    except OSError as error:
        raise FetcherUnavailable() from error
    if "error" in answer:
        raise ERRORS.get(str(answer["error"]), OutboundError)(_sentence(str(answer.get("detail", ""))))
    return answer, content


def _sentence(text: str) -> str | None:
    return f"{text[:1].upper()}{text[1:]}." if text else None
