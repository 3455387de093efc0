"""Requests to a provider, through the fetcher: bounded, without redirects, and never inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenants.errors import ExchequerError
from tenants.outbound import client
from tenants.outbound.client import Answer
from tenants.parsing import fault_of

LIMITS = client.Limits(timeout_s=10.0, max_bytes=256 * 1024)


class ProviderUnreachable(ExchequerError):
    """The identity provider did not answer as it should. Try again, or log in with your password."""

    code = "provider_unreachable"
    status = 502


def send(
    tenant_id: UUID, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Send one request; return the answer, whatever its status. Raises OutboundError."""
    return client.fetch(method, url, headers=headers, body=body, limits=LIMITS, tenant_id=tenant_id)


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
