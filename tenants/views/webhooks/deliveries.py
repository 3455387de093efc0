"""Deliveries of webhooks as pages show them, of both sides."""

from __future__ import annotations

from typing import Any

from tenants.webhooks.queries import DeliveryRow

#: Errors of an attempt in words; a response has its status.
ERRORS = {
    "address_refused": "address refused",
    "outbound_timeout": "no response in time",
    "outbound_tls_failed": "TLS failed",
    "outbound_connection_failed": "no connection",
}


def shown(row: DeliveryRow, title: str, replay: str) -> dict[str, Any]:
    """Return a delivery for the page: its title, the URL that sends it again, and its attempts in words, the last first."""
    attempts = [one | {"outcome": one["status"] or ERRORS.get(one["error"], "failed")} for one in reversed(row.log)]
    return {"row": row, "title": title, "attempts": attempts, "replay": replay}
