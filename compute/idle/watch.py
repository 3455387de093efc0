"""The sweep over running attempts (control role): warn when devices do nothing, and stop after the grace.

The stop is like one that gives way: the node learns of it with its next heartbeat and saves a checkpoint. The job is then
paused with the cause `idle`, and a person resumes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from billing.money import Money
from compute.events import JobIdle
from compute.idle import rules
from compute.jobs import transitions
from compute.jobs.jobs import wake_attempt
from compute.models import Attempt, AttemptState, Job, JobState, Outcome
from compute.policy import WHOLE
from compute.policy.idleness import Finding, IdleRule, Minute, Trace, find
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.events.events import publish
from tenants.isolation import sweeps
from tenants.isolation.scoping import all_tenants, current_tenant_id, tenant_scope
from tenants.notifications import notifications

WARNED = AuditAction("compute.attempt.idle_warned")
CLEARED = AuditAction("compute.attempt.idle_cleared")
STOPPED = AuditAction("compute.attempt.idle_stopped")
WATCHER = "idle watch"
KIND = "job_idle"

# Attempts that were busy are left out at once, but those that were warned: a window without samples clears nothing.
WINDOW = """
WITH quiet AS (
    SELECT s.attempt_id FROM compute_devicesample s
    WHERE s.tenant_id = %(tenant)s AND s.attempt_id = ANY(%(attempts)s)
      AND s.at > exchequer_now() - make_interval(secs => %(window)s) AND s.busy IS NOT NULL
    GROUP BY s.attempt_id, s.device_id
    HAVING sum(s.seconds * s.busy) < %(below)s * sum(s.seconds) OR s.attempt_id = ANY(%(warned)s)
), resting AS (
    SELECT s.attempt_id, s.device_id, min(s.power_w) AS watts FROM compute_devicesample s
    WHERE s.tenant_id = %(tenant)s AND s.attempt_id IN (SELECT attempt_id FROM quiet) AND s.power_w IS NOT NULL
    GROUP BY 1, 2
)
SELECT s.attempt_id, s.device_id, sum(s.seconds), sum(s.seconds * s.busy), max(s.power_w), min(s.memory_bytes), max(s.memory_bytes),
       min(r.watts)
FROM compute_devicesample s LEFT JOIN resting r ON r.attempt_id = s.attempt_id AND r.device_id = s.device_id
WHERE s.tenant_id = %(tenant)s AND s.attempt_id IN (SELECT attempt_id FROM quiet)
  AND s.at > exchequer_now() - make_interval(secs => %(window)s) AND s.busy IS NOT NULL
