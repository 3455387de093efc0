"""Lifecycle of a serving node: register, take slots, load and swap endpoints, drain, stop."""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from models_app.serving.accounting.accountant import UsageAccountant, wait_for
from models_app.serving.accounting.spool import Spool, backlog
from models_app.serving.backend import Assigned, Backend, BackendUnavailable
from models_app.serving.engine.loader import Loader
from models_app.serving.engine.worker import Worker, WorkerContext
from models_app.serving.requests import problems
from models_app.serving.requests.access import Key, KeyChecker
from models_app.serving.telemetry import Telemetry
from tenants.errors import ExchequerError

log = structlog.get_logger(__name__)

DRAIN_S = 2.0
ACCOUNT_S = 3.0
GOES_ON = "The previous version keeps answering, and is charged, until another one is deployed."
SWITCH_S = 0.0005
"""How long one thread may keep the interpreter while another waits: batches hand over several times per request."""


class HomeTaken(RuntimeError):
    """Another serving node uses this folder."""


class Node:
    """One serving node and its threads: assignments, key checks, the spool, accounting, and a worker for each endpoint."""

    def __init__(
        self,
        backend: Backend,
        home: Path,
        *,
        secret: str,
        heartbeat_s: float,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.boot = uuid4()
        self.clock = clock
        self.secret = secret
        self.telemetry = Telemetry()
        self.stopping = False
        self.registered = False
        self.workers: dict[UUID, Worker] = {}
        self._backend = backend
        self._heartbeat_s = heartbeat_s
        self._loading: dict[UUID, Worker] = {}
        self._draining: list[Worker] = []
        self._swap = threading.Lock()
        self._lock = _lock(home)
        self.spool = Spool(home / "spool", self.boot, write=write)
        self.key_checker = KeyChecker(backend, clock)
        self.accountant = UsageAccountant(backend, self.spool, clock)
        self._context = WorkerContext(
            key_checker=self.key_checker,
            spool=self.spool,
            telemetry=self.telemetry,
            load=lambda assigned: Loader(backend, home / "models").load(assigned.order),
            money_is_low=self.accountant.wake,
            changed=self._changed,
            number=itertools.count(1).__next__,
            secret=secret,
            clock=clock,
        )
        self._refresher = threading.Thread(target=self._live, name="roster", daemon=True)

    def start(self) -> None:
        """Start the threads; endpoints are loaded as soon as the database is reachable."""
        sys.setswitchinterval(SWITCH_S)
        self.spool.start()
        self.key_checker.start()
        self.accountant.start()
        self._refresher.start()

    def stop(self) -> None:
        """Answer what waits, record it, release what is held; what takes too long is left to the next boot."""
        self.stopping = True
        with self._swap:
            working = [*self.workers.values(), *self._loading.values(), *self._draining]
            self.workers = {}
        for worker in working:
            worker.close()
        wait_for(lambda: not any(worker.thread.is_alive() for worker in working), DRAIN_S)
        self.spool.stop()
        self.accountant.stop(ACCOUNT_S)
        self.key_checker.stop()
        try:
            self._backend.leave()
        except BackendUnavailable:
            log.warning("node.database_away")
        os.close(self._lock)

    def find(self, endpoint_id: UUID) -> Worker | None:
        """Return the worker that serves an endpoint now."""
        return self.workers.get(endpoint_id)

    def why_not(self, key: Key) -> ExchequerError:
        """Return why an endpoint is not served here: what stopped it, or that it is loading. Queries the database."""
        try:
            cause = self._backend.why_stopped(key.tenant_id, key.endpoint_id)
        except BackendUnavailable:
            cause = ""
        return problems.OF_CAUSES.get(cause, problems.NotReady)()

    @property
    def ready(self) -> bool:
        """Return whether this node accepts requests."""
        return self.registered and not self.stopping

    def gauges(self) -> dict[str, float]:
        """Return the current gauges for the metrics page."""
        workers = list(self.workers.values())
        return {
            "endpoints": len(workers),
            "waiting_requests": sum(len(worker.batcher) for worker in workers),
            "spool_bytes": backlog(self.spool.folder),
            "spool_records_total": self.spool.records,
            "batches_set_aside": self.accountant.quarantined,
            "ready": float(self.ready),
        }

    def _live(self) -> None:
        while not self.stopping:
            try:
                if not self.registered:
                    self._backend.register(self.boot)
                    self.registered = True
                self._apply(self._backend.assigned_endpoints())
                self._report()
            except BackendUnavailable as error:
                log.warning("node.database_away", reason=str(error))
                time.sleep(min(1.0, self._heartbeat_s))
                continue
            except Exception:
                log.exception("roster.failed")
                time.sleep(min(1.0, self._heartbeat_s))
            self._backend.wait(self._heartbeat_s)

    def _apply(self, assigned: list[Assigned]) -> None:
        """Load newly assigned endpoints, and close those no longer assigned."""
        wanted = {one.order.endpoint_id: one for one in assigned}
        with self._swap:
            if self.stopping:
                return
            for endpoint_id, one in wanted.items():
                account = self.accountant.account(one.order)
                current, coming = self.workers.get(endpoint_id), self._loading.get(endpoint_id)
                newest = coming or current
                if newest is not None and newest.order.generation == one.order.generation:
                    continue
                if coming is not None:
                    coming.close()
                worker = self._loading[endpoint_id] = Worker(one, account.balance, account.traffic, self._context)
                worker.thread.start()
                self.accountant.wake()
            for gone in [known for known in (*self.workers, *self._loading) if known not in wanted]:
                for table in (self.workers, self._loading):
                    worker_gone = table.pop(gone, None)
                    if worker_gone is not None:
                        worker_gone.close()
                        self._draining.append(worker_gone)
            self._draining = [worker for worker in self._draining if worker.thread.is_alive()]
            busy = {worker.order.endpoint_id for worker in self._draining}
            for endpoint_id, account in list(self.accountant.accounts.items()):
                if endpoint_id not in wanted and endpoint_id not in busy:
                    account.open = False
                    self.accountant.wake()

    def _changed(self, worker: Worker) -> None:
        """Put a ready worker into service, in its own thread, and report how loading went."""
        endpoint_id = worker.order.endpoint_id
        if worker.state == "ready":
            with self._swap:
                if self._loading.get(endpoint_id) is not worker:
                    worker.close()
                    return
                old = self.workers.get(endpoint_id)
                self.workers[endpoint_id] = worker
                del self._loading[endpoint_id]
                if old is not None:
                    old.close()
                    self._draining.append(old)
        log.info("endpoint.loaded", endpoint=worker.order.name, state=worker.state, generation=worker.order.generation)
        try:
            self._report_worker(worker)
        except BackendUnavailable:
            log.warning("node.database_away")

    def _report(self) -> None:
        for worker in [*self.workers.values(), *self._loading.values()]:
            if worker.state in ("ready", "failed") and not worker.reported:
                self._report_worker(worker)

    def _report_worker(self, worker: Worker) -> None:
        # An older version that serves keeps the slot and is charged for it, so that a failed roll-over cuts off no
        # client.
        answering = worker.state == "failed" and worker.order.endpoint_id in self.workers
        message = f"{worker.message} {GOES_ON}" if answering else worker.message
        self._backend.report(worker.order, worker.state, message, answering=answering)
        worker.reported = True


def _lock(home: Path) -> int:
    """Lock the folder for this process: two nodes must not settle one spool. Raises HomeTaken."""
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise HomeTaken(f"another serving node works in {home}") from error
    return handle
