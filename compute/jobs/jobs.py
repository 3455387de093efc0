"""Operations of people on jobs: submit, cancel, pause, resume, clone. Each is audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from billing.budgets import holds
from billing.budgets.counters import BudgetExceeded
from billing.dunning.stops import require_launches
from billing.money import Money
from billing.pricing import quotes
from billing.rating.quantity import share_dims
from compute.events import JobSubmitted
from compute.jobs import alternatives, backlog, job_quotas, kept, transitions
from compute.jobs.job_request import JobRequest, Submission, check, estimate
from compute.jobs.repricing import restate, worst_rest
from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Attempt, AttemptState, Cause, Job, JobState, Outcome
from compute.sets import cap
from compute.sets.opening import Member
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, NotFound
from tenants.events.events import publish
from tenants.identity import creators
from tenants.ids import uuid7
from tenants.quotas import QuotaExceeded
from tenants.sharing import shares

__all__ = [
    "JobRequest",
    "Submission",
    "cancel",
    "check",
    "clone",
    "estimate",
    "hold_for",
    "own_job",
    "pause",
    "resume",
    "submit",
    "wake_attempt",
]

JOB_SUBMITTED = AuditAction("compute.job.submitted")
ASKED = tuple(one.name for one in fields(Submission) if one.name not in ("quote_id", "more"))
"""What a job keeps of what was asked for, and a clone asks for again."""
JOB_LOG_DOWNLOADED = AuditAction("compute.job_log.downloaded", while_closing=True)


class JobIsFinal(Conflict):
    """This job has ended and stays as it is. Clone it to run it again."""

    code = "job_is_final"


class CostLimitReached(Conflict):
    """This job has spent its maximum cost. Clone it with a higher one."""

    code = "cost_limit_reached"


class JobNotPaused(Conflict):
    """Only a paused job can be resumed."""

    code = "job_not_paused"


@operation(JOB_SUBMITTED)
def submit(*, actor: Actor, asked: Submission, cloned_from: UUID | None = None, member: Member | None = None) -> Job:
    """Queue a job, reserve its device time of the month and hold its money; all of it or nothing.

    A limit of devices at once refuses nothing here: the job waits for it.

    With `asked.more`, a launch that a budget or a quota of the month refuses is kept: it waits for the answer to a request
    for more. Raises Invalid, QuotaExceeded (409), BudgetExceeded or LaunchesStopped (402), QueueFull (429), or AccessEnded (403)
    for somebody who is removed at the same moment.
    """
    actor.require_somewhere("jobs.launch")
    backlog.admit(early=True)  # here, so that a flood costs nothing more
    creators.lock_creator(actor)  # whose removal waits, and then finds this job among those that it settles
    order = check(actor=actor, asked=asked)
    actor.require("jobs.launch", order)
    require_launches()
    price = _price(order, asked.quote_id)
    order = replace(order, max_seconds=price.limit_s or order.max_seconds)
    job_id = uuid7()
    job = Job(
        id=job_id,
        **{name: getattr(order, name) for name in ASKED},
        family=order.plan.family,
        work_key=order.plan.work_key,
        nominal_s=order.plan.work_s,
        forecast=price.forecast,
        quoted_least=price.least,
        quoted_most=price.most,
        typical_s=order.typical_s,
        submitted_by=actor.owner_id,
        submitted_by_label=actor.label,
        person=order.person,
        unit_amount=price.unit_amount,
        currency=price.currency,
        price_version=price.version_id,
        quote_id=asked.quote_id,
        cloned_from=cloned_from,
        **(member.columns if member else {}),
    )
    try:
        with transaction.atomic():
            job.hold_id = hold_for(job, actor)
            job_quotas.reserve_time(job)
    except (BudgetExceeded, QuotaExceeded) as refused:
        if asked.more is None:
            raise alternatives.with_ways(refused, order) from None
        job.hold_id, job.approval_id = None, kept.ask(actor, job, refused, asked.more)
    backlog.admit()
    job.save(force_insert=True)
    wanted: dict[str, list[Any]] = {name: ["", getattr(order, name)] for name in ("kind", "device_class", "tier")}
    wanted |= {name: [None, getattr(order, name)] for name in ("devices", "max_seconds")}
    wanted |= {name: [None, said] for name, said in share_dims(order.share).items()}
    record(JOB_SUBMITTED, actor=actor, target=("job", job.id, job.name), changes=wanted)
    if job.approval_id is None:
        publish(JobSubmitted(tenant_id=actor.tenant_id, job_id=job.id))
    return job


@dataclass(frozen=True)
class _Price:
    unit_amount: Decimal
    currency: str
    version_id: UUID
    least: Decimal | None
    most: Decimal | None
    limit_s: int | None
    forecast: dict[str, Any]


def _price(order: JobRequest, quote_id: UUID | None) -> _Price:
    """Return the binding price: the quote's, which is used up here, else the one in force."""
    if quote_id is None:
        priced = estimate(order)
        between = priced.least.amount, priced.most.amount
        return _Price(
            priced.unit_amount,
            priced.currency,
            priced.price_version,
            *between,
            order.max_seconds,
            order.forecast.json(),
        )
    quote = quotes.take(quote_id, order.body())
    said = quote.forecast or order.forecast.json()
    return _Price(
        quote.unit_amount, quote.currency, quote.price.version_id, quote.least, quote.most, quote.limit_s, said
    )


