"""Job sets with their state and cost, which are those of their jobs, as far as the reader sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, QuerySet, Sum

from billing.money import Money
from compute import kinds
from compute.arrays import grid
from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Job, JobMetric, JobSet, JobState
from compute.sets.states import state_of
from tenants.access.actor import Actor
from tenants.access.reader import sees_money
from tenants.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class SetRow:
    """One job set. `jobs`: how many of its jobs are in each state, without those that were run again.

    `state` is the first of running, queued, paused, failed, cancelled and succeeded in which one of them is. `cap` and
    `cost` are None for a reader who sees no money, `cap` also for a set without one.
    """

    id: UUID
    name: str
    kind: str
    project_id: UUID
    project: str
    project_name: str
    state: str
    jobs: dict[str, int]
    cap: Money | None
    cost: Money | None
    earlier_costs: tuple[Money, ...]
    most_at_once: int | None
    varied: tuple[str, ...]
    launched_by: UUID | None
    launched_at: datetime
    cancelled_at: datetime | None
    ended_at: datetime | None

    @property
    def number(self) -> int:
        """Return how many jobs it has."""
        return sum(self.jobs.values())

    @property
    def is_array(self) -> bool:
        """Return whether it is no pipeline's run, which is cancelled and retried itself."""
        return self.kind == "array"

    @property
    def can_retry(self) -> bool:
        """Return whether one of its jobs failed or was cancelled, and was not run again."""
        return self.is_array and bool(self.jobs.get(JobState.FAILED) or self.jobs.get(JobState.CANCELLED))

    @property
    def is_open(self) -> bool:
        """Return whether one of its jobs has not ended."""
        return self.state not in FINAL_STATES


@dataclass(frozen=True, kw_only=True)
class MemberRow:
    """One job of a set. `values`: of the paths that vary. `metrics`: those reported last."""

    id: UUID
    name: str
    index: int
    values: dict[str, Any]
    state: str
    cause: str
    cost: Money | None
    metrics: dict[str, Any] = field(default_factory=dict)


def visible_sets(actor: Actor | None = None) -> QuerySet[JobSet]:
    """Return the sets of which the actor, by default the reader, sees a job."""
    rows = JobSet.objects.filter(Exists(visible_jobs(actor).filter(set_id=OuterRef("id"))))
    return rows if sees_money() else rows.defer("cap")


def seen_sets(actor: Actor, ids: set[UUID]) -> QuerySet[JobSet]:
    """Return those of these sets of which the actor sees a job."""
    return JobSet.objects.filter(Exists(visible_jobs(actor).filter(set_id=OuterRef("id"))), id__in=ids)


def set_list(*, before: UUID | None = None, limit: int = 50) -> list[SetRow]:
    """Return up to `limit` + 1 sets, newest first, that come after `before`; the extra one shows that there are more."""
    rows = visible_sets().select_related("project").order_by("-id")
    return _rows((rows if before is None else rows.filter(id__lt=before))[: limit + 1])


def set_detail(set_id: UUID) -> SetRow:
    """Return one set. Raises NotFound."""
    found = _rows(visible_sets().select_related("project").filter(id=set_id))
    if not found:
        raise NotFound
    return found[0]


def members(set_id: UUID, *, before: UUID | None = None, limit: int = 50) -> list[MemberRow]:
    """Return up to `limit` + 1 jobs of a set in the order of their launch, after the job `before`. Raises NotFound."""
    found = visible_sets().filter(id=set_id).first()
    if found is None:
        raise NotFound
    rows = visible_jobs().filter(set_id=set_id).order_by("id")
    jobs = list((rows if before is None else rows.filter(id__gt=before))[: limit + 1])
    last = JobMetric.objects.filter(job_id__in=[job.id for job in jobs]).order_by("job", "-step", "-token")
    metrics = dict(last.distinct("job").values_list("job_id", "values"))
    shown = sees_money()
    return [
        MemberRow(
            id=job.id,
            name=job.name,
            index=job.set_index or 0,
            values={path: grid.at(job.spec, path) for path in found.varied},
            state=job.state,
            cause=job.cause,
            cost=Money(job.spent, job.currency) if shown else None,
            metrics=metrics.get(job.id, {}),
        )
        for job in jobs
    ]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best value of a metric among the jobs of a set that succeeded, and whose it is. `better`: higher or lower."""

    metric: str
    value: float
    better: str
    job: UUID
    name: str


def best(set_id: UUID) -> list[Best]:
    """Return the best value of each metric that jobs of a set ended with, as far as the reader sees them."""
    rows = visible_jobs().filter(set_id=set_id, state=JobState.SUCCEEDED).order_by("id")
    found: dict[str, Best] = {}
    for job_id, name, kind, metrics in rows.values_list("id", "name", "kind", "result__metrics"):
        for metric, value in (metrics if isinstance(metrics, dict) else {}).items():
            better = kinds.better(kind, metric)
            if not better or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            known = found.get(metric)
            if known is None or (value < known.value if better == "lower" else value > known.value):
                found[metric] = Best(metric=metric, value=value, better=better, job=job_id, name=name)
    return list(found.values())


def _rows(found: Iterable[JobSet]) -> list[SetRow]:
    sets, shown = list(found), sees_money()
    later = Job.objects.filter(set_id=OuterRef("set_id"), set_index=OuterRef("set_index"), id__gt=OuterRef("id"))
    groups = visible_jobs().filter(set_id__in=[one.id for one in sets]).annotate(again=Exists(later)).order_by()
    sums = {"number": Count("id")} | ({"amount": Sum("spent")} if shown else {})
    states: dict[UUID, Counter[str]] = {one.id: Counter() for one in sets}
    costs: dict[UUID, Counter[str]] = {one.id: Counter() for one in sets}
    rows: Iterable[Any] = groups.values("set_id", "state", "currency", "again").annotate(**sums)
    for row in rows:
        if not row["again"]:
            states[row["set_id"]][row["state"]] += row["number"]
        if shown:
            costs[row["set_id"]][row["currency"]] += row["amount"]
    return [_row(one, dict(states[one.id]), dict(costs[one.id]), shown=shown) for one in sets]


def _row(one: JobSet, states: dict[str, int], costs: dict[str, Any], *, shown: bool) -> SetRow:
    return SetRow(
        id=one.id,
        name=one.name,
        kind=one.kind,
        project_id=one.project_id,
        project=one.project.slug,
        project_name=one.project.name,
        state=state_of(states),
        jobs=states,
        cap=Money(one.cap, one.currency) if shown and one.cap is not None else None,
        cost=Money(costs.get(one.currency, Decimal(0)), one.currency) if shown else None,
        earlier_costs=tuple(Money(amount, name) for name, amount in costs.items() if name != one.currency),
        most_at_once=one.most_at_once,
        varied=tuple(one.varied),
        launched_by=one.launched_by,
        launched_at=one.launched_at,
        cancelled_at=one.cancelled_at,
        ended_at=one.ended_at,
    )
