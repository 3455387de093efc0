"""Why a job does not run, in words for its launcher: what is ahead of it, and what would unblock it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django.db import connection

from billing.queries.budgets import tightest
from compute.jobs import job_quotas
from compute.jobs.repricing import needed_now
from compute.jobs.visibility import visible_jobs
from compute.models import AttemptState, Cause, Job, JobState
from compute.queries.capacity import class_title, device_classes
from compute.queries.rows import AttemptRow
from tenants import quotas
from tenants.access.reader import sees_money
from tenants.access.standing import WORDS as STANDING_WORDS
from tenants.access.standing import Standing
from tenants.approvals.queries import asked_for
from tenants.clock import now
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

NAMED = 3

PLACES = """
SELECT id, place FROM (
    SELECT id, row_number() OVER (PARTITION BY device_class ORDER BY queued_at, id) AS place
    FROM compute_job WHERE tenant_id = %s AND state = 'queued' AND approval_id IS NULL
) waiting WHERE id = ANY(%s)
"""


def places(job_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the place of each of these queued jobs among the tenant's own that wait for the same class; in one query."""
    if not job_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(PLACES, [current_tenant_id(), list(job_ids)])
        return dict(cursor.fetchall())


def waiting_for(job: Job, runs: Sequence[AttemptRow]) -> dict[str, Any] | None:
    """Return why a job waits: its kind, a `reason` that names what would unblock it, and the facts; None while it runs."""
    if job.state == JobState.PAUSED and job.cause == Cause.BUDGET:
        return _for_money(job)
    if job.state != JobState.QUEUED:
        return None
    standing = cast(Standing, Tenant.objects.values_list("standing", flat=True).get(id=current_tenant_id()))
    if standing != "active":
        return {"kind": "standing", "standing": standing, "reason": STANDING_WORDS[standing]}
    if job.approval_id is not None:
        what = asked_for(job.approval_id) if sees_money() else "higher limit"
        reason = f"It waits for the answer to the request for a {what}. It starts by itself when that is granted."
        return {"kind": "approval", "approval": str(job.approval_id), "reason": reason}
    if any(run.state != AttemptState.ENDED for run in runs):
        return {
            "kind": "earlier_attempt",
            "reason": "Its previous attempt is still ending; it continues automatically.",
        }
    if job.not_before is not None and job.not_before > now():
        reason = "Its last attempt did not succeed. It is retried automatically."
        return {"kind": "retry", "until": job.not_before, "reason": reason}
    return _for_a_quota(job) or _for_a_device(job)


def _for_a_quota(job: Job) -> dict[str, Any] | None:
    found = quotas.full(job_quotas.devices(job.device_class), project_id=job.project_id, person=job.person)
    if found is None:
        return None
    use = found.use
    return {
        "kind": "quota",
        "resource": use.resource,
        "scope": use.scope.text,
        "limit": use.effective,
        "in_use": use.in_use,
        "reason": found.reason,
    }


def _for_a_device(job: Job) -> dict[str, Any]:
    before = Job.objects.filter(state=JobState.QUEUED, approval_id=None, device_class=job.device_class)
    before = before.filter(queued_at__lt=job.queued_at) | before.filter(queued_at=job.queued_at, id__lt=job.id)
    ahead = before.count()
    seen = visible_jobs().filter(id__in=before.order_by("queued_at", "id").values("id")).order_by("queued_at", "id")
    named = [{"id": str(one), "name": name} for one, name in seen.values_list("id", "name")[:NAMED]]
    offered = next((row for row in device_classes() if row.device_class == job.device_class), None)
    total, free = (offered.total, offered.free) if offered else (0, 0)
    mine = Job.objects.filter(state=JobState.RUNNING, device_class=job.device_class).count()
    return {
        "kind": "device",
        "device_class": job.device_class,
        "own_jobs_ahead": ahead,
        "position": ahead + 1,
        "ahead": named,
        "devices": total,
        "devices_free": free,
        "own_jobs_running": mine,
        "reason": _device_reason(class_title(job.device_class), ahead, total, free, mine),
    }


def _device_reason(kind: str, ahead: int, total: int, free: int, mine: int) -> str:
    """Return what keeps a job from a device, and what would change that."""
    if not total:
        return (
            f"No {kind} device is in service. It starts when a node with one joins; your administrator can start one."
        )
    before = f" {ahead} of your jobs {'is' if ahead == 1 else 'are'} before it." if ahead else ""
    if free:
        return f"A {kind} device is free; it starts in a moment.{before}"
    held = f"{mine} by jobs of your organisation" if mine else "by other organisations"
    devices = f"The only {kind} device is taken" if total == 1 else f"All {total} {kind} devices are taken"
    return f"{devices}, {held}. It starts when one is free: wait, or cancel a running job.{before}"


def _for_money(job: Job) -> dict[str, Any]:
    if not sees_money():
        return {"kind": "budget", "reason": "It waits for headroom in a budget, and then for somebody who resumes it."}
    rest = needed_now(job)
    budget = tightest(job.project_id, job.tags, job.person)
    left = budget.left if budget is not None else None
    whose, length = "", "month"
    if budget is not None:
        name = budget.project_name or "the organisation"
        whose, length = f" of {f'project {name}' if budget.project_id else name}", budget.length
    fits = budget is None or left is None or left.amount >= rest.amount
    reason = (
        "The budget has headroom again. Resume the job."
        if fits
        else f"The budget{whose} has no headroom for the rest of the job. Raise the budget or wait for its next {length}, then resume the job."
    )
    return {
        "kind": "budget",
        "budget": None if budget is None else str(budget.id),
        "needed": rest.json(),
        "left": None if left is None else left.json(),
        "reason": reason,
    }
