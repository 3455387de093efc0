"""A serving node as a real process on a test's database and object store, and clients that record their responses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
from django.db import connection

from compute.scheduling import slots
from models_app.endpoints import deployments, endpoint_keys
from models_app.models import Endpoint
from models_app.object_store import storage
from models_app.recipes.tabular.features import Feature
from models_app.recipes.tabular.prediction.predict import Predictor
from models_app.serving.backend import SIGNATURE, WEIGHTS
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.fakes.serving import NUMBERS, write_model
from tests.support.model_versions import make_version
from tests.support.servers.services import S3
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
ROW = [1.0, 2.0, 3.0, 4.0]
#: A request may wait in the socket while a killed node restarts, on a loaded machine, too.
PATIENCE_S = 180
BREATH_S = 0.01
"""Between two requests of a client: without it four of them are all that the machine does while something else starts."""


@dataclass
class Tally:
    """The clients' view: the status of each answered request, and the number of broken connections."""

    answered: list[tuple[int, str]] = field(default_factory=list)
    cost: float = 0.0
    broken: int = 0
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, status: int) -> int:
        """Return the number of responses with a status."""
        return sum(1 for one, _ in self.answered if one == status)


class ServingCluster:
    """One serving node, its tenant, and its endpoints."""

    def __init__(
        self,
        environment: Callable[..., dict[str, str]],
        folder: Path,
        store: S3,
        tenant: Tenant,
        actor: Actor,
        as_control: Callable[[], AbstractContextManager[None]] | None = None,
        **settings: Any,
    ) -> None:
        self.folder, self.tenant, self.actor = folder, tenant, actor
        self._environment, self._as_control = environment, as_control
        self._settings = {
            "EXCHEQUER_HOME": folder / "home",
            "EXCHEQUER_NODE_ID": "n1",
            "EXCHEQUER_HEARTBEAT_S": 0.5,
            "EXCHEQUER_LEASE_S": 5,
            "S3_ENDPOINT_URL": store.endpoint_url,
            "S3_BUCKET": store.bucket,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
            "OMP_NUM_THREADS": 1,
            **settings,
        }
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "serving.log"

    def start(self) -> None:
        """Start the node; connections wait in the socket until it is ready."""
        file = self.listener.fileno()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.server.serving", "--fd", str(file)],
                cwd=ROOT,
                env=self._environment(role="app", **self._settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(file,),
            )

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Send SIGTERM; return the seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - began

    def deploy(
        self, name: str, features: Sequence[Feature] = NUMBERS, classes: Sequence[Any] = (), *, width: int = 16
    ) -> tuple[Predictor, UUID]:
        """Store a model with random weights, register it in production and deploy it; return it and the endpoint."""
        home = self.folder / f"model-{name}"
        model = write_model(home, features, classes, width=width)
        stored = {}
        for file in (WEIGHTS, SIGNATURE):
            key = storage.new_key(self.tenant.id, "m")
            stored[file] = storage.put(self.tenant.id, key, home / file)
        version = make_version(
            self.actor, name, signature=json.loads((home / SIGNATURE).read_text()), baseline={},
            artefact_key=stored[WEIGHTS].key, artefact_sha256=stored[WEIGHTS].sha256, artefact_size=stored[WEIGHTS].size,
            signature_key=stored[SIGNATURE].key, signature_sha256=stored[SIGNATURE].sha256,
            signature_size=stored[SIGNATURE].size, artefact_encrypted=True, signature_encrypted=True,
        )  # fmt: skip
        endpoint = deployments.deploy(actor=self.actor, name=name, version_id=version.id)
        return model, endpoint.id

    def place(self) -> None:
        """Run the controller's part: assign the requested slots."""
        assert self._as_control is not None
        with self._as_control():
            slots.assign_slots()

    def ready(self, endpoint_id: UUID) -> bool:
        """Return whether an endpoint is in service."""
        with tenant_scope(self.tenant.id):
            return Endpoint.objects.get(id=endpoint_id).state == "ready"

    def wait_ready(self, *endpoint_ids: UUID) -> None:
        """Wait until endpoints are in service, assigning slots meanwhile."""

        def done() -> bool:
            if self._as_control is not None:
                self.place()
            return all(map(self.ready, endpoint_ids))

        wait_until(done, f"ready; the log says:\n{self.log_text()[-3000:]}")

    def log_text(self) -> str:
        """Return what the node logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def key(self, endpoint_id: UUID, per_minute: int | None = None) -> str:
        """Create an endpoint key."""
        made = endpoint_keys.create(
            actor=self.actor, endpoint_id=endpoint_id, name="load", requests_per_minute=per_minute
        )
        return made.secret

    def post(self, key: str, name: str, rows: Sequence[Any] = (ROW,), **more: Any) -> requests.Response:
        """Send a prediction request."""
        return requests.post(
            f"{self.url}/v1/models/{name}:predict", json={"instances": list(rows)},
            headers={"Authorization": f"Bearer {key}"}, timeout=more.pop("timeout", PATIENCE_S), **more,
        )  # fmt: skip

    @contextmanager
    def load(self, key: str, name: str, clients: int = 4) -> Iterator[Tally]:
        """Keep clients sending until the block ends; the tally records their responses."""
        tally, stop = Tally(), threading.Event()

        def client() -> None:
            session = requests.Session()
            while not stop.is_set():
                with tally.lock:
                    tally.sent += 1
                try:
                    answer = session.post(
                        f"{self.url}/v1/models/{name}:predict", json={"instances": [ROW]},
                        headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S,
                    )  # fmt: skip
                except requests.RequestException:
                    session.close()
                    session = requests.Session()
                    with tally.lock:
                        tally.broken += 1
                    continue
                with tally.lock:
                    tally.answered.append((answer.status_code, answer.text if answer.status_code != 200 else ""))
                    tally.cost += float(answer.headers.get("x-exchequer-cost", 0))
                stop.wait(BREATH_S)
            session.close()

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield tally
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def billed(self, endpoint_id: UUID, meter: str = "inference_requests") -> tuple[int, float]:
        """Return the requests (or units of another meter) billed so far for an endpoint, and their cost."""
        with tenant_scope(self.tenant.id), connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(e.billable), 0), coalesce(sum(e.amount), 0) FROM billing_usageevent e "
                "JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash "
                "JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id "
                "WHERE s.resource = %s AND m.key = %s",
                [f"endpoint:{endpoint_id}", meter],
            )
            quantity, amount = cursor.fetchone()
            return int(quantity), float(amount)

    def spooled(self) -> list[str]:
        """Return the spool's files."""
        return sorted(path.name for path in (self.folder / "home" / "serving" / "n1" / "spool").iterdir())

    def close(self) -> None:
        """End the node if it still runs."""
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        self.listener.close()
        connection.close()
