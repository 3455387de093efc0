"""The backend on PostgreSQL and the object store. Every call opens its own scope and turns a lost database into BackendUnavailable."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import psycopg
import structlog
from django.db import DataError, Error, IntegrityError, connection

from billing.metering.metering import UsageRefused, record_usage
from compute import pg_session
from compute.allocations import allocations
from compute.devices.base import Found
from compute.fleet import nodes
from models_app.endpoints import deployments, endpoint_keys, reservations, slot_events
from models_app.endpoints.deployments import EndpointSpec
from models_app.endpoints.endpoint_keys import KnownKey
from models_app.endpoints.endpoints import endpoint_of, endpoint_tags
from models_app.endpoints.reservations import Slice
from models_app.measures.window import Window
from models_app.monitoring import windows
from models_app.object_store import storage
from models_app.serving.accounting.usage import intervals_of
from models_app.serving.backend import SIGNATURE, WEIGHTS, Assigned, BackendUnavailable, RecordsRefused
from tenants.encryption import handouts
from tenants.isolation.scoping import tenant_scope

log = structlog.get_logger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

ERRORS: tuple[type[Exception], ...] = (Error, psycopg.Error)
UNSOUND: tuple[type[Exception], ...] = (DataError, IntegrityError, psycopg.DataError, psycopg.IntegrityError)
"""Errors about the values sent. Any other error (read-only after a failover, a migration in progress) is about the
database: it is temporary, and the call is retried."""


def report_outages(call: Callable[P, R]) -> Callable[P, R]:
    """Turn database connection errors into BackendUnavailable and reconnect."""

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except UNSOUND:
            raise
        except ERRORS as error:
            connection.close()
            raise BackendUnavailable(str(error).strip()) from error

    return guarded


class Database:
    """The backend of production."""

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self._slots = slots
        self._me: nodes.Registered | None = None
        self._listening = False
        self._slot_of: dict[UUID, UUID] = {}
        """The allocation of each endpoint that is served here: the work for which its files are handed out."""

    @report_outages
    def register(self, boot: UUID) -> None:
        hostname = socket.gethostname()
        found = [
            Found(f"serving-{at}", "cpu", allocations.SERVING, f"Serving slot {at} of {hostname}", at, 0)
            for at in range(self._slots)
        ]
        self._me = nodes.register(
            name=self.name, hostname=hostname, boot=boot, found=found, missing_layers=[], serves=True
        )

    @report_outages
    def leave(self) -> None:
        if self._me is not None:
            nodes.leave(self._me)

    @report_outages
    def assigned_endpoints(self) -> list[Assigned]:
        if self._me is None:
            raise BackendUnavailable("the node is not registered yet")
        if not nodes.alive(self._me):
            log.error("node.replaced", node=self.name)
        found = []
        for tenant_id, allocation_id in allocations.mine(self._me.node_id):
            renewed = allocations.renew(
                tenant_id=tenant_id, allocation_id=allocation_id, node_id=self._me.node_id, boot=self._me.boot
            )
            endpoint_id = endpoint_of(tenant_id, allocation_id) if renewed else None
            if endpoint_id is not None:
                order = deployments.load_order(tenant_id, endpoint_id)
                if order.wanted:
                    self._slot_of[endpoint_id] = allocation_id
                    found.append(Assigned(allocation_id, order))
        return found

    def wait(self, seconds: float) -> None:
        """Return when a slot or a deployment changed, after `seconds` at the latest."""
        until = time.monotonic() + seconds
        try:
            listener = pg_session.listen(allocations.CHANNEL)
            for _ in listener.notifies(timeout=seconds, stop_after=1):
                return
        except pg_session.LOST:
            connection.close()
            time.sleep(max(0.0, min(1.0, until - time.monotonic())))

    @report_outages
    def report(self, order: EndpointSpec, state: str, message: str = "", *, answering: bool = False) -> None:
        deployments.report(
            tenant_id=order.tenant_id,
            endpoint_id=order.endpoint_id,
            generation=order.generation,
            state=state,
            message=message,
            answering=answering,
        )

    @report_outages
    def fetch(self, order: EndpointSpec, folder: Path) -> None:
        """Download `model.safetensors` and `signature.json` into a folder and verify their checksums."""
        slot = self._slot_of.get(order.endpoint_id)
        if slot is None:
            raise BackendUnavailable("the endpoint has no slot here any more")
        with handouts.working(handouts.Work(order.tenant_id, handouts.SLOT, slot)):
            storage.fetch(order.tenant_id, order.weights, folder / WEIGHTS)
            storage.fetch(order.tenant_id, order.signature_file, folder / SIGNATURE)

    @report_outages
    def known(self, digests: Sequence[bytes]) -> list[KnownKey]:
        return endpoint_keys.known(digests)

    @report_outages
    def limits(self, tenant_id: UUID, endpoint_id: UUID) -> dict[UUID, int | None]:
        return endpoint_keys.limits(tenant_id, endpoint_id)

    @report_outages
    def why_stopped(self, tenant_id: UUID, endpoint_id: UUID) -> str:
        try:
            return slot_events.why_stopped(tenant_id, endpoint_id)
        finally:
            connection.close()  # called from pool threads, each of which would keep a connection

    @report_outages
    def take(self, order: EndpointSpec, boot: UUID, number: int) -> Slice:
        return reservations.take(order.tenant_id, order.endpoint_id, boot, number)

    @report_outages
    def close(self, tenant_id: UUID, money: Slice) -> None:
        reservations.close(tenant_id, money)

    @report_outages
    def close_left_behind(self, tenant_id: UUID, endpoint_id: UUID, boot: UUID) -> None:
        reservations.close_left_behind(tenant_id, endpoint_id, boot)

    @report_outages
    def settle(self, tenant_id: UUID, boot: UUID, records: Sequence[Mapping[str, Any]]) -> set[str]:
        """Settle records of one tenant, one transaction per hold. Raises RecordsRefused."""
        ended: set[str] = set()
        by_hold: dict[str | None, list[Mapping[str, Any]]] = {}
        for record in records:
            by_hold.setdefault(record["hold"], []).append(record)
        for hold, own in by_hold.items():
            try:
                with tenant_scope(tenant_id):
                    tags = endpoint_tags({UUID(record["endpoint"]) for record in own})
                    intervals = [
                        interval
                        for record in own
                        for interval in intervals_of(record, boot, tags.get(UUID(record["endpoint"]), {}))
                    ]
                    recorded = record_usage(intervals, hold_id=UUID(hold) if hold else None)
            except UsageRefused as error:
                raise RecordsRefused({int(key.split(":")[3]): str(why) for key, why in error.fields.items()}) from error
            if recorded.conflicts:
                log.error("usage.conflict", keys=list(recorded.conflicts)[:10])
            if hold and (recorded.exhausted or recorded.excluded):
                ended.add(hold)
        return ended

    @report_outages
    def flush(self, order: EndpointSpec, window: Window) -> None:
        windows.flush(order.tenant_id, order.endpoint_id, window)
