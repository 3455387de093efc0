"""Many jobs, and seeded faults meanwhile: whatever is killed, stopped, flushed, repeated, cancelled or paused.

One harness for every size: `Chaos` submits jobs as faults go by, so that the last fault still finds one at work. What must be
true at the end is in `tests.faults.aftermath`.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import redis
from celery import Celery

from compute.jobs import jobs
from compute.models import FINAL_STATES, Attempt, AttemptState, Job
from compute.tasks import queue_of
from tenants.errors import Conflict
from tenants.isolation.scoping import tenant_scope
from tests.faults.harness import WorkCluster, signal_group
from tests.support.waiting import wait_until

NODES = ("n1", "n2")

#: Each of them as often as it stands here; the order is drawn.
FAULTS = (
    "kill_worker", "kill_child", "flush_broker", "wake_again", "pause_job", "kill_child", "kill_worker",
    "stop_worker", "cancel_job", "wake_again",
)  # fmt: skip


@dataclass
class Chaos:
    """A run: `submit` launches the job of a number. The same seed draws the same faults in the same order."""

    home: WorkCluster
    broker: str
    submit: Callable[[int], UUID]
    seed: int
    lease_s: float
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    submitted: list[UUID] = field(default_factory=list)
    cancelled: set[UUID] = field(default_factory=set)
    stopped: set[UUID] = field(default_factory=set)
    frozen: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    zombies: dict[str, set[UUID]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    recovery_s: list[float] = field(default_factory=list)
    _boots: dict[str, set[UUID]] = field(default_factory=dict)
    _later: list[tuple[Callable[[], bool], Callable[[], None]]] = field(default_factory=list)
    _away: set[str] = field(default_factory=set)

    def run(self, *, many: int, faults: int, pause_s: float) -> None:
        """Run at least `many` jobs through `faults` faults to their ends, a fault each `pause_s` on the average."""
        chance = random.Random(self.seed)
        drawn = [FAULTS[number % len(FAULTS)] for number in range(faults)]
        chance.shuffle(drawn)
        celery = Celery("again", broker=self.broker)
        self._wakes, self._flushes = celery, redis.Redis.from_url(self.broker)
        try:
            for name in NODES:
                self._start(name)
            wait_until(lambda: len(self._present()) == len(NODES), "both nodes")
            for number, fault in enumerate(drawn, 1):
                while len(self.submitted) < max(4, many * number // faults):
                    self.submitted.append(self.submit(len(self.submitted)))
                due = time.monotonic() + chance.uniform(0, 2 * pause_s)
                wait_until(lambda: time.monotonic() >= due and not self._catch_up(), "its moment", longest_pause_s=0.05)  # noqa: B023
                wait_until(lambda: self._act(fault, chance), f"a place for {fault}", longest_pause_s=0.05)  # noqa: B023
                self.done[fault] += 1
            while left := len(self.unfinished()):  # a slow machine takes long for all of them, and not for the next one
                wait_until(lambda: self._over() or len(self.unfinished()) < left, f"the end of one of {left}")
            wait_until(self._over, "the end of all")
        finally:
            celery.close()
            self._flushes.close()

    def unfinished(self) -> dict[UUID, str]:
        """Return the jobs that have not ended, with their states."""
        with tenant_scope(self.home.tenant.id):
            return dict(Job.objects.exclude(state__in=FINAL_STATES).values_list("id", "state"))

    def _over(self) -> bool:
        self._catch_up()
        return not self._later and not self.unfinished() and not self._running() and len(self._present()) == len(NODES)

    def _running(self) -> list[Attempt]:
        with tenant_scope(self.home.tenant.id):
            live = Attempt.objects.select_related("node").exclude(state=AttemptState.ENDED)
            return list(live.order_by("id"))

    def _at_work(self) -> list[Attempt]:
        """Return the attempts whose child runs, on nodes that are not stopped."""
        groups, runs = self.home.truth.groups, self.home.truth.runs
        return [
            one
            for one in self._running()
            if one.node.name not in self._away and str(one.id) in groups and runs(groups[str(one.id)])
        ]

    def _catch_up(self) -> None:
        """Do what has become due."""
        for entry in list(self._later):
            ready, act = entry
            if ready():
                self._later.remove(entry)
                act()

    def _start(self, name: str) -> None:
        self._boots[name] = self.home.boots(name)
        self.nodes[name] = self.home.start_node(name)

    def _present(self) -> list[str]:
        """Return the nodes that have registered since their last start and are not stopped."""
        return [name for name in NODES if name not in self._away and self.home.boots(name) - self._boots[name]]

    def _act(self, fault: str, chance: random.Random) -> bool:
        self._catch_up()
        if not self.unfinished():  # a fast machine: each fault still meets work
            self.submitted.append(self.submit(len(self.submitted)))
        done = bool(getattr(self, f"_{fault}")(chance))
        if done:
            self._tell(fault)
        return done

    def _tell(self, what: str) -> None:
        """Write a line of the run's story, which a failing test shows beside the logs."""
        with (self.home.folder / "chaos.log").open("a") as story:
            waiting = dict(Counter(self.unfinished().values()))
            story.write(f"{datetime.now(UTC):%H:%M:%S.%f} {what}; {len(self.submitted)} jobs, open: {waiting}\n")

    def _kill_worker(self, chance: random.Random) -> bool:
        if not (present := self._present()):
            return False
        name = chance.choice(present)
        hit = [one for one in self._at_work() if one.node.name == name]
        self.nodes[name].kill()
        self.nodes[name].wait()
        self.zombies.pop(name, None)  # killed before it noticed that it lost them, or after
        self._start(name)
        for one in hit:
            self._time_recovery(one, time.monotonic())
        return True

    def _time_recovery(self, lost: Attempt, since: float) -> None:
        """Measure, once there is one, how long the next attempt's child took to be seen."""

        def again() -> float | None:
            with tenant_scope(self.home.tenant.id):
                later = Attempt.objects.filter(job_id=lost.job_id, token__gt=lost.token).order_by("token").first()
            return self.home.truth.seen.get(str(later.id), [None])[0] if later else None

        def over() -> bool:
            return again() is not None or lost.job_id not in self.unfinished()

        self._later.append((over, lambda: self.recovery_s.append((again() or since) - since)))

    def _kill_child(self, chance: random.Random) -> bool:
        if not (at_work := self._at_work()):
            return False
        signal_group(self.home.truth.groups[str(chance.choice(at_work).id)])
        return True

    def _stop_worker(self, chance: random.Random) -> bool:
        """Stop a worker for longer than its lease, let it go on once its work is lost, and expect it to be fenced."""
        busy = sorted({one.node.name for one in self._at_work()}.intersection(self._present()))
        if not busy or self._away:
            return False
        name = chance.choice(busy)
        process = self.nodes[name]
        process.send_signal(signal.SIGSTOP)
        self._away.add(name)
        hit = {one.id for one in self._running() if one.node.name == name}
        self.stopped |= hit
        until = time.monotonic() + 1.2 * self.lease_s

        def lost() -> bool:
            return time.monotonic() > until and not hit & {one.id for one in self._running()}

        def go_on() -> None:
            with tenant_scope(self.home.tenant.id):
                woken = {row["id"]: row for row in Attempt.objects.filter(id__in=hit, outcome="lost").values()}
            self.frozen |= woken
            self.zombies.setdefault(name, set()).update(woken)
            process.send_signal(signal.SIGCONT)
            self._tell(f"{name} goes on, {len(self.frozen)} attempts were lost")
            self._away.discard(name)

        self._later.append((lost, go_on))
        return True

    def _flush_broker(self, chance: random.Random) -> bool:
        self._flushes.flushall()
        return True

    def _wake_again(self, chance: random.Random) -> bool:
        """Repeat the wake-up of any attempt, ended ones too, at every node."""
        with tenant_scope(self.home.tenant.id):
            known = list(Attempt.objects.order_by("id").values_list("id", "token"))
        if not known:
            return False
        attempt, token = chance.choice(known)
        for name in NODES:
            given = [str(self.home.tenant.id), str(attempt), token]
            self._wakes.send_task("compute.run_attempt", args=given, queue=queue_of(name), ignore_result=True)
        return True

    def _cancel_job(self, chance: random.Random) -> bool:
        if not (open_jobs := sorted(self.unfinished())):
            return False
        chosen = chance.choice(open_jobs)
        try:
            jobs.cancel(actor=self.home.actor, job_id=chosen)
        except Conflict:  # it ended by itself
            return False
        self.cancelled.add(chosen)
        return True

    def _pause_job(self, chance: random.Random) -> bool:
        if not (at_work := self._at_work()):
            return False
        chosen = chance.choice(at_work).job_id
        try:
            jobs.pause(actor=self.home.actor, job_id=chosen)
        except Conflict:
            return False
        due = time.monotonic() + chance.uniform(0, 2)

        def resume() -> None:
            if self.unfinished().get(chosen) == "paused":  # neither cancelled nor ended by the attempt that was there
                jobs.resume(actor=self.home.actor, job_id=chosen)

        self._later.append((lambda: time.monotonic() > due, resume))
        return True
