"""Rows of this app's queries: jobs, attempts, logs, metrics and devices, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.money import Money
from billing.rating.quantity import share_said
from compute.labels import as_text
from compute.models import FINAL_STATES, AttemptState, JobState
from tenants.quotas import Amount

JOBS, INFERENCE = "jobs", "inference"


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Combined conditions; None and empty do not filter. All `tags` must match; `text` is part of the name."""

    states: tuple[str, ...] = ()
    project_id: UUID | None = None
    kind: str = ""
    device_class: str = ""
    submitted_by: UUID | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    set_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One line of a list of jobs.

    `position`: its place among the tenant's own jobs waiting for the class, `wait_reason` why the policy does not start it,
    `expected_start_at` when it is expected to. `running_s`: wall time on devices so far;
    `cost`: what is billed for it, in its currency; `earlier_costs`: in those before a contract changed that.
    """

    id: UUID
    name: str
    kind: str
    project_id: UUID
    project: str
    project_name: str
    submitted_by: UUID | None
    submitted_by_label: str
    device_class: str
    devices: int
    share: int
    one_node: bool
    node_labels: dict[str, str]
    tier: str
    tags: dict[str, str]
    state: str
    cause: str
    message: str
    progress: dict[str, Any]
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    billed_seconds: Decimal
    cost: Money
    position: int | None = None
    wait_reason: str = ""
    expected_start_at: datetime | None = None
    earlier_costs: tuple[Money, ...] = ()

    @property
    def share_said(self) -> str:
        """What it has of its device: `1`, or a part such as `1/2`."""
        return share_said(self.share)

    @property
    def labels_text(self) -> str:
        """The labels of hosts that it asks for, as people type them."""
        return as_text(self.node_labels)

    @property
    def final(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL_STATES

    @property
    def share_done(self) -> float | None:
        """Return the progress, 0 to 1; None if the child has not reported any."""
        done, total = self.progress.get("done"), self.progress.get("total")
        return min(1.0, done / total) if isinstance(done, int) and isinstance(total, int) and total > 0 else None


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """One run of a job on one device.

    `cause` is how it ended; `assigned_at` to `started_at` is preparation, not billed. `on_demand_cost`: of a spot job, what
    its seconds would have cost on demand.
    """

    id: UUID
    token: int
    device: str
    device_class: str
    node: str
    state: str
    cause: str
    message: str
    exit_code: int | None
    assigned_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    billed_seconds: Decimal
    cost: Money
    missing_layers: tuple[str, ...]
    startup_s: float | None = None
    on_demand_cost: Money | None = None


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """The quote of a job: nine bills of ten lie between `least` and `most`. `within`: whether its own does, at its end."""

    least: Money
    most: Money
    least_s: int
    most_s: int
    start_s: float
    within: bool | None


@dataclass(frozen=True, kw_only=True)
class JobDetail(JobRow):
    """All about one job. `described` holds its kind's own fields; `waiting_for` why it does not run."""

    spec: dict[str, Any]
    max_seconds: int
    max_cost: Money | None
    unit_amount: Decimal
    price_version: UUID | None
    quoted: Quoted | None
    queued_at: datetime
    waiting_for: dict[str, Any] | None
    has_checkpoint: bool
    cloned_from: UUID | None
    job_set: UUID | None
    result: dict[str, Any]
    described: dict[str, Any]
    attempts: tuple[AttemptRow, ...]

    @property
    def unit_price(self) -> Money:
        """What a second costs."""
        return Money(self.unit_amount, self.cost.currency)

    @property
    def on_demand_cost(self) -> Money | None:
        """What the seconds of a spot job would have cost on demand; None for other jobs, and before it ran."""
        begun = [run for run in self.attempts if run.started_at is not None]
        known = [run.on_demand_cost for run in begun if run.on_demand_cost is not None]
        return sum(known[1:], known[0]) if known and len(known) == len(begun) else None

    @property
    def spot_saving(self) -> Money | None:
        """How much less a spot job costs than on demand, start-ups that were repeated included."""
        other = self.on_demand_cost
        return None if other is None else other - self.cost

    @property
    def settled(self) -> bool:
        """Whether its cost is complete: it is final, and the child of its last attempt is gone."""
        return self.final and not self._lives

    @property
    def stopping(self) -> bool:
        """Whether it is paused but not stopped yet: its attempt still saves a checkpoint, and its seconds are billed."""
        return self.state == JobState.PAUSED and self._lives

    @property
    def _lives(self) -> bool:
        return any(attempt.state != AttemptState.ENDED for attempt in self.attempts)


@dataclass(frozen=True)
class LogLine:
    """One line of a job's log; continue with `after=position`."""

    position: int
    at: datetime
    attempt: int
    line: str


@dataclass(frozen=True)
class MetricPoint:
    """The values of one step, from the latest attempt that reached it."""

    step: int
    at: datetime
    attempt: int
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """One device of the pool. `free`: it could take work now. Other tenants' work on it is not shown.

    `serves`: `jobs`, or `inference` for a slot of a serving node, which no job gets.
    """

    id: UUID
    name: str
    node: str
    device_class: str
    kind: str
    memory_bytes: int
    state: str
    state_reason: str
    free: bool
    node_alive: bool
    node_seen_at: datetime
    missing_layers: tuple[str, ...]
    serves: str


@dataclass(frozen=True)
class ClassRow:
    """A device class of the launch form. `shares`: the parts of a device, such as `1/2`, for which it is open."""

    device_class: str
    total: int
    free: int
    quota_limit: int | None
    quota_in_use: Amount
    shares: tuple[str, ...] = ()
