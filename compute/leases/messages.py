"""Messages between an attempt's supervisor and its lease: the claim, the heartbeat's batch, the reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any
from uuid import UUID

from compute import kinds
from compute.models import Outcome
from compute.sandbox.process import Slot
from compute.sandbox.protocol import Metric
from tenants.encryption import handouts
from tenants.errors import Conflict


class Fenced(Conflict):
    """This attempt is no longer ours: it ended, or its lease ran out. Nothing was written."""

    code = "fenced"


@dataclass(frozen=True)
class Claim:
    """An attempt that this process now runs. `slot` is the device of rank 0, `others` those of further ranks on this node.

    `elsewhere`: the ranks of each other node, by its name.
    """

    job: kinds.JobView
    attempt_id: UUID
    token: int
    node: str
    slot: Slot
    others: dict[int, Slot] = field(default_factory=dict)
    elsewhere: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def slots(self) -> dict[int, Slot]:
        """Return the devices of this node by rank."""
        return {0: self.slot, **self.others}

    @cached_property
    def work(self) -> handouts.Work:
        """For what the platform hands out keys and files; they are dropped with the claim."""
        return handouts.Work(self.job.tenant_id, handouts.ATTEMPT, self.attempt_id, self.token)


@dataclass
class Sample:
    """How busy a rank's device was over `seconds`, and its mean power in watts; None where it is not measured.

    `number` distinguishes the samples of an attempt's process.
    """

    seconds: float
    busy: float | None
    memory_bytes: int
    power_w: float | None = field(default=None, kw_only=True)
    rank: int = field(default=0, kw_only=True)
    number: int = field(default_factory=count(1).__next__, kw_only=True)


@dataclass
class Heartbeat:
    """Contents of one heartbeat.

    `elapsed` is the child's running time so far, None before it started; `began` is its start on this process's
    monotonic clock, from which the start is dated. `startup_s`: the time its program took to begin its work.
    """

    elapsed: float | None = None
    began: float | None = None
    startup_s: float | None = None
    progress: dict[str, Any] | None = None
    metrics: list[Metric] = field(default_factory=list)
    logs: list[tuple[int, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    layers: list[str] | None = None

    def drop_reported(self) -> bool:
        """Drop what the child itself reported and keep what was measured; return whether there was anything."""
        said = bool(self.progress or self.metrics or self.logs or self.layers)
        self.progress, self.metrics, self.logs, self.layers = None, [], [], None
        return said


@dataclass(frozen=True)
class HeartbeatReply:
    """Reply to a heartbeat. `stop` is the outcome to end with, None to continue; `left_s` runs to the next limit."""

    stop: Outcome | None
    left_s: float
    limit: Outcome
