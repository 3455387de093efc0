"""Queries of this app for others: frozen rows of jobs, attempts, logs, metrics and devices, in the open scope.

Only jobs that the reader may see (`jobs/visibility.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet

from billing.money import Money
from billing.queries.billed import Billed, billed, billed_attempts, billed_sql
from compute import kinds
from compute.jobs import transitions
from compute.jobs.visibility import visible_jobs, without_amounts
from compute.models import FINAL_STATES, Attempt, Job, JobLog, JobMetric, JobState
from compute.queries import spot, waiting
from compute.queries.rows import (
    AttemptRow,
    JobDetail,
    JobFilter,
    JobRow,
    LogLine,
    MetricPoint,
    Quoted,
)
from tenants.access.actor import Actor
from tenants.access.reader import sees_money
from tenants.errors import Invalid, NotFound
from tenants.isolation.pages import rows_of_page
from tenants.projects.figures import Figure
from tenants.projects.sight import in_sight_of

SORTS = {
    "name": "name", "project": "project__name", "device": "device_class", "state": "state", "submitted": "submitted_at",
    "billed": "measured_s", "cost": "spent",
}  # fmt: skip
"""Sort keys of the list, with their columns."""
MONEY = {"cost"}
"""Sort keys that order by amounts."""

LIST = """
SELECT job.id, job.name, job.kind, job.project_id, job.submitted_by, job.submitted_by_label, job.device_class, job.devices,
    job.share, job.one_node, job.node_labels, job.tier,
    job.tags, job.state, job.cause, job.message, job.progress, job.submitted_at, job.started_at, job.ended_at, job.currency,
    job.wait_reason, job.expected_start_at,
    project.slug AS project, project.name AS project_name, charge.billable, charge.amounts
FROM page JOIN compute_job job ON job.id = page.id JOIN tenants_project project ON project.id = job.project_id
CROSS JOIN LATERAL ({charge}) charge ORDER BY page.n
"""
"""Columns of the list. Those of a job's page, such as its specification, may be large."""


def job_list(
    asked: JobFilter | None = None, *, before: UUID | None = None, limit: int = 50, sort: str = ""
) -> list[JobRow]:
    """Return up to `limit` + 1 jobs, newest first, that come after `before`; the extra one shows that there are more.

    `sort`: one of `SORTS`, with `-` for descending; jobs of equal value come newest first.
    """
    rows = _matching(asked or JobFilter())
    sort = readable_sort(sort)
    field, down = SORTS.get(sort.removeprefix("-"), ""), sort.startswith("-")
    order = [f"-{field}" if down else field, "-id"] if field else ["-id"]
    if before is not None:
        rows = _after(rows, before, field, down=down)
    jobs = rows_of_page(rows.order_by(*order)[: limit + 1], LIST.format(charge=billed_sql("job.id")))
    place = waiting.places([job.id for job in jobs if job.state == JobState.QUEUED])
    return [
        JobRow(
            **_row(
                job._replace(**{name: json.loads(getattr(job, name)) for name in ("tags", "node_labels", "progress")}),
                job.project,
                job.project_name,
                Billed.of(job.billable, job.amounts),
            ),
            position=place.get(job.id),
        )
        for job in jobs
    ]


def readable_sort(sort: str) -> str:
    """Return a sort key, or empty for one by amounts that the reader does not see: the order would reveal them."""
    return "" if sort.removeprefix("-") in MONEY and not sees_money() else sort


def _after(rows: QuerySet[Job], before: UUID, field: str, *, down: bool) -> QuerySet[Job]:
    """Return the rows after one of them, in the order of a field and then newest first."""
    if not field:
        return rows.filter(id__lt=before)
    value = visible_jobs().filter(id=before).values_list(field, flat=True)[:1]
    last = next(iter(value), None)
    if last is None:
        return rows.filter(id__lt=before)
    beyond = Q(**{f"{field}__lt" if down else f"{field}__gt": last})
    return rows.filter(beyond | Q(**{field: last}, id__lt=before))


