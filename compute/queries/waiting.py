"""Why a job does not run, in words for its launcher: what is ahead of it, and what would unblock it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import F, FloatField
from django.db.models.expressions import RawSQL

from billing.queries.budgets import tightest
from billing.rating.quantity import WHOLE, share_said
from compute import labels
from compute.jobs import job_quotas
from compute.jobs.repricing import full_cap, needed_now
from compute.jobs.visibility import visible_jobs
from compute.models import AttemptState, Cause, Job, JobState
from compute.policy import Why
from compute.queries.capacity import class_title, device_classes
from compute.queries.rows import AttemptRow
from compute.sets import turns
from tenants import quotas
from tenants.access.reader import sees_money
from tenants.access.standing import WORDS as STANDING_WORDS
from tenants.access.standing import Standing
from tenants.approvals.queries import asked_for
from tenants.clock import now
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

NAMED = 3

SERVED = """CASE WHEN compute_job.measured_s * compute_job.devices * compute_job.share < 3600000 THEN 0
    ELSE 1 + floor(log(compute_job.measured_s * compute_job.devices * compute_job.share / 3600000)) END"""
#: The order of `policy.order.place`, in which the jobs of a tenant come to devices.
QUEUE_ORDER = f"-priority, {SERVED}, queued_at, id"
PLACES = f"""
SELECT id, place FROM (
    SELECT id, row_number() OVER (PARTITION BY device_class ORDER BY {QUEUE_ORDER}) AS place
    FROM compute_job WHERE tenant_id = %s AND state = 'queued' AND approval_id IS NULL
) waiting WHERE id = ANY(%s)
"""  # noqa: S608 (a constant)
ERRORS = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY off), percentile_cont(0.9) WITHIN GROUP (ORDER BY off) FROM (
    SELECT abs(start_error_s) AS off FROM compute_job WHERE tenant_id = %s AND start_error_s IS NOT NULL
    ORDER BY started_at DESC LIMIT 200
) newest
"""


_IN_ORDER = (F("priority").desc(), RawSQL(SERVED, (), FloatField()), "queued_at", "id")  # noqa: S611 (a constant)


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
    if (most := turns.full_at(job)) is not None:
        reason = f"Its array runs at most {most} at once. It starts when one of them ends."
        return {"kind": "array", "most_at_once": most, "reason": reason}
    waits = {**(_for_a_quota(job) or _for_a_device(job)), "position": places([job.id]).get(job.id)}
    return waits | {"expected_start_at": job.expected_start_at, "expected_start_error": start_errors()}


def start_errors() -> dict[str, Any] | None:
    """Return how far the tenant's latest jobs started from what was expected when they began to wait, in seconds.

    None before the first.
    """
    with connection.cursor() as cursor:
        cursor.execute(ERRORS, [current_tenant_id()])
        number, median, p90 = cursor.fetchone()
    return {"jobs": number, "median_s": round(median, 1), "p90_s": round(p90, 1)} if number else None


def _for_a_quota(job: Job) -> dict[str, Any] | None:
    if job.wait_reason not in ("", Why.LIMIT):
        return None  # another reason came first in the policy's latest round
    resource, needed = job_quotas.devices(job.device_class), job_quotas.at_once(job.devices * job.share)
    found = quotas.full(resource, project_id=job.project_id, person=job.person, needed=needed)
    if found is None:
        return None
    use = found.use
    return {
        "kind": "quota",
        "resource": use.resource,
        "scope": use.scope.text,
        "limit": use.effective,
        "in_use": quotas.resources()[use.resource].shown(use.in_use),
        "reason": found.reason,
    }


def _for_a_device(job: Job) -> dict[str, Any]:
    ahead = (places([job.id]).get(job.id) or 1) - 1
    queue = visible_jobs().filter(state=JobState.QUEUED, approval_id=None, device_class=job.device_class)
    first = queue.order_by(*_IN_ORDER).values_list("id", "name")[: min(NAMED, ahead)]
    named = [{"id": str(one), "name": name} for one, name in takewhile(lambda row: row[0] != job.id, first)]
    offered = next((row for row in device_classes() if row.device_class == job.device_class), None)
    total, free = (offered.total, offered.free) if offered else (0, 0)
    mine = Job.objects.filter(state=JobState.RUNNING, device_class=job.device_class).count()
    return {
        "kind": "device",
        "why": job.wait_reason or None,
        "device_class": job.device_class,
        "own_jobs_ahead": ahead,
        "ahead": named,
        "devices": total,
        "devices_free": free,
        "own_jobs_running": mine,
        "reason": _device_reason(job, ahead, total, free, mine),
    }


def _device_reason(job: Job, ahead: int, total: int, free: int, mine: int) -> str:
    """Return what keeps a job from a device, and what would change that."""
    kind, together = class_title(job.device_class), " together on one host" if job.one_node and job.devices > 1 else ""
    if not total:
        return (
            f"No {kind} device is in service. It starts when a node with one joins; your administrator can start one."
        )
    if job.wait_reason == Why.LABELS:
        return (
            f"{kind} devices are in service, but too few are free on hosts with {labels.as_text(job.node_labels)}. It starts when "
            "they are; without these labels it starts sooner."
        )
    if job.wait_reason == Why.TOO_BIG:
        return f"{job.devices} {kind} devices are not in service{together}. It starts when more join; with fewer devices it starts sooner."
    if job.wait_reason == Why.VACATING:
        return "Its device is being vacated: the work there saves a checkpoint and gives way. It starts in a moment."
    if job.wait_reason == Why.SCATTERED:
        return f"Enough {kind} devices are free, but not {job.devices}{together}. It starts when they are."
    before = f" {ahead} of your jobs {'is' if ahead == 1 else 'are'} before it." if ahead else ""
    if free and job.wait_reason in ("", Why.AT_ONCE):
        return f"A {kind} device is free; it starts in a moment.{before}"
    if job.share < WHOLE:
        return (
            f"No {share_said(job.share)} of a {kind} device is free for it: the jobs of one organisation alone share a device. "
            f"It starts when one is free: wait, or cancel a running job.{before}"
        )
    held = f"{mine} by jobs of your organisation" if mine else "by other organisations"
    devices = f"The only {kind} device is taken" if total == 1 else f"All {total} {kind} devices are taken"
    if job.wait_reason == Why.GUARANTEED:
        return f"{devices}, {held}, by work that gives way to nobody. It starts when one is free: wait, or cancel a running job.{before}"
    if free:
        return f"{free} of {total} {kind} devices are free, and promised to work that comes before it.{before}"
    return f"{devices}, {held}. It starts when one is free: wait, or cancel a running job.{before}"


def _for_money(job: Job) -> dict[str, Any]:
    if not sees_money():
        return {"kind": "budget", "reason": "It waits for headroom in a budget, and then for somebody who resumes it."}
    rest = needed_now(job)
    if (of_set := full_cap(job)) is not None:
        reason = (
            f"The cap of its job set {of_set.name!r} is used up: {of_set.left} of {of_set.cap} is left, and the rest of the job may "
            f"take {rest}. Resume it when other jobs of the set have ended, or launch it outside the set."
        )
        return {"kind": "job_set", "job_set": str(job.set_id), "left": of_set.left.json(), "reason": reason}
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
