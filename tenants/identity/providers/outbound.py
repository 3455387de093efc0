"""Requests to a provider, through the fetcher: bounded, without redirects, and never inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from tenants.errors import ExchequerError, Unavailable
from tenants.outbound import client
from tenants.outbound.client import Answer
from tenants.parsing import fault_of

LIMITS = client.Limits(timeout_s=6.0, max_bytes=256 * 1024)
PATIENCE_S = 1.0
#: Requests at once of one web process: a provider that hangs holds no more of its threads, however many log-ins begin.
MOST_AT_ONCE = 2
_room = BoundedSemaphore(MOST_AT_ONCE)


class ProvidersBusy(Unavailable):
    """Too many log-ins wait for identity providers. Try again in a moment."""

    code = "providers_busy"


class ProviderUnreachable(ExchequerError):
    """The identity provider did not answer as it should. Try again, or log in with your password."""

    code = "provider_unreachable"
    status = 502


def send(
    tenant_id: UUID, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Send one request; return the answer, whatever its status. Raises OutboundError, ProvidersBusy."""
    if not _room.acquire(timeout=PATIENCE_S):
        raise ProvidersBusy(retry_after=5)
    try:
        return client.fetch(method, url, headers=headers, body=body, limits=LIMITS, tenant_id=tenant_id)
    finally:
        _room.release()


def stated(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of a successful answer. Raises ProviderUnreachable for anything else."""
    if answer.status != 200:
        raise ProviderUnreachable(f"The identity provider answered with status {answer.status}.")
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or fault_of(found):
        raise ProviderUnreachable("The identity provider answered with something that is no JSON object.")
    return found