def job_names(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the names of these jobs, without missing ones and those hidden from the reader."""
    return dict(visible_jobs().filter(id__in=list(ids)).values_list("id", "name"))


def counts_by_state(asked: JobFilter | None = None) -> dict[str, int]:
    """Return the number of jobs in each state, including zeros; the filter's own states are ignored."""
    rows = _matching(asked or JobFilter(), states=False).order_by().values_list("state").annotate(number=Count("id"))
    return dict.fromkeys(JobState.values, 0) | dict(rows)


def digest() -> dict[str, int]:
    """Return the tenant metrics for operators: running and waiting jobs."""
    rows = Job.objects.filter(state__in=(JobState.RUNNING, JobState.QUEUED)).order_by().values_list("state")
    counts = dict(rows.annotate(number=Count("id")))
    return {"running_jobs": counts.get(JobState.RUNNING, 0), "queued_jobs": counts.get(JobState.QUEUED, 0)}


def project_figures(actor: Actor, project_id: UUID) -> Iterator[Figure]:
    """Yield how many jobs of a project run and wait, of those that the reader may see."""
    if not actor.can_somewhere("jobs.view") or not in_sight_of(actor, project_id):
        return
    rows = visible_jobs().filter(project=project_id, state__in=(JobState.RUNNING, JobState.QUEUED)).order_by()
    counts = dict(rows.values_list("state").annotate(number=Count("id")))
    running, queued = counts.get(JobState.RUNNING, 0), counts.get(JobState.QUEUED, 0)
    path = f"jobs/?project={project_id}&state=running"
    yield Figure("Running jobs", f"{running:,}", f"{queued:,} queued", "activity", path)


def job_detail(job_id: UUID) -> JobDetail:
    """Return one job with its attempts. Raises NotFound."""
    found = visible_jobs().select_related("project").filter(id=job_id).first()
    if found is None:
        raise NotFound
    job = without_amounts(found)
    runs = attempts(job_id)
    try:
        described = kinds.get(job.kind).describe(transitions.view(job))
    except Invalid:  # a kind no longer installed
        described = {}
    charge = billed([job.id])[job.id]
    row = _row(job, job.project.slug, job.project.name, charge)
    waits = waiting.waiting_for(job, runs)
    return JobDetail(
        **row,
        position=(waits or {}).get("position"),
        quoted=_quoted(job, charge.worth(job.currency)),
        spec=job.spec,
        max_seconds=job.max_seconds,
        max_cost=None if job.max_cost is None else Money(job.max_cost, job.currency),
        unit_amount=job.unit_amount,
        price_version=job.price_version,
        queued_at=job.queued_at,
        waiting_for=waits,
        has_checkpoint=bool(job.checkpoint),
        cloned_from=job.cloned_from,
        job_set=job.set_id,
        result=job.result,
        described=described,
        attempts=tuple(spot.with_on_demand(job, runs)),
    )


def attempts(job_id: UUID) -> list[AttemptRow]:
    """Return a job's attempts, first to last."""
    own = Attempt.objects.filter(job__in=visible_jobs().filter(id=job_id)).select_related("node")
    rows = list(own.annotate(currency=F("job__currency")).order_by("token"))
    charges = billed_attempts([row.id for row in rows])
    return [
        AttemptRow(
            id=row.id,
            token=row.token,
            device=row.device_name,
            device_class=row.device_class,
            node=row.node.name,
            state=row.state,
            cause=row.outcome,
            message=row.message,
            exit_code=row.exit_code,
            assigned_at=row.assigned_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            billed_seconds=charges[row.id].seconds if row.id in charges else Decimal(0),
            cost=charges.get(row.id, Billed()).cost(row.currency),
            missing_layers=tuple(row.missing_layers),
            startup_s=row.startup_s,
        )
        for row in rows
    ]


def logs_after(job_id: UUID, after: int = 0, limit: int = 500) -> list[LogLine]:
    """Return up to `limit` log lines after a position, in order. Raises NotFound."""
    _must_exist(job_id)
    return _log_lines(JobLog.objects.filter(job_id=job_id, position__gt=after).order_by("position")[:limit])


def last_log_lines(job_id: UUID, limit: int = 20) -> list[LogLine]:
    """Return the last `limit` log lines in order, which a failed job's page shows first."""
    newest = JobLog.objects.filter(job__in=visible_jobs().filter(id=job_id)).order_by("-position")[:limit]
    return _log_lines(reversed(list(newest)))


def _log_lines(rows: Iterable[JobLog]) -> list[LogLine]:
    return [LogLine(position=row.position, at=row.at, attempt=row.token, line=row.line) for row in rows]


def metrics(job_id: UUID, after_step: int = -1, limit: int = 5000) -> list[MetricPoint]:
    """Return the metrics by step, each from the latest attempt that reached it. Raises NotFound."""
    _must_exist(job_id)
    rows = JobMetric.objects.filter(job_id=job_id, step__gt=after_step).order_by("step", "-token").distinct("step")
    return [MetricPoint(*row) for row in rows.values_list("step", "at", "token", "values")[:limit]]


def _matching(asked: JobFilter, *, states: bool = True) -> QuerySet[Job]:
    rows: QuerySet[Job] = visible_jobs()
    if states and asked.states:
        rows = rows.filter(state__in=asked.states)
    if asked.project_id is not None:
        rows = rows.filter(project_id=asked.project_id)
    if asked.kind:
        rows = rows.filter(kind=asked.kind)
    if asked.device_class:
        rows = rows.filter(device_class=asked.device_class)
    if asked.submitted_by is not None:
        rows = rows.filter(submitted_by=asked.submitted_by)
    if asked.set_id is not None:
        rows = rows.filter(set_id=asked.set_id)
    if asked.tags:
        rows = rows.filter(tags__contains=dict(asked.tags))
    return rows.filter(name__icontains=asked.text) if asked.text else rows


def _row(job: Any, slug: str, project: str, charge: Billed) -> dict[str, Any]:
    """Return the columns of a row, of a job or of a tuple of the LIST."""
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "project_id": job.project_id,
        "project": slug,
        "project_name": project,
        "submitted_by": job.submitted_by,
        "submitted_by_label": job.submitted_by_label,
        "device_class": job.device_class,
        "devices": job.devices,
        "share": job.share,
        "one_node": job.one_node,
        "node_labels": job.node_labels,
        "tier": job.tier,
        "tags": job.tags,
        "state": job.state,
        "cause": job.cause,
        "message": job.message,
        "progress": job.progress,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "wait_reason": job.wait_reason if job.state == JobState.QUEUED else "",
        "expected_start_at": job.expected_start_at if job.state == JobState.QUEUED else None,
        "billed_seconds": charge.seconds,
        "cost": charge.cost(job.currency),
        "earlier_costs": tuple(charge.besides(job.currency)),
    }


def _quoted(job: Job, cost: Money) -> Quoted | None:
    """Return the job's quote; None for a job older than quoted ranges."""
    if job.quoted_least is None or job.quoted_most is None:
        return None
    least, most = Money(job.quoted_least, job.currency), Money(job.quoted_most, job.currency)
    forecast = job.forecast
    return Quoted(
        least=least,
        most=most,
        least_s=forecast.get("least_s", 0),
        most_s=forecast.get("most_s", 0),
        start_s=forecast.get("start_s", 0.0),
        within=least.amount <= cost.amount <= most.amount if job.state in FINAL_STATES else None,
    )


def _must_exist(job_id: UUID) -> None:
    if not visible_jobs().filter(id=job_id).exists():
        raise NotFound
