"""Simulation of sixty days in a minute: events in order of time, each under the moved clock, on a simulated node.

The node claims, heartbeats and ends attempts through the real functions of a worker; only the child is replaced by
random draws. The controller's part is its own code.
"""

from __future__ import annotations

import heapq
import itertools
import socket
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings

from compute.devices.host import HostSampler
from compute.fleet import nodes
from compute.leases import leases
from compute.models import Job
from compute.scheduling import assign
from config.demo.clock import DemoClock

AttemptScript = Generator[float, None, bool]
"""Behaviour of an attempt: yields the seconds until its next action; returns whether its job waits for another
attempt."""

CLAIM_S = 1.4
BACK_OFF_S = 75


class Simulation:
    """Runs events and attempts. `played` maps a job to the script of its next attempt."""

    def __init__(self, clock: DemoClock, boot: UUID) -> None:
        self.clock = clock
        self._events: list[tuple[datetime, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self.boot = boot
        self._scripts: dict[UUID, Callable[[leases.Claim], AttemptScript]] = {}
        self._waiting = 0
        self._taken = 0
        self.node: nodes.Registered | None = None
        self.devices = 0

    def open_node(self) -> nodes.Registered:
        """Register this host's node with its processors; the real worker takes it over later."""
        host = socket.gethostname()
        found = HostSampler(host, settings.EXCHEQUER.effective_cpu_devices).inventory()
        self.node = nodes.register(
            name=settings.EXCHEQUER.effective_node_id, hostname=host, boot=self.boot, found=found, missing_layers=[]
        )
        self.devices = len(found)
        return self.node

    def at(self, moment: datetime, act: Callable[[], object]) -> None:
        """Schedule a callback at a time."""
        heapq.heappush(self._events, (moment, next(self._order), act))

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Schedule a callback after so many seconds of the clock."""
        self.at(self.clock.now() + timedelta(seconds=seconds), act)

    def run(self) -> None:
        """Run all events, including those they schedule."""
        while self._events:
            moment, _, act = heapq.heappop(self._events)
            self.clock.move_to(moment)
            act()
            self._assign()

    def queue(self, job: Job, script: Callable[[leases.Claim], AttemptScript]) -> None:
        """Make a queued job's next attempt follow a script."""
        self._scripts[job.id] = script
        self._waiting += 1

    def _assign(self) -> None:
        if not self._waiting or self._taken >= self.devices or self.node is None:
            return
        nodes.alive(self.node)
        for dispatch in assign.assign_all():
            self._waiting -= 1
            self._taken += 1
            self.later(CLAIM_S, partial(self._claim, dispatch))

    def _claim(self, dispatch: assign.Dispatch) -> None:
        mine = leases.claim(
            tenant_id=dispatch.tenant_id,
            attempt_id=dispatch.attempt_id,
            token=dispatch.token,
            node=dispatch.node,
            boot=self.boot,
        )
        if mine is None:
            raise RuntimeError(f"attempt {dispatch.attempt_id} could not be claimed")
        self._step(self._scripts[mine.job.id](mine))

    def _step(self, script: AttemptScript) -> None:
        try:
            seconds = next(script)
        except StopIteration as end:
            self._taken -= 1
            if end.value:
                self._waiting += 1
                self.later(BACK_OFF_S, lambda: None)  # by then it may be retried
            return
        self.later(seconds, lambda: self._step(script))
