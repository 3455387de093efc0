"""What the serving node needs from the rest of the house, as a small protocol: PostgreSQL in production, memory in tests."""

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


class Away(Exception):
    """The database does not answer now; nothing was changed."""


class RecordsRefused(Exception):
    """These records can never be accounted for as they are. `keys` maps the number of each to the reason."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(str(dict(reasons)))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Assigned:
    """An endpoint that this node shall serve, and what to load for it."""

    allocation_id: UUID
    order: EndpointSpec


class Backend(Protocol):
    """All calls may block and may raise Away; each is made from one of the node's own threads, never from the loop."""

    def register(self, boot: UUID) -> None:
        """Write the node and its slots."""

    def leave(self) -> None:
        """Take no more slots: this node is stopping."""

    def roster(self) -> list[Assigned]:
        """Renew the leases of this node's slots and return what shall be served."""

    def wait(self, seconds: float) -> None:
        """Return when something may have changed, at the latest after `seconds`."""

    def report(self, order: EndpointSpec, state: str, message: str = "", *, answering: bool = False) -> None:
        """Say that an order is `ready` or `failed`; `answering`: the one before it goes on."""

    def fetch(self, order: EndpointSpec, folder: Path) -> None:
        """Bring `model.safetensors` and `signature.json` into a folder."""

    def known(self, digests: Sequence[bytes]) -> list[KnownKey]:
        """Return which key hashes are good now, in one query."""

    def limits(self, tenant_id: UUID, endpoint_id: UUID) -> dict[UUID, int | None]:
        """Return the requests a minute of each good key of an endpoint."""

    def unpaid(self, tenant_id: UUID, endpoint_id: UUID) -> bool:
        """Return whether an endpoint does not answer because its budget stopped it."""

    def take(self, order: EndpointSpec, boot: UUID, number: int) -> Slice:
        """Hold the slice of a number that was not used before. Raises BudgetExceeded, NotFound, SliceClosed."""

    def close(self, tenant_id: UUID, money: Slice) -> None:
        """Give back what is left of a slice."""

    def close_left_behind(self, tenant_id: UUID, endpoint_id: UUID, boot: UUID) -> None:
        """Give back what an earlier boot left open."""

    def settle(self, tenant_id: UUID, boot: UUID, records: Sequence[Mapping[str, Any]]) -> set[str]:
        """Account for records of one tenant, each once for ever; return the holds that pay for nothing more.

        Raises Refused; what was accounted for before it counts no second time.
        """

    def flush(self, order: EndpointSpec, window: Window) -> None:
        """Store health sums; what cannot be stored goes back into the window."""
