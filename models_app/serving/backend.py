"""What the serving node needs from the rest of the product, as a small protocol.

PostgreSQL implements it in production, memory in tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from models_app.endpoints.deployments import EndpointSpec
from models_app.endpoints.endpoint_keys import KnownKey
from models_app.endpoints.reservations import Slice
from models_app.measures.window import Window

WEIGHTS, SIGNATURE = "model.safetensors", "signature.json"


class BackendUnavailable(Exception):
    """The database is unreachable; nothing was changed."""


class RecordsRefused(Exception):
    """These records can never be settled. `reasons` maps the index of each to the reason."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(str(dict(reasons)))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Assigned:
    """An endpoint assigned to this node, and what to load for it."""

    allocation_id: UUID
    order: EndpointSpec


class Backend(Protocol):
    """Every call may block and may raise BackendUnavailable; calls come from the node's own threads, never from the event loop."""

    def register(self, boot: UUID) -> None:
        """Create the node's row and its slots."""

    def leave(self) -> None:
        """Stop taking slots because the node is shutting down."""

    def assigned_endpoints(self) -> list[Assigned]:
        """Renew the leases of this node's slots and return the endpoints to serve."""

    def wait(self, seconds: float) -> None:
        """Return when something may have changed, after `seconds` at the latest."""

    def report(self, order: EndpointSpec, state: str, message: str = "", *, answering: bool = False) -> None:
        """Report an order as `ready` or `failed`; `answering`: the previous version still serves."""

    def fetch(self, order: EndpointSpec, folder: Path) -> None:
        """Download `model.safetensors` and `signature.json` into a folder."""

    def known(self, digests: Sequence[bytes]) -> list[KnownKey]:
        """Return the valid ones of these key hashes, in one query."""

    def limits(self, tenant_id: UUID, endpoint_id: UUID) -> dict[UUID, int | None]:
        """Return the requests per minute of each valid key of an endpoint; None is unlimited."""

    def why_stopped(self, tenant_id: UUID, endpoint_id: UUID) -> str:
        """Return why the endpoint is stopped: `suspended`, `budget`, `refused`, or empty."""

    def take(self, order: EndpointSpec, boot: UUID, number: int) -> Slice:
        """Hold the slice with an unused number. Raises BudgetExceeded, NotFound, SliceClosed."""

    def close(self, tenant_id: UUID, money: Slice) -> None:
        """Release the rest of a slice."""

    def close_left_behind(self, tenant_id: UUID, endpoint_id: UUID, boot: UUID) -> None:
        """Release what an earlier boot left open."""

    def settle(self, tenant_id: UUID, boot: UUID, records: Sequence[Mapping[str, Any]]) -> set[str]:
        """Settle records of one tenant, each exactly once; return the holds that pay for nothing more.

        Raises RecordsRefused; a retry does not count the earlier records again.
        """

    def flush(self, order: EndpointSpec, window: Window) -> None:
        """Store traffic sums; those that cannot be stored go back into the window."""
