"""State of a node's worker process: samplers, running attempts, and three threads.

One thread sends the node's heartbeat, one watches the health of its GPUs, and one listens for cancelled or paused jobs, so that a child is stopped at
once and not at its next heartbeat. If either connection is lost, it reconnects; only time is lost.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
import uuid
from pathlib import Path

import structlog
from celery import current_app
from django.conf import settings
from django.db import connection

from compute import limits, liveness, pg_session
from compute.agent.rank_host import RankHost
from compute.agent.supervisor import AttemptSupervisor
from compute.devices import health
from compute.devices.base import Sampler
from compute.devices.host import HostSampler
from compute.devices.nvml import NvmlSampler
from compute.fleet import nodes
from compute.leases import leases, parts
from compute.pg_session import AWAY
from compute.policy import WHOLE
from compute.sandbox import probe, sandbox, workdirs
from compute.sandbox.process import Slot

log = structlog.get_logger(__name__)


class Runtime:
    """The node that this process represents."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.boot = uuid.uuid4()
        self.home: Path = (settings.EXCHEQUER.home / "work" / name).absolute()
        self._host = HostSampler(socket.gethostname(), settings.EXCHEQUER.effective_cpu_devices)
        self._nvml = NvmlSampler()
        self._running: dict[
            uuid.UUID, AttemptSupervisor | RankHost
        ] = {}  # by attempt: a fenced one may outlive its job's next start
        self._stop = threading.Event()
        self._me: nodes.Registered | None = None
        self._gpus: list[str] = []
        self._noted: dict[str, tuple[int | None, str]] = {}

    def start(self) -> int:
        """Register the node and its devices, waiting for the database if necessary; return the number of devices.

        Starts the threads.
        """
        workdirs.clear(self.home)
        found = [*self._host.inventory(), *self._nvml.inventory()]
        self._gpus = [device.uuid for device in found if device.kind == "cuda"]
        missing = probe.missing_layers(self.home)
        if missing:
            said = [sandbox.explained(layer) for layer in missing]
            log.warning("sandbox.layers_missing", node=self.name, missing=said, mode=settings.EXCHEQUER.sandbox)
        while self._me is None:
            try:
                self._me = nodes.register(
                    name=self.name, hostname=socket.gethostname(), boot=self.boot, found=found, missing_layers=missing
                )
            except AWAY:
                log.warning("node.waits_for_database", node=self.name)
                self._stop.wait(1.0)
            finally:
                connection.close()
        log.info("node.registered", node=self.name, devices=[device.name for device in found])
        threading.Thread(target=self._live, args=(self._me,), daemon=True, name="live").start()
        if self._gpus:
            threading.Thread(target=self._watch, args=(self._me,), daemon=True, name="watch").start()
        threading.Thread(target=self._listen, daemon=True, name="listen").start()
        return len(found)

    def run(self, tenant_id: uuid.UUID, attempt_id: uuid.UUID, token: int) -> None:
        """Handle a wake-up: claim the attempt and run it to its end; no-op if it cannot be claimed."""
        if self._stop.is_set():
            return
        mine = leases.claim(tenant_id=tenant_id, attempt_id=attempt_id, token=token, node=self.name, boot=self.boot)
        work: AttemptSupervisor | RankHost
        if mine is not None:
            slots = {rank: self._with_threads(slot) for rank, slot in mine.slots.items()}
            mine = dataclasses.replace(mine, slot=slots.pop(0), others=slots)
            work = AttemptSupervisor(mine, self._sampler(mine.slot), self.home)
        else:
            part = parts.join(tenant_id=tenant_id, attempt_id=attempt_id, token=token, node=self.name, boot=self.boot)
            if part is None or attempt_id in self._running:
                return
            part = dataclasses.replace(
                part, ranks={rank: self._with_threads(slot) for rank, slot in part.ranks.items()}
            )
            work = RankHost(part, self._sampler(next(iter(part.ranks.values()))), self.home)
        self._running[attempt_id] = work
        if self._stop.is_set():
            work.shut_down()
        try:
            work.run()
        finally:
            del self._running[attempt_id]

    def _with_threads(self, slot: Slot) -> Slot:
        return dataclasses.replace(slot, threads=max(1, self._host.threads * slot.share // WHOLE))

    def _sampler(self, slot: Slot) -> Sampler:
        return self._host if slot.kind == "cpu" else self._nvml

    def answer(self) -> None:
        """Record that wake-ups arrive: this node takes attempts again, unless it is stopping."""
        if self._me is not None and not self._stop.is_set():
            nodes.answer(self._me)

    def wake(self, job_id: str) -> None:
        """Make the supervisor of this job look at it now."""
        for supervisor in list(self._running.values()):
            if str(supervisor.job_id) == job_id:
                supervisor.wake()

    def shut_down(self) -> None:
        """Take no more attempts and stop the running ones with a checkpoint; the worker then waits for them."""
        self._stop.set()
        threading.Thread(target=self._leave, name="leave").start()  # a signal handler must not use the database

    def _leave(self) -> None:
        try:
            if self._me is not None:
                nodes.leave(self._me)
        except AWAY:
            log.warning("node.database_away", node=self.name)
        finally:
            connection.close()
        for supervisor in list(self._running.values()):
            supervisor.shut_down()

    def _live(self, me: nodes.Registered) -> None:
        excused_at = time.monotonic()
        while not self._stop.wait(settings.EXCHEQUER.heartbeat_s):
            liveness.beat("node")
            try:
                if not nodes.alive(me):
                    log.error("node.replaced", node=self.name)
                elif nodes.accepting(me) or self._running or not broker_answers():
                    excused_at = time.monotonic()
                elif time.monotonic() - excused_at > limits.UNRESPONSIVE_AFTER_S:
                    self._start_over()
            except AWAY:
                log.warning("node.database_away", node=self.name)
                connection.close()
                excused_at = time.monotonic()

    def _watch(self, me: nodes.Registered) -> None:
        """Look at the GPUs with every heartbeat. In a thread of its own: the driver may hang over a broken one."""
        while not self._stop.wait(settings.EXCHEQUER.heartbeat_s):
            for gpu, vitals in self._nvml.vitals(self._gpus).items():
                self._note(me, gpu, vitals)
                if reason := health.fault_of(vitals):
                    self._take_out(me, gpu, reason)

    def _note(self, me: nodes.Registered, gpu: str, vitals: health.Vitals) -> None:
        """Keep the temperature of a device and a warning with its row, where they changed."""
        said = vitals.temperature_c, health.warning_of(vitals)
        if self._noted.get(gpu) == said:
            return
        try:
            nodes.note_health(me, gpu, temperature_c=said[0], warning=said[1])
        except AWAY:
            log.warning("node.database_away", node=self.name)
            return
        finally:
            connection.close()
        self._noted[gpu] = said

    def _take_out(self, me: nodes.Registered, gpu: str, reason: str) -> None:
        """Cordon a faulty device, then stop its work with a checkpoint: it goes back to the queue, for another device."""
        try:
            if not nodes.cordon_faulty(me, gpu, reason):
                return
        except AWAY:
            log.warning("node.database_away", node=self.name)
            return
        finally:
            connection.close()
        log.error("device.cordoned", node=self.name, device=gpu, reason=reason)
        for supervisor in list(self._running.values()):
            if supervisor.holds(gpu):
                supervisor.shut_down()

    def _start_over(self) -> None:
        """End this worker, which is idle and receives no wake-ups although the broker is reachable.

        Its supervisor restarts it. At once: a hanging consumer would not notice a graceful request.
        """
        log.error("node.hears_nothing", node=self.name)
        self._stop.set()
        os._exit(os.EX_TEMPFAIL)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                listener = pg_session.listen("exchequer_job")
                while not self._stop.is_set():
                    for notice in listener.notifies(timeout=5.0, stop_after=1):
                        self.wake(notice.payload)
            except pg_session.LOST:
                connection.close()
                self._stop.wait(1.0)


def broker_answers() -> bool:
    """Return whether a new connection to the broker succeeds."""
    with current_app.connection_for_read() as link:
        try:
            link.ensure_connection(max_retries=1, timeout=3)
        except Exception:  # noqa: BLE001 (each transport has its own errors)
            return False
    return True
