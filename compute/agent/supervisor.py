"""Run one attempt: stage, start the child, send heartbeats, stop it, store its output, end the attempt.

The thread here only sends heartbeats and decides; staging and storing run in parallel, so that a slow object store
never costs the lease. While PostgreSQL is unreachable the child keeps running. Heartbeats catch up when it is back, or
the child is killed when the lease has expired by this process's own clock.
"""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from compute import kinds, limits
from compute.agent import exit_codes
from compute.agent.checkpoints import CheckpointUploader
from compute.agent.gang import Gang
from compute.agent.gathering import gather
from compute.agent.heartbeat import HeartbeatSender, beside
from compute.agent.observer import ChildObserver
from compute.devices.base import Sampler
from compute.leases import leases
from compute.models import Outcome
from compute.pg_session import AWAY
from compute.policy import WHOLE
from compute.sandbox import sandbox, workdirs
from compute.sandbox.process import Child
from tenants.encryption import handouts
from tenants.errors import ExchequerError, Unavailable

log = structlog.get_logger(__name__)

BAD_OUTPUT = "The program ended, but its output could not be used."
"""The operators' log has the details: the owner of a job cannot fix it."""


class AttemptSupervisor:
    """One attempt, on devices of this host at least. `wake()` makes it look at the job now; `shut_down()` ends it when the worker stops."""

    def __init__(self, mine: leases.Claim, sampler: Sampler, home: Path) -> None:
        self.mine = mine
        self.log = log.bind(job=str(mine.job.id), attempt=str(mine.attempt_id), fencing=mine.token)
        self._kind = kinds.get(mine.job.kind)
        self._workdir = home / str(mine.attempt_id)
        self._heartbeat = HeartbeatSender(mine)
        self._stopping = threading.Event()
        self._child: Child | Gang | None = None
        self._stop: Outcome | None = None
        self._limit = Outcome.TIME_LIMIT
        self._limit_at = float("inf")
        self._saver = CheckpointUploader(mine, self._kind, self._workdir)
        self._observed = ChildObserver(mine, sampler, self._workdir, self._heartbeat, self._saver)

    @property
    def job_id(self) -> UUID:
        """Return the job."""
        return self.mine.job.id

    def wake(self) -> None:
        """Send a heartbeat now."""
        self._heartbeat.wake()

    def holds(self, device: str) -> bool:
        """Return whether a rank here has this device."""
        return any(slot.uuid == device for slot in self.mine.slots.values())

    def shut_down(self) -> None:
        """Stop because the worker stops: checkpoint, then requeue.

        The worker is killed itself if it takes too long, so a running checkpoint upload is given up at the end of the
        grace period.
        """
        self._saver.leave_by = time.monotonic() + limits.STOP_GRACE_S
        self._stopping.set()
        self._heartbeat.wake()

    def run(self) -> None:
        """Run the attempt to its end; a failing job, a crashing child or a lost lease never raises."""
        try:
            self._run()
        except leases.Fenced:
            self.log.warning("attempt.fenced")
        finally:
            if self._child is not None:
                self._child.kill()
            workdirs.remove(self._workdir)
            connection.close_if_unusable_or_obsolete()

    def _run(self) -> None:
        try:
            workdirs.make(self._workdir)
            staged = self._in_thread(self._stage)
            if self._stop is not None:
                self._finish(self._stop, "")
                return
            self._child = self._start(staged)
        except leases.Fenced:
            raise
        except kinds.BadArtefact as error:
            self._finish(Outcome.ARTIFACT, str(error))
            return
        except Exception as error:
            if isinstance(error, ExchequerError) and not isinstance(error, Unavailable):
                self._finish(Outcome.USER_ERROR, error.message)
                return
            if self._stop is not None:  # given up while its hosts gathered
                self._finish(self._stop, "")
                return
            self.log.exception("attempt.stage_failed")
            self._finish(Outcome.UNSTAGED, "It could not be started. This is a platform failure and is not charged.")
            return
        try:
            self._watch(self._child)
            self._settle(self._child)
        except kinds.BadOutput as error:
            self._child.kill()
            self.log.warning("attempt.bad_output", error=str(error))
            plain = str(error) if isinstance(error, kinds.BadReport) else BAD_OUTPUT
            self._finish(Outcome.CRASHED, plain, self._child.exit_code)

    def _stage(self) -> dict[str, Any]:
        with handouts.working(self.mine.work):
            return self._kind.stage(self.mine.job, self._workdir)

    def _store(self, taken: Path) -> dict[str, Any]:
        with handouts.working(self.mine.work):
            return self._kind.collect(self.mine.job, self.mine.token, taken)

    def _start(self, staged: dict[str, Any]) -> Child | Gang:
        slot = self.mine.slot
        payload = {
            "attempt": str(self.mine.attempt_id),
            "device": {"kind": slot.kind, "uuid": slot.uuid, "share": slot.share / WHOLE},
            "threads": slot.threads,
            "seed": self.mine.job.id.int & 0x7FFFFFFF,
            "resume": bool(self.mine.job.checkpoint),
            **staged,
        }
        common: dict[str, Any] = {
            "entrypoint": self._kind.entrypoint,
            "workdir": self._workdir,
            "payload": payload,
            "sandbox_required": self._observed.required,
        }
        child: Child | Gang
        if self.mine.elsewhere:
            meeting = gather(self.mine, self._workdir, self._in_thread, lambda: self._stop is not None)
            child = Gang(**common, slots=self.mine.slots, meeting=meeting)
        elif self.mine.others:
            child = Gang(**common, slots=self.mine.slots)
        else:
            child = Child(**common, attempt=str(self.mine.attempt_id), slot=slot)
        self.log.info("attempt.started", group=child.group)
        self._observed.progress = {"phase": "running"}
        self._heartbeat.next = self._observed.sampled = time.monotonic()
        self._limit_at = float("inf")
        return child

    def _watch(self, child: Child | Gang) -> None:
        """Send heartbeats until the child exits; ask it to stop for a reason, kill it after the grace period."""
        kill_at = float("inf")
        while not child.exited.is_set():
            self._tick()
            if self._stop is not None and kill_at == float("inf"):
                self.log.info("attempt.stopping", reason=str(self._stop))
                kill_at = time.monotonic() + limits.STOP_GRACE_S
                child.ask_to_stop()
            if (
                time.monotonic() >= kill_at
                or self._stop == Outcome.CANCELLED
                or (self._observed.excess and self._stop is None)
            ):
                child.kill()
            nearest = min(self._heartbeat.next, kill_at, self._limit_at if self._stop is None else kill_at)
            child.changed.wait(max(0.01, min(nearest - time.monotonic(), 0.25)))
            child.changed.clear()

    def _settle(self, child: Child | Gang) -> None:
        """Classify the exit, store the output, and end the attempt."""
        self._gather()
        self._saver.finish(self._heartbeat, self._gather)
        seen, code, slot = self._observed, child.exit_code, self.mine.slot
        filtered = sandbox.CALLS not in (seen.layers or ())
        if self._stop is None and self._stopping.is_set():  # stopping this worker may have signalled its children too
            self._stop = Outcome.STOPPED
        if code == -signal.SIGKILL:  # by the kernel, for memory taken between two samples
            seen.check_memory_and_disk(child, child.peak_bytes)
        end = exit_codes.ChildExit(
            code=code, stop=self._stop, excess=seen.excess, fault=seen.fault.message, device=slot.uuid,
            opening=seen.opening, cuda=slot.kind == "cuda", filtered=filtered)  # fmt: skip
        outcome, message = exit_codes.classify(end)
        if seen.fault.message and outcome in {Outcome.CRASHED, Outcome.PLATFORM}:
            self.log.warning("attempt.fault", code=seen.fault.code, said=seen.fault.message)
        if outcome == Outcome.SUCCEEDED:
            self._succeed(code)
        else:
            self._finish(outcome, message, code)

    def _succeed(self, code: int | None) -> None:
        seen = self._observed
        seen.progress = {**seen.progress, "phase": "storing"}
        try:
            collected = self._collect()
            seen.progress = {**seen.progress, "phase": "done"}
            if collected is None:
                self._finish(Outcome.ARTIFACT, "The results could not be stored.", code)
            else:
                self._finish(Outcome.SUCCEEDED, "", code, lambda job: self._kind.complete(job, collected))
        except leases.Fenced:
            raise
        except kinds.BadOutput as error:
            self.log.warning("attempt.bad_output", error=str(error))
            self._finish(Outcome.CRASHED, BAD_OUTPUT, code)
        except ExchequerError as error:
            self._finish(Outcome.USER_ERROR, error.message, code)
        except Exception as error:
            self.log.exception("attempt.collect_failed")
            if workdirs.disk_full(error):
                self._finish(
                    Outcome.DISK_FULL, "The host's disk was full. This is a platform failure and is not charged.", code
                )
                return
            self._finish(Outcome.CRASHED, BAD_OUTPUT, code)

    def _collect(self) -> dict[str, Any] | None:
        """Return what the kind collected; None if its store stayed unreachable for too long. Raises permanent errors."""
        give_up, pause = time.monotonic() + limits.ARTIFACT_PATIENCE_S, 1.0
        taken = self._in_thread(lambda: workdirs.take_output(self._workdir))
        while True:
            try:
                collected: dict[str, Any] = self._in_thread(lambda: self._store(taken))
            except (Unavailable, *AWAY) as error:
                self.log.warning("attempt.store_failed", error=str(error))
                if time.monotonic() + pause > give_up:
                    return None
                self._in_thread(functools.partial(time.sleep, pause))
                pause = min(pause * 2, 60.0)
            else:
                return collected

    def _finish(
        self,
        outcome: Outcome,
        message: str,
        code: int | None = None,
        complete: Callable[[kinds.JobView], dict[str, Any]] | None = None,
    ) -> None:
        self._gather()
        self._heartbeat.finish(outcome, message, code, complete)
        self.log.info("attempt.ended", outcome=str(outcome), exit_code=code)

    def _in_thread(self, work: Callable[[], Any]) -> Any:
        """Run slow work in its own thread while this one keeps the lease; return its result or raise its error."""
        future = beside(work)
        while not future.done():
            self._tick()
            self._heartbeat.rest(future)
        return future.result()

    def _tick(self) -> None:
        """Read the child's output, sample the device, send a due heartbeat, and record a reason to stop."""
        self._gather()
        if self._child is not None and not self._child.exited.is_set():
            # On each turn, not on each heartbeat: a child can start thousands of threads, and the host has a limit.
            self._observed.check_threads(self._child)
            if isinstance(self._child, Gang) and self._child.leaving:
                self._stopping.set()
        if time.monotonic() >= self._limit_at and self._stop is None and self._child is not None:
            self._stop = self._limit
        if self._stopping.is_set() and self._stop is None:
            self._stop = Outcome.STOPPED
        if not self._heartbeat.due():
            return
        self._observed.sample(self._child)
        renewed = self._heartbeat.renew()
        if renewed is None:
            return
        answer, asked = renewed
        self._limit, self._limit_at = answer.limit, asked + answer.left_s
        if self._stop is None or answer.stop == Outcome.CANCELLED:
            self._stop = answer.stop or self._stop

    def _gather(self) -> None:
        self._observed.gather(self._child)