def hold_for(job: Job, actor: Actor) -> UUID | None:
    """Hold the money for the rest of a job; None if free. Raises BudgetExceeded, or CostLimitReached if it is spent."""
    amount = worst_rest(job)
    if amount <= 0 < job.unit_amount:
        raise CostLimitReached
    if not job.unit_amount:
        return None
    promised = Money(amount, job.currency)
    cap.require(job, promised)
    return holds.hold(
        project_id=job.project_id,
        subject=job.subject,
        amount=promised,
        actor=actor,
        tags=job.tags,
        person=job.person,
    )


@operation(transitions.JOB_CANCELLED)
def cancel(*, actor: Actor, job_id: UUID, reason: str = "") -> Job:
    """Cancel a job in whatever state; idempotent. Raises NotFound, JobIsFinal.

    The state is final at once; the node, which is woken here, kills a child that still runs.
    """
    job = own_job(actor, job_id, "jobs.cancel")
    if job.state == JobState.CANCELLED:
        unchanged("it was cancelled before")
        return job
    if job.state in FINAL_STATES:
        raise JobIsFinal(state=job.state)
    transitions.move(job, JobState.CANCELLED, actor=actor, reason=reason)
    _drop_unclaimed(job, actor)
    transitions.give_back(job)
    wake_attempt(job.id)
    return job


@operation(transitions.JOB_PAUSED)
def pause(*, actor: Actor, job_id: UUID) -> Job:
    """Pause a queued or running job; a running one saves a checkpoint first. Raises NotFound, JobIsFinal."""
    job = own_job(actor, job_id, "jobs.cancel")
    if job.state == JobState.PAUSED:
        unchanged("it was paused before")
        return job
    if job.state in FINAL_STATES:
        raise JobIsFinal(state=job.state)
    transitions.move(job, JobState.PAUSED, actor=actor, cause=Cause.USER, message="")
    _drop_unclaimed(job, actor)
    transitions.give_back(job)
    wake_attempt(job.id)
    return job


@operation(transitions.JOB_RESUMED)
def resume(*, actor: Actor, job_id: UUID) -> Job:
    """Requeue a paused job, holding money and reserving device time again.

    Raises NotFound, JobNotPaused, BudgetExceeded, LaunchesStopped, QuotaExceeded, QueueFull.
    """
    job = own_job(actor, job_id, "jobs.launch")
    if job.state != JobState.PAUSED:
        raise JobNotPaused(state=job.state)
    require_launches()
    changed: dict[str, Any] = {"message": "", "not_before": None, "approval_id": None}
    restate(job)
    if job.hold_id is None:
        changed["hold_id"] = hold_for(job, actor)
    job_quotas.reserve_time(job)
    backlog.admit()
    transitions.move(job, JobState.QUEUED, actor=actor, action=transitions.JOB_RESUMED, **changed)
    publish(JobSubmitted(tenant_id=actor.tenant_id, job_id=job.id))
    return job


def clone(*, actor: Actor, job_id: UUID, changes: Mapping[str, Any] | None = None, member: Member | None = None) -> Job:
    """Submit a new job with the old one's request; `changes` replaces some of its fields. Raises NotFound."""
    old = visible_jobs(actor).filter(id=job_id).first()
    if old is None:
        raise NotFound
    asked = Submission(**{name: getattr(old, name) for name in ASKED})
    return submit(actor=actor, asked=replace(asked, **(changes or {})), cloned_from=old.id, member=member)


@operation(JOB_LOG_DOWNLOADED)
def note_log_download(*, actor: Actor, job_id: UUID) -> None:
    """Record the download of a job's log in the audit log. Raises NotFound."""
    actor.require_somewhere("jobs.view")
    job = visible_jobs(actor).filter(id=job_id).only("id", "name").first()
    if job is None:
        raise NotFound
    record(JOB_LOG_DOWNLOADED, actor=actor, target=("job", job.id, job.name))


def wake_attempt(job_id: UUID) -> None:
    """Wake the node that runs this job, at commit, so that it checks the job's state before its next heartbeat."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('exchequer_job', %s)", [str(job_id)])


def own_job(actor: Actor, job_id: UUID, permission: str) -> Job:
    """Return the job, locked; another person's job needs `jobs.cancel_any` too. Raises NotFound, PermissionDenied."""
    actor.require_somewhere(permission)
    job = transitions.lock(job_id)
    if job is None or not visible_jobs(actor).filter(id=job_id).exists():
        raise NotFound
    actor.require(permission, job)
    if job.submitted_by not in actor.own_ids:
        actor.require("jobs.cancel_any", job)
    shares.check_managed(actor, "job", job_id)
    return job


def _drop_unclaimed(job: Job, actor: Actor) -> None:
    """End an attempt that no node has claimed yet, since no node will end it."""
    attempt = Attempt.objects.select_for_update(no_key=True).filter(job_id=job.id, state=AttemptState.ASSIGNED).first()
    if attempt is not None:
        outcome = Outcome.CANCELLED if job.state == JobState.CANCELLED else Outcome.PAUSED
        transitions.end_attempt(job, attempt, outcome, actor=actor)
