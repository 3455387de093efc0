"""Claim, heartbeat and end of an attempt. Every write is fenced: the attempt must be live, ours by token, and in lease.

A heartbeat is one transaction: it renews the lease, records the seconds since the last one, and stores progress,
metrics and logs. So exactly the time of a live lease is billed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from billing.budgets import counters
from billing.metering.metering import Interval
from billing.rating.quantity import share_dims
from billing.rating.tags import as_dims
from compute import kinds, limits
from compute.jobs import transitions
from compute.jobs.repricing import full_cap
from compute.leases import samples
from compute.leases.charging import charge
from compute.leases.messages import Claim, Fenced, Heartbeat, HeartbeatReply, Sample
from compute.leases.parts import elsewhere, slot_of
from compute.models import (
    Attempt,
    AttemptMember,
    AttemptState,
    Device,
    DeviceState,
    Job,
    JobLog,
    JobMetric,
    JobState,
    Outcome,
)
from tenants.access.actor import Actor
from tenants.audit import operation
from tenants.clock import DatabaseNow, now
from tenants.isolation.scoping import tenant_scope

__all__ = [
    "Claim",
    "Fenced",
    "Heartbeat",
    "HeartbeatReply",
    "Sample",
    "claim",
    "finish",
    "heartbeat",
    "keep_checkpoint",
    "seconds_left",
]

LOG_STRIDE = 1_000_000  # positions of one attempt; more than limits.LOG_LINES


def claim(*, tenant_id: UUID, attempt_id: UUID, token: int, node: str, boot: UUID) -> Claim | None:
    """Claim an assigned attempt for this node by compare-and-set; None if it cannot be claimed.

    Wake-ups may be late or repeated: only the first one for a live assignment to this node claims it.
    """
    with tenant_scope(tenant_id):
        rows = AttemptMember.objects.filter(attempt_id=attempt_id, attempt__token=token).order_by("rank")
        members = list(rows.select_related("attempt__node", "device", "node"))
        attempt = members[0].attempt if members else None
        job = transitions.lock(attempt.job_id) if attempt else None
        if attempt is None or job is None or job.state != JobState.RUNNING or job.token != token:
            return None
        if (attempt.node.name, attempt.node.boot) != (node, boot):
            return None
        lease = timedelta(seconds=settings.EXCHEQUER.lease_s)
        changed = Attempt.objects.filter(id=attempt_id, state=AttemptState.ASSIGNED).update(
            state=AttemptState.RUNNING, claimed_at=DatabaseNow(), lease_until=DatabaseNow() + lease
        )
        if not changed:
            return None
        first, *others = [(one.rank, slot_of(one.device, one.share)) for one in members if one.node.name == node]
        return Claim(
            job=transitions.view(job, attempt),
            attempt_id=attempt.id,
            token=token,
            node=node,
            slot=first[1],
            others=dict(others),
            elsewhere=elsewhere(members, node),
        )


def heartbeat(mine: Claim, beat: Heartbeat) -> HeartbeatReply:
    """Renew the lease and store the batch in one transaction.

    Raises Fenced and writes nothing if the attempt is not ours.
    """
    with tenant_scope(mine.job.tenant_id):
        job, attempt = _locked(mine)
        refused = _meter(job, attempt, beat)
        fields: dict[str, Any] = {"lease_until": DatabaseNow() + timedelta(seconds=settings.EXCHEQUER.lease_s)}
        if beat.layers is not None:
            fields["missing_layers"] = beat.layers
        fields |= _startup(attempt, beat)
        Attempt.objects.filter(id=attempt.id).update(**fields)
        _store(job, attempt, beat)
        return _answer(job, attempt, refused)


def keep_checkpoint(mine: Claim, pointer: dict[str, Any]) -> None:
    """Point the job at a stored checkpoint; raises Fenced if the attempt is no longer ours."""
    with tenant_scope(mine.job.tenant_id):
        job, _ = _locked(mine)
        Job.objects.filter(id=job.id).update(checkpoint=pointer)


def finish(
    mine: Claim,
    outcome: Outcome,
    beat: Heartbeat,
    *,
    message: str = "",
    exit_code: int | None = None,
    complete: Callable[[kinds.JobView], dict[str, Any]] | None = None,
) -> None:
    """End the attempt: last interval, the kind's effect, the job's next state, audit, event.

    Money and quota are released. `complete` runs inside the transaction and returns the job's result. Raises Fenced
    and writes nothing if the attempt is no longer ours.
    """
    actor = Actor.system(mine.job.tenant_id, f"node {mine.node}")
    _finish(actor=actor, mine=mine, outcome=outcome, beat=beat, message=message, exit_code=exit_code, complete=complete)


@operation(transitions.ATTEMPT_ENDED)
def _finish(
    *,
    actor: Actor,
    mine: Claim,
    outcome: Outcome,
    beat: Heartbeat,
    message: str,
    exit_code: int | None,
    complete: Callable[[kinds.JobView], dict[str, Any]] | None,
) -> None:
    job, attempt = _locked(mine)
    if outcome == Outcome.BUDGET and (of_set := full_cap(job)) is not None:  # its lock comes before those of budgets
        message = f"The cap of the job set {of_set.name!r} is used up."
    counters.lock_budget_set()
    _meter(job, attempt, beat)
    _store(job, attempt, beat)
    if started := _startup(attempt, beat):
        Attempt.objects.filter(id=attempt.id).update(**started)
    elsewhere = False
    if outcome == Outcome.PLATFORM:
        transitions.cordon(attempt.device_id, message)
        seen = DatabaseNow() - timedelta(seconds=settings.EXCHEQUER.lease_s)
        others = Device.objects.filter(device_class=attempt.device_class, state=DeviceState.READY)
        elsewhere = others.filter(node__last_seen_at__gt=seen).exists()
    if outcome == Outcome.SUCCEEDED and complete is not None and job.state != JobState.CANCELLED:
        job.result = complete(transitions.view(job, attempt))
        Job.objects.filter(id=job.id).update(result=job.result)
    transitions.end_attempt(
        job, attempt, outcome, actor=actor, message=message, exit_code=exit_code, elsewhere=elsewhere
    )


def _locked(mine: Claim) -> tuple[Job, Attempt]:
    """Return job and attempt under their locks, in that order; raises Fenced unless the attempt is live and in lease."""
    job = transitions.lock(mine.job.id)
    attempt = (
        Attempt.objects.select_for_update(of=("self",), no_key=True)
        .filter(id=mine.attempt_id, token=mine.token, state=AttemptState.RUNNING, lease_until__gt=DatabaseNow())
        .first()
    )
    if job is None or attempt is None or job.token != mine.token:
        raise Fenced
    return job, attempt


def _meter(job: Job, attempt: Attempt, beat: Heartbeat) -> str:
    """Record the running seconds since the last heartbeat; return what refuses more: `hold`, `budget`, or nothing.

    The monotonic clock measures, the database's clock dates: the interval never passes now or the lease.
    """
    elapsed = beat.elapsed
    if elapsed is None:
        return ""
    present = now()
    if attempt.started_at is None:
        age = elapsed if beat.began is None else time.monotonic() - beat.began
        attempt.started_at = present - timedelta(seconds=age)
        if attempt.claimed_at is not None:
            attempt.started_at = max(attempt.started_at, attempt.claimed_at)
        Attempt.objects.filter(id=attempt.id).update(started_at=attempt.started_at)
        if job.started_at is None:
            Job.objects.filter(id=job.id).update(started_at=attempt.started_at)
    start: datetime = attempt.measured_until or attempt.started_at
    bounds = [attempt.started_at + timedelta(seconds=elapsed), present]
    if attempt.lease_until:
        bounds.append(attempt.lease_until)
    if (
        job.state == JobState.CANCELLED and job.ended_at is not None
    ):  # a node that learns of it late is the platform's delay
        bounds.append(job.ended_at + timedelta(seconds=settings.EXCHEQUER.heartbeat_s))
    end = min(bounds)
    if end <= start:
        return ""
    usage = Interval(
        key=f"attempt:{attempt.id}:{attempt.seq}",
        meter=kinds.meter_of(job.kind),
        resource=job.subject,
        project_id=job.project_id,
        start=start,
        end=end,
        dims={"device_class": job.device_class, "tier": job.tier, **as_dims(job.tags), **share_dims(job.share)},
        job_id=job.id,
        attempt_id=attempt.id,
        source="compute",
        share=job.share,
    )
    others = [replace(usage, key=f"{usage.key}:rank {rank}") for rank in range(1, job.devices)]
    recorded, held = charge(job, [usage, *others])
    seconds = Decimal((end - start) // timedelta(microseconds=1)) / 1_000_000
    attempt.seq += 1
    attempt.measured_until, attempt.measured_s = end, attempt.measured_s + seconds
    Attempt.objects.filter(id=attempt.id).update(seq=attempt.seq, measured_until=end, measured_s=attempt.measured_s)
    transitions.grow(job, measured_s=seconds)
    if recorded.exhausted:
        return recorded.refused_by
    return "" if held else "budget"


def _startup(attempt: Attempt, beat: Heartbeat) -> dict[str, float]:
    """Return the start-up time of the program, the first time it is known."""
    if beat.startup_s is None or attempt.startup_s is not None:
        return {}
    attempt.startup_s = beat.startup_s
    return {"startup_s": beat.startup_s}


def _store(job: Job, attempt: Attempt, beat: Heartbeat) -> None:
    """Store progress, metrics, logs and samples; a repeated batch is stored once."""
    if beat.progress is not None and job.state == JobState.RUNNING:
        job.progress = beat.progress
        Job.objects.filter(id=job.id).update(progress=beat.progress)
    common = {"job_id": job.id, "token": attempt.token}
    base = attempt.token * LOG_STRIDE
    JobLog.objects.bulk_create(
        [JobLog(position=base + number, line=line, **common) for number, line in beat.logs], ignore_conflicts=True
    )
    JobMetric.objects.bulk_create(
        [JobMetric(step=one.step, values=one.values, **common) for one in beat.metrics], ignore_conflicts=True
    )
    samples.store(job.id, attempt, beat.samples)


def _answer(job: Job, attempt: Attempt, refused: str) -> HeartbeatReply:
    left, limit = seconds_left(job)
    stop: Outcome | None = None
    if job.state == JobState.CANCELLED:
        stop = Outcome.CANCELLED
    elif job.state != JobState.RUNNING:
        stop = Outcome.PAUSED
    elif attempt.stops_as:
        stop = Outcome(attempt.stops_as)
    elif refused:
        # A hold used up before a limit was cut at a month's turn: a budget had no headroom for all of it.
        stop = limit if refused == "hold" and left <= 0 else Outcome.BUDGET
    elif left <= 0:
        stop = limit
    return HeartbeatReply(stop, max(left, 0.0), limit)


def seconds_left(job: Job) -> tuple[float, Outcome]:
    """Return the running seconds until the job's nearer limit, and which one it is.

    The cost limit is met early enough that the seconds of the stop still fit below it.
    """
    by_time = float(job.max_seconds - job.measured_s)
    if job.max_cost is None or not job.unit_amount:
        return by_time, Outcome.TIME_LIMIT
    affordable = float((job.max_cost - job.spent) / job.second_amount) - limits.STOP_GRACE_S
    return (by_time, Outcome.TIME_LIMIT) if by_time <= affordable else (affordable, Outcome.COST_LIMIT)
