"""Runs one attempt: stage, start the child, heartbeat, stop it, store what it made, end the attempt.

The thread that runs here only beats and decides; staging and storing happen beside it, so that a slow object store
never costs the lease. While PostgreSQL is away the child goes on; heartbeats catch up when it is back, or the child
is killed when the lease has run out by this process's own clock.
"""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from compute import kinds, leases, limits, protocol, workdirs
from compute.devices.base import DeviceLost, Sampler
from compute.models import Outcome
from compute.process import Child
from tenants.errors import ExchequerError

log = structlog.get_logger(__name__)
AWAY = (OperationalError, InterfaceError)
EXIT_USER, EXIT_PLATFORM, EXIT_REFUSED, EXIT_STOPPED = 65, 69, 71, 75


class Supervisor:
    """One attempt on one device. `wake()` makes it look at the job now; `shut_down()` ends it for a worker's stop."""

    def __init__(self, mine: leases.Claim, sampler: Sampler, home: Path) -> None:
        self.mine = mine
        self.log = log.bind(job=str(mine.job.id), attempt=str(mine.attempt_id), fencing=mine.token)
        self._kind = kinds.get(mine.job.kind)
        self._sampler = sampler
        self._workdir = home / str(mine.attempt_id)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._child: Child | None = None
        self._beat = leases.Beat()
        self._progress: dict[str, Any] = {"phase": "starting"}
        self._line = 0
        self._fault = protocol.Fault("", "")
        self._stop: Outcome | None = None
        self._limit = Outcome.TIME_LIMIT
        self._limit_at = float("inf")
        self._acked = self._sampled = time.monotonic()
        self._next = self._acked + settings.EXCHEQUER.heartbeat_s
        self._full = False
        self._saving: Future[Any] | None = None

    def wake(self) -> None:
        """Beat now."""
        self._wake.set()

    def shut_down(self) -> None:
        """Stop for the worker's sake: checkpoint, then back into the queue."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Run the attempt to its end; never raises for what a job, a child or a lost lease may do."""
        try:
            self._run()
        except leases.Fenced:
            self.log.warning("attempt.fenced")
        finally:
            if self._child is not None:
                self._child.kill()
            workdirs.remove(self._workdir)
            connection.close()

    def _run(self) -> None:
        try:
            workdirs.make(self._workdir)
            staged = self._aside(lambda: self._kind.stage(self.mine.job, self._workdir))
            if self._stop is not None:
                self._finish(self._stop, "")
                return
            self._child = self._start(staged)
        except ExchequerError as error:
            if isinstance(error, leases.Fenced):
                raise
            self._finish(Outcome.USER_ERROR, error.message)
            return
        except Exception as error:
            self.log.exception("attempt.stage_failed")
            self._finish(Outcome.KILLED, f"Could not be started: {type(error).__name__}: {error}")
            return
        self._watch(self._child)
        self._settle(self._child)

    def _start(self, staged: dict[str, Any]) -> Child:
        slot = self.mine.slot
        payload = {
            "attempt": str(self.mine.attempt_id),
            "device": {"kind": slot.kind, "uuid": slot.uuid},
            "threads": slot.threads,
            "seed": self.mine.job.id.int & 0x7FFFFFFF,
            "resume": bool(self.mine.job.checkpoint),
            **staged,
        }
        child = Child(
            entrypoint=self._kind.entrypoint,
            attempt=str(self.mine.attempt_id),
            workdir=self._workdir,
            slot=slot,
            payload=payload,
            sandbox_required=settings.EXCHEQUER.sandbox == "required",
        )
        self.log.info("attempt.started", group=child.group)
        self._progress = {"phase": "running"}
        self._next = self._sampled = time.monotonic()
        self._limit_at = float("inf")
        return child

    def _watch(self, child: Child) -> None:
        """Beat until the child has exited; ask it to stop when there is a reason, kill it when the grace is over."""
        kill_at = float("inf")
        while not child.exited.is_set():
            self._tick()
            if self._stop is not None and kill_at == float("inf"):
                self.log.info("attempt.stopping", reason=str(self._stop))
                kill_at = time.monotonic() + limits.STOP_GRACE_S
                if self._stop == Outcome.CANCELLED:
                    child.kill()
                else:
                    child.ask_to_stop()
            if time.monotonic() >= kill_at or (self._full and self._stop is None):
                child.kill()
            nearest = min(self._next, kill_at, self._limit_at if self._stop is None else kill_at)
            child.changed.wait(max(0.01, min(nearest - time.monotonic(), 0.25)))
            child.changed.clear()

    def _settle(self, child: Child) -> None:
        """Judge the exit, store what is to be stored, and end the attempt."""
        self._gather()
        self._finish_saving()
        code = child.exit_code
        outcome, message = self._judge(code)
        if outcome == Outcome.SUCCEEDED:
            self._succeed(code)
        else:
            self._finish(outcome, message, code)

    def _judge(self, code: int | None) -> tuple[Outcome, str]:
        if code == 0 and self._stop != Outcome.CANCELLED:
            return Outcome.SUCCEEDED, ""
        if code == EXIT_USER:
            return Outcome.USER_ERROR, self._fault.message or "The job's input was refused."
        if code == EXIT_PLATFORM:
            return Outcome.PLATFORM, f"{self.mine.slot.uuid} could not be opened. {self._fault.message}".strip()
        if code == EXIT_REFUSED:
            return Outcome.PLATFORM, "This host lacks layers of the sandbox that are required."
        if self._stop is not None:
            return self._stop, {Outcome.TIME_LIMIT: "The time limit was reached.", Outcome.COST_LIMIT: "The cost limit was reached."}.get(self._stop, "")
        if self._full:
            return Outcome.CRASHED, "It used more memory than its device offers."
        if code in {EXIT_STOPPED, -signal.SIGKILL, -signal.SIGTERM}:
            return Outcome.KILLED, "The process was ended from outside."
        return Outcome.CRASHED, self._fault.message or f"The process ended with exit code {code}."

    def _succeed(self, code: int | None) -> None:
        self._progress = {**self._progress, "phase": "storing"}
        give_up, pause = time.monotonic() + limits.ARTIFACT_PATIENCE_S, 1.0
        while True:
            try:
                workdirs.only_plain_files(self._workdir / "out")
                collected = self._aside(lambda: self._kind.collect(self.mine.job, self.mine.token, self._workdir))
                break
            except (kinds.BadOutput, ExchequerError) as error:
                if isinstance(error, leases.Fenced):
                    raise
                self._finish(Outcome.CRASHED, str(error), code)
                return
            except Exception as error:
                self.log.warning("attempt.store_failed", error=str(error))
                if time.monotonic() + pause > give_up:
                    self._finish(Outcome.ARTIFACT, f"The results could not be stored: {type(error).__name__}.", code)
                    return
                self._aside(functools.partial(time.sleep, pause))
                pause = min(pause * 2, 60.0)
        self._progress = {**self._progress, "phase": "done"}
        try:
            self._finish(Outcome.SUCCEEDED, "", code, complete=lambda job: self._kind.complete(job, collected))
        except ExchequerError as error:
            if isinstance(error, leases.Fenced):
                raise
            self._finish(Outcome.USER_ERROR, error.message, code)

    def _finish(self, outcome: Outcome, message: str, code: int | None = None, complete: Callable[[kinds.JobView], dict[str, Any]] | None = None) -> None:
        self._gather()
        while True:
            try:
                leases.finish(self.mine, outcome, self._beat, message=message, exit_code=code, complete=complete)
                self.log.info("attempt.ended", outcome=str(outcome), exit_code=code)
                return
            except AWAY:
                self._database_away()
                time.sleep(0.2)

    def _aside(self, work: Callable[[], Any]) -> Any:
        """Run slow work in a thread of its own while this one keeps the lease; return or raise what it did."""
        future = _beside(work)
        while not future.done():
            self._tick()
            self._pause(future)
        return future.result()

    def _pause(self, future: Future[Any]) -> None:
        wait([future], timeout=min(0.25, max(0.01, self._next - time.monotonic())))

    def _tick(self) -> None:
        """Take in what the child said, start a checkpoint's upload, sample the device, beat when it is time."""
        self._gather()
        now = time.monotonic()
        if now >= self._limit_at and self._stop is None and self._child is not None:
            self._stop = self._limit
        if self._stopping.is_set() and self._stop is None:
            self._stop = Outcome.STOPPED
        if now < self._next and not self._wake.is_set():
            return
        self._wake.clear()
        self._sample(now)
        started = time.monotonic()
        try:
            answer = leases.heartbeat(self.mine, self._beat)
        except AWAY:
            self._database_away()
            return
        self._acked, self._next = started, started + settings.EXCHEQUER.heartbeat_s
        self._beat = leases.Beat()
        self._limit, self._limit_at = answer.limit, started + answer.left_s
        if self._stop is None or answer.stop == Outcome.CANCELLED:
            self._stop = answer.stop or self._stop

    def _database_away(self) -> None:
        """Try again shortly while the lease may still hold; raises Fenced once it cannot."""
        connection.close()
        now = time.monotonic()
        if now - self._acked >= settings.EXCHEQUER.lease_s:
            raise leases.Fenced("The database was away for longer than the lease.")
        self._next = now + min(0.5, settings.EXCHEQUER.heartbeat_s / 2)

    def _gather(self) -> None:
        """Move what the child said and logged into the next heartbeat."""
        child = self._child
        if child is None:
            self._beat.progress = self._progress
            return
        self._beat.elapsed = child.elapsed()
        while child.said:
            said = child.said.popleft()
            if isinstance(said, protocol.Progress):
                self._progress = said.values
            elif isinstance(said, protocol.Metric):
                self._beat.metrics.append(said)
            elif isinstance(said, protocol.Fault):
                self._fault = said
            elif isinstance(said, protocol.Layers):
                self._beat.layers = said.missing
            else:
                self._save(said)
        while child.lines:
            self._beat.logs.append((self._line, child.lines.popleft()))
            self._line += 1
        self._beat.progress = self._progress

    def _sample(self, now: float) -> None:
        child, slot = self._child, self.mine.slot
        if child is None or child.exited.is_set():
            return
        try:
            reading = self._sampler.read(slot.uuid, child.group)
        except DeviceLost as lost:
            self.log.warning("device.lost", error=str(lost))
            return
        most = min(slot.memory_bytes, limits.CHILD_ADDRESS_SPACE) * limits.MEMORY_SHARE_THAT_IS_FULL
        self._full = self._full or (slot.kind == "cpu" and reading.memory_bytes > most)
        self._beat.samples.append(leases.Sample(now - self._sampled, reading.busy, reading.memory_bytes))
        self._sampled = now

    def _save(self, said: protocol.Checkpoint) -> None:
        """Copy the checkpoint out of the child's reach and upload it beside; one still going up makes the next wait its turn."""
        self._finish_saving()
        copy = workdirs.copy_checkpoint(self._workdir, said.step)
        if copy is None:
            return
        job, token = self.mine.job, self.mine.token

        def upload() -> None:
            pointer = self._kind.save_checkpoint(job, token, copy)
            leases.keep_checkpoint(self.mine, pointer)
            workdirs.remove(copy)

        self._saving = _beside(upload)

    def _finish_saving(self) -> None:
        """Wait for the upload under way, beating meanwhile; a failed one only means that an older checkpoint stays."""
        future, self._saving = self._saving, None
        if future is None:
            return
        while not future.done():
            if time.monotonic() >= self._next:
                self._beat_quietly()
            self._pause(future)
        error = future.exception()
        if isinstance(error, leases.Fenced):
            raise error
        if error is not None:
            self.log.warning("attempt.checkpoint_not_stored", error=str(error))

    def _beat_quietly(self) -> None:
        """Renew the lease without taking in what the child says."""
        try:
            if self._child is not None:
                self._beat.elapsed = self._child.elapsed()
            leases.heartbeat(self.mine, self._beat)
            self._beat = leases.Beat()
            self._acked = time.monotonic()
            self._next = self._acked + settings.EXCHEQUER.heartbeat_s
        except AWAY:
            self._database_away()


def _beside(work: Callable[[], Any]) -> Future[Any]:
    """Run work in a daemon thread with a database connection of its own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # handed to the thread that waits
            future.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=run, daemon=True).start()
    return future
