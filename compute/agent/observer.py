"""Observe one child: collect its reports and log into the next heartbeat, and measure its use of resources."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from compute import procfs
from compute.agent.checkpoints import CheckpointUploader
from compute.agent.gang import Gang
from compute.agent.heartbeat import HeartbeatSender
from compute.devices.base import DeviceLost, Sampler
from compute.leases import leases
from compute.policy import WHOLE
from compute.sandbox import excess, protocol
from compute.sandbox.process import Child, Member

log = structlog.get_logger(__name__)


class ChildObserver:
    """What is known of an attempt's child.

    `opening`: it has not begun its work. `layers`: the sandbox layers that it reported missing. `excess`: the message
    for a resource of which it took too much; else empty.
    """

    def __init__(
        self, mine: leases.Claim, sampler: Sampler, workdir: Path, heartbeat: HeartbeatSender, saver: CheckpointUploader
    ) -> None:
        self.progress: dict[str, Any] = {"phase": "starting"}
        self.fault = protocol.Fault("", "")
        self.opening, self.required = True, settings.EXCHEQUER.sandbox == "required"
        self.layers: list[str] | None = None
        self.excess = ""
        self.sampled = time.monotonic()
        self._mine, self._sampler, self._workdir = mine, sampler, workdir
        self._log = log.bind(job=str(mine.job.id), attempt=str(mine.attempt_id), fencing=mine.token)
        self._heartbeat, self._saver = heartbeat, saver
        self._line = 0

    def gather(self, child: Child | Gang | None) -> None:
        """Move the child's reports and log lines into the next heartbeat. Raises Fenced."""
        beat = self._heartbeat.beat
        if child is not None:
            while child.said:
                said = child.said.popleft()
                self.opening = self.opening and protocol.still_opening(said, required=self.required)
                if isinstance(said, protocol.Progress):
                    self.progress = said.values
                elif isinstance(said, protocol.Metric):
                    beat.metrics.append(said)
                elif isinstance(said, protocol.Fault):
                    self.fault = said
                elif isinstance(said, protocol.Layers):
                    if self.layers is None:  # later reports come from the untrusted child
                        beat.layers = self.layers = said.missing
                else:
                    self._saver.newest = said
            while child.lines:
                beat.logs.append((self._line, child.lines.popleft()))
                self._line += 1
            beat.elapsed, beat.began, beat.startup_s = child.elapsed(), child.began, child.startup_s
            self._saver.look()
        beat.progress = self.progress

    def sample(self, child: Child | Gang | None) -> None:
        """Add a sample of the device to the next heartbeat, and check memory and disk."""
        now = time.monotonic()
        if child is None or child.exited.is_set():
            return
        ranks = {slot.uuid: rank for rank, slot in self._mine.slots.items()}
        for member in child.members:
            slot = member.slot
            try:
                read = self._sampler.read if slot.share == WHOLE else self._sampler.read_part
                reading = read(slot.uuid, member.group)
            except DeviceLost as lost:
                self._log.warning("device.lost", error=str(lost))
                return
            on_host = reading if slot.kind == "cpu" else None
            memory = on_host.memory_bytes if on_host is not None else procfs.group_use(member.group)[1]
            self._check_memory_and_disk(member, memory)
            if reading is None:
                continue
            used = leases.Sample(
                now - self.sampled,
                reading.busy,
                reading.memory_bytes,
                power_w=reading.power_w,
                rank=ranks[slot.uuid],
            )
            self._heartbeat.beat.samples.append(used)
        if isinstance(child, Gang):
            for one in child.samples():
                seconds, memory, rank = float(one["seconds"]), int(one["memory_bytes"]), int(one["rank"])
                busy, power = (None if one[name] is None else float(one[name]) for name in ("busy", "power_w"))
                self._heartbeat.beat.samples.append(leases.Sample(seconds, busy, memory, power_w=power, rank=rank))
        self.sampled = now

    def check_threads(self, child: Child | Gang) -> None:
        """Record too many threads in `excess`, or what a rank of another host took too much of."""
        if isinstance(child, Gang):
            self.excess = self.excess or child.excess
        for member in child.members:
            self.excess = self.excess or excess.of_threads(member.slot, member.group)

    def check_memory_and_disk(self, child: Child | Gang, memory_bytes: int) -> None:
        """Record too much memory or disk of an ended child in `excess`."""
        self._check_memory_and_disk(Member(self._mine.slot, child.group, self._workdir), memory_bytes)

    def _check_memory_and_disk(self, member: Member, memory_bytes: int) -> None:
        self.excess = self.excess or excess.of_memory_or_disk(member.slot, memory_bytes, member.workdir, member.group)