GROUP BY s.attempt_id, s.device_id, date_trunc('minute', s.at)
ORDER BY date_trunc('minute', s.at)
"""


def watch() -> int:
    """Look at all running attempts that are older than the window; return how many are idle. Raises SweepFailed."""
    with all_tenants("devices of every tenant may be idle"):
        by_class = rules.of_platform()
        rows = Attempt.objects.filter(state=AttemptState.RUNNING, stops_as="").order_by("tenant_id")
        of_tenant: dict[UUID, list[UUID]] = defaultdict(list)
        for tenant_id, attempt_id in rows.values_list("tenant_id", "id"):
            of_tenant[tenant_id].append(attempt_id)
    idle = 0
    with sweeps.sweep("idle devices") as each:
        for tenant_id, attempts in each.over(of_tenant.items()):
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                found = _found(attempts, rules.rules(by_class))
            for attempt_id, (job_id, rule, finding) in found.items():
                with each(attempt=attempt_id):
                    system = Actor.system(tenant_id, WATCHER)
                    idle += _follow(_Watched(actor=system, job_id=job_id, attempt_id=attempt_id, rule=rule), finding)
    return idle


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """An attempt that something follows for, and the rule that it is measured by."""

    actor: Actor
    job_id: UUID
    attempt_id: UUID
    rule: IdleRule


def _found(attempts: Sequence[UUID], of_tenant: rules.Rules) -> dict[UUID, tuple[UUID, IdleRule, Finding]]:
    """Return job, rule and finding of those of the attempts that something follows for: idle ones, and warned ones."""
    rows = Attempt.objects.filter(id__in=attempts, started_at__isnull=False).select_related("job")
    by_rule: dict[rules.Figures, list[Attempt]] = defaultdict(list)
    found: dict[UUID, tuple[UUID, IdleRule, Finding]] = {}
    for run in rows:
        figures = of_tenant.of(run.device_class)
        if run.started_at and run.started_at < now() - timedelta(minutes=figures.window_minutes):
            by_rule[figures].append(run)
        elif run.idle_since is not None:
            # The rule was changed meanwhile, and looks at more time than this attempt has had.
            found[run.id] = run.job_id, figures.rule, Finding.WORKING
    for figures, runs in by_rule.items():
        for attempt_id, (job_id, finding) in _findings(runs, figures.rule).items():
            found[attempt_id] = job_id, figures.rule, finding
    return found


def _findings(attempts: Sequence[Attempt], rule: IdleRule) -> dict[UUID, tuple[UUID, Finding]]:
    """Return job and finding, by one rule."""
    runs = {run.id: run for run in attempts}
    warned = [run.id for run in runs.values() if run.idle_since is not None]
    whose: dict[str, Any] = {"tenant": current_tenant_id(), "attempts": list(runs), "warned": warned}
    traces: dict[UUID, dict[UUID, tuple[list[Minute], float | None]]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(WINDOW, {**whose, "window": rule.window_s, "below": rule.busy_below})
        for attempt_id, device_id, seconds, busy_s, power, least, most, resting in cursor.fetchall():
            minutes, _ = traces[attempt_id].setdefault(device_id, ([], resting))
            minutes.append(Minute(seconds=seconds, busy_s=busy_s, power_w=power, least_memory=least, most_memory=most))
    found = {}
    for attempt_id in {*traces, *warned}:
        devices = [Trace(minutes=part, resting_w=watts) for part, watts in traces[attempt_id].values()]
        job = runs[attempt_id].job
        finding = find(devices, job.devices, replace(rule, busy_below=rule.busy_below * job.share / WHOLE))
        if finding == Finding.IDLE or attempt_id in warned:
            found[attempt_id] = runs[attempt_id].job_id, finding
    return found


def _follow(watched: _Watched, finding: Finding) -> int:
    """Warn, stop or clear; return 1 while it is idle."""
    whose: dict[str, Any] = {"actor": watched.actor, "job_id": watched.job_id, "attempt_id": watched.attempt_id}
    if finding == Finding.WORKING:
        _clear(**whose)
    elif finding == Finding.IDLE:
        with tenant_scope(watched.actor.tenant_id):
            warned = Attempt.objects.filter(id=watched.attempt_id, idle_since__isnull=False).exists()
        if warned:
            _stop(**whose)
        else:
            _warn(**whose, rule=watched.rule)
    return int(finding == Finding.IDLE)


@operation(WARNED)
def _warn(*, actor: Actor, job_id: UUID, attempt_id: UUID, rule: IdleRule) -> None:
    """Note since when an attempt is idle and when it stops, and publish it."""
    locked = _locked(job_id, attempt_id)
    if locked is None or locked[1].idle_since is not None:
        unchanged("it ended, or was warned meanwhile")
        return
    job, attempt = locked
    since, stop_at = now() - timedelta(seconds=rule.window_s), now() + timedelta(seconds=rule.grace_s)
    Attempt.objects.filter(id=attempt.id).update(idle_since=since, idle_stop_at=stop_at)
    shown = {"idle_since": [None, since.isoformat()], "idle_stop_at": [None, stop_at.isoformat()]}
    record(WARNED, actor=actor, target=("attempt", attempt.id, _label(job, attempt)), changes=shown)
    per_hour = Money(job.second_amount * 3_600, job.currency)
    publish(
        JobIdle(
            tenant_id=job.tenant_id,
            job_id=job.id,
            idle_since=since.isoformat(),
            stops_at=stop_at.isoformat(),
            lost=job.second_amount * int(rule.window_s),
            per_hour=per_hour.amount,
            currency=job.currency,
        )
    )


@operation(CLEARED)
def _clear(*, actor: Actor, job_id: UUID, attempt_id: UUID) -> None:
    """Take a warning back: the devices work again. Snoozes stay counted."""
    locked = _locked(job_id, attempt_id)
    if locked is None or locked[1].idle_since is None:
        unchanged("it ended meanwhile")
        return
    job, attempt = locked
    Attempt.objects.filter(id=attempt.id).update(idle_since=None, idle_stop_at=None, snooze_reason="")
    shown = {"idle_since": [attempt.idle_since.isoformat(), None]} if attempt.idle_since else {}
    record(CLEARED, actor=actor, target=("attempt", attempt.id, _label(job, attempt)), changes=shown)
    notifications.settle(kind=KIND, path=f"jobs/{job.id}/")


@operation(STOPPED)
def _stop(*, actor: Actor, job_id: UUID, attempt_id: UUID) -> None:
    """Ask an idle attempt whose grace is over to stop with a checkpoint."""
    locked = _locked(job_id, attempt_id)
    if locked is None or locked[1].idle_stop_at is None or locked[1].idle_stop_at > now():
        unchanged("it ended, or its grace is not over")
        return
    job, attempt = locked
    Attempt.objects.filter(id=attempt.id).update(stops_as=Outcome.IDLE)
    shown = {"stops_as": ["", str(Outcome.IDLE)]}
    record(STOPPED, actor=actor, target=("attempt", attempt.id, _label(job, attempt)), changes=shown)
    wake_attempt(job.id)


def _locked(job_id: UUID, attempt_id: UUID) -> tuple[Job, Attempt] | None:
    """Return job and attempt under their locks, in that order, if the job runs by it and nothing asked it to stop."""
    job = transitions.lock(job_id)
    rows = Attempt.objects.filter(id=attempt_id, state=AttemptState.RUNNING, stops_as="")
    attempt = rows.select_for_update(no_key=True).first()
    return (job, attempt) if job and attempt and job.state == JobState.RUNNING else None


def _label(job: Job, attempt: Attempt) -> str:
    return f"{job.name}, attempt {attempt.token} on {attempt.device_name}"
