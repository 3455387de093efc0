"""The serving node's backend in memory, and a real uvicorn around it on loopback."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import torch
import uvicorn
from safetensors.torch import save_file

from billing.budgets.holds import BudgetExceeded
from deploy.server.connection_limits import TimeoutProtocol
from models_app.endpoints.deployments import EndpointSpec
from models_app.endpoints.endpoint_keys import KnownKey, key_hash
from models_app.endpoints.reservations import LIFE, Slice, SliceClosed
from models_app.measures.window import Window
from models_app.object_store.storage import Stored
from models_app.recipes.tabular.features import Feature, widths
from models_app.recipes.tabular.network import TabularNet
from models_app.recipes.tabular.prediction.predict import Predictor
from models_app.serving.backend import SIGNATURE, WEIGHTS, Assigned, BackendUnavailable, RecordsRefused
from models_app.serving.gateway.app import App
from models_app.serving.node import Node
from tests.support.waiting import wait_until

CHURN = [
    Feature("age", "numeric", mean=40.0, scale=12.5, indicator=True),
    Feature("town", "categorical", categories=("Berne", "Oslo")),
    Feature("member", "boolean", mean=0.4, scale=0.5),
    Feature("since", "datetime", mean=1.6e9, scale=1e8),
]
NUMBERS = [Feature(f"x{at}", "numeric", mean=at / 3, scale=1 + at) for at in range(4)]


def write_model(
    folder: Path, features: Sequence[Feature], classes: Sequence[Any], *, seed: int = 7, width: int = 16
) -> Predictor:
    """Write a network with random weights into a folder; return it loaded."""
    import json

    torch.manual_seed(seed)
    numeric, codes = widths(features)
    shape = {
        "numeric": numeric, "codes": codes, "outputs": len(classes) or 1, "layers": 2, "width": width, "dropout": 0.1,
    }  # fmt: skip
    net = TabularNet(**shape)
    torch.nn.init.normal_(net.head.weight, std=0.3)
    signature = {
        "format": 1, "inputs": [feature.to_json() for feature in features], "classes": list(classes),
        "network": shape, "target": {"name": "left", "kind": "categorical", "mean": 3.0, "scale": 2.0},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(net.state_dict()), folder / WEIGHTS)
    (folder / SIGNATURE).write_text(json.dumps(signature))
    return Predictor(signature, net.state_dict())


class Memory:
    """A backend whose database is this object. `away` makes it unreachable; `budget` is the available money.

    `lowered`: a budget that stops running work was lowered below what is spent. `trouble` is called with the settled
    records.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.away = False
        self.budget = Decimal("1000")
        self.slice_requests = 1000
        self.orders: dict[UUID, EndpointSpec] = {}
        self.models: dict[str, Path] = {}
        self.good: dict[bytes, KnownKey] = {}
        self.per_minute: dict[UUID, int | None] = {}
        self.usage: dict[tuple[str, str, int], Mapping[str, Any]] = {}
        self.reports: list[tuple[str, int, str, str]] = []
        self.answering: dict[str, bool] = {}
        self.flushed: list[Any] = []
        self.taken: dict[tuple[UUID, UUID, int], Slice] = {}
        self.closed: list[tuple[UUID, int]] = []
        self.released: set[tuple[UUID, UUID, int]] = set()
        self.left_behind: list[UUID] = []
        self.poison: set[int] = set()
        self.lowered = False
        self.stopped: set[UUID] = set()
        self.suspended = False
        self.trouble: Callable[[Sequence[Mapping[str, Any]]], None] | None = None
        self.queries = 0
        self.moved = threading.Event()

    # Actions of a test.

    def deploy(
        self, name: str, features: Sequence[Feature] = CHURN, classes: Sequence[Any] = ("no", "yes"), **more: Any
    ) -> Predictor:
        """Deploy a new model under a name, or roll it over; return the model for comparison."""
        old = next((order for order in self.orders.values() if order.name == name), None)
        number = old.number + 1 if old else 1
        home = self.folder / f"{name}-{number}"
        model = write_model(home, features, classes, seed=number, width=more.pop("width", 16))
        stored = [self._stored(home / file) for file in (WEIGHTS, SIGNATURE)]
        self.models[stored[0].key] = home
        order = EndpointSpec(
            tenant_id=old.tenant_id if old else uuid4(), endpoint_id=old.endpoint_id if old else uuid4(), name=name,
            project_id=uuid4(), state="deploying", generation=number, slo_ms=more.pop("slo_ms", 2000),
            version_id=uuid4(), version_label=f"{name} v{number}", number=number, weights=stored[0],
            signature_file=stored[1], signature={}, baseline={},
        )  # fmt: skip
        self.orders[order.endpoint_id] = order
        self.moved.set()
        return model

    def undeploy(self, name: str) -> None:
        """Undeploy an endpoint and revoke its keys."""
        gone = self.order(name)
        del self.orders[gone.endpoint_id]
        self.good = {digest: key for digest, key in self.good.items() if key.endpoint_id != gone.endpoint_id}
        self.moved.set()

    def order(self, name: str) -> EndpointSpec:
        """Return the order of an endpoint."""
        return next(order for order in self.orders.values() if order.name == name)

    def key(self, name: str, per_minute: int | None = None) -> str:
        """Create a key for an endpoint."""
        secret = f"exq_ep_{secrets.token_urlsafe(24)}"
        order = self.order(name)
        made = KnownKey(order.tenant_id, order.endpoint_id, uuid4(), key_hash(secret))
        self.good[made.digest] = made
        self.per_minute[made.id] = per_minute
        return secret

    def revoke(self, secret: str) -> None:
        """Revoke a key."""
        self.good.pop(key_hash(secret), None)

    def requests(self) -> int:
        """Return the number of settled requests."""
        return sum(record["requests"] for record in self.usage.values())

    def _stored(self, path: Path) -> Stored:
        import hashlib

        return Stored(f"t/{path}", hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)

    # The protocol.

    def _ask(self) -> None:
        self.queries += 1
        if self.away:
            raise BackendUnavailable("it is away")

    def register(self, boot: UUID) -> None:
        self._ask()

    def leave(self) -> None:
        self._ask()

    def assigned_endpoints(self) -> list[Assigned]:
        self._ask()
        return [Assigned(order.endpoint_id, order) for order in self.orders.values()]

    def wait(self, seconds: float) -> None:
        self.moved.wait(seconds)
        self.moved.clear()

    def report(self, order: EndpointSpec, state: str, message: str = "", *, answering: bool = False) -> None:
        self._ask()
        self.answering[order.name] = answering
        self.reports.append((order.name, order.generation, state, message))

    def fetch(self, order: EndpointSpec, folder: Path) -> None:
        self._ask()
        for name in (WEIGHTS, SIGNATURE):
            (folder / name).write_bytes((self.models[order.weights.key] / name).read_bytes())

    def known(self, digests: Sequence[bytes]) -> list[KnownKey]:
        self._ask()
        return [self.good[digest] for digest in digests if digest in self.good]

    def limits(self, tenant_id: UUID, endpoint_id: UUID) -> dict[UUID, int | None]:
        self._ask()
        return {key.id: self.per_minute[key.id] for key in self.good.values() if key.endpoint_id == endpoint_id}

    def why_stopped(self, tenant_id: UUID, endpoint_id: UUID) -> str:
        self._ask()
        return "suspended" if self.suspended else "budget" if endpoint_id in self.stopped else ""

    def take(self, order: EndpointSpec, boot: UUID, number: int) -> Slice:
        self._ask()
        where = (order.endpoint_id, boot, number)
        if where in self.released:
            raise SliceClosed
        if where in self.taken:
            return self.taken[where]
        if self.lowered:
            raise BudgetExceeded
        price = Decimal("0.01")
        amount = min(price * self.slice_requests, self.budget)
        if amount < 2 * price:
            raise BudgetExceeded
        self.budget -= amount
        now = datetime.now(UTC)
        self.taken[where] = Slice(
            endpoint_id=order.endpoint_id, boot=boot, number=number, hold_id=uuid4(), project_id=order.project_id,
            amount=amount, currency="EUR", request_price=price, ms_price=Decimal(0), db_now=now,
            until=now + LIFE,
        )  # fmt: skip
        return self.taken[where]

    def close(self, tenant_id: UUID, money: Slice) -> None:
        self._ask()
        used = [record for record in self.usage.values() if record["hold"] == str(money.hold_id)]
        self.budget += money.amount - sum(record["requests"] for record in used) * money.request_price
        self.closed.append((money.endpoint_id, money.number))
        self.released.add((money.endpoint_id, money.boot, money.number))

    def close_left_behind(self, tenant_id: UUID, endpoint_id: UUID, boot: UUID) -> None:
        self._ask()
        self.left_behind.append(boot)

    def settle(self, tenant_id: UUID, boot: UUID, records: Sequence[Mapping[str, Any]]) -> set[str]:
        self._ask()
        if self.trouble is not None:
            self.trouble(records)
        bad = {record["n"]: "unsound" for record in records if record["n"] in self.poison}
        if bad:
            raise RecordsRefused(bad)
        for record in records:
            self.usage[record["endpoint"], str(boot), record["n"]] = record
        return {record["hold"] for record in records if record["hold"]} if self.lowered else set()

    def flush(self, order: EndpointSpec, window: Window) -> None:
        self._ask()
        self.flushed.append(window.drain())


class Server:
    """A node under a real uvicorn on a loopback port, in threads of this process."""

    def __init__(self, backend: Any, home: Path, **more: Any) -> None:
        self.node = Node(backend, home, secret="s" * 40, heartbeat_s=0.2, **more)
        self.app = App(self.node)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        self.port = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, http=TimeoutProtocol, loop="asyncio", lifespan="on", access_log=False,
                           log_config=None, server_header=False, timeout_graceful_shutdown=2)
        )  # fmt: skip
        self._listener = listener
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def serves(self, name: str, number: int | None = None) -> bool:
        """Return whether an endpoint is in service here (a version of it)."""
        return any(
            worker.order.name == name and number in (None, worker.order.number)
            for worker in list(self.node.workers.values())
        )

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._listener.close()


@contextmanager
def serving(backend: Any, home: Path, *names: str, **more: Any) -> Iterator[Server]:
    """Serve until the block ends; starts when all named endpoints are in service."""
    server = Server(backend, home, **more)
    try:
        for name in names:
            wait_until(lambda name=name: server.serves(name), f"{name} is served")
        yield server
    finally:
        server.stop()


__all__ = ["CHURN", "NUMBERS", "Memory", "Server", "replace", "serving", "write_model"]
