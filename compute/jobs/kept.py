"""Kept launches: a launch that a budget or a quota of the month refused waits, as a queued job, for the answer to a request for more.

It holds no money, no quota and no device. When the request is granted its money is held, and it starts without being
submitted again; when it is declined or expires, the job is cancelled. The answer and what follows are two transactions:
the answer's event stays in the outbox until it is handled, and the sweep finds answers besides.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import cast
from uuid import UUID

from billing.budgets import holds, requests
from billing.budgets.counters import BudgetExceeded
from billing.dunning.stops import LaunchesStopped, require_launches
from billing.money import Money, minor_decimals
from billing.pricing.price_books import PriceMissing
from billing.queries import budget
from billing.queries.calendar import tenant_today
from billing.rating.calendar import period_bounds
from compute.events import JobSubmitted
from compute.jobs import job_quotas, transitions
from compute.jobs.repricing import price_of, restate, worst_rest
from compute.models import Cause, Job, JobState
from compute.sets import cap
from tenants import quotas
from tenants.access.actor import Actor
from tenants.approvals import quota_requests
from tenants.approvals.queries import asked_for
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import ExchequerError, NotFound
from tenants.events.events import publish
from tenants.models import Approval
from tenants.quotas import QuotaExceeded, scopes

JOB_ADMITTED = AuditAction("compute.job.admitted")


@dataclass(frozen=True, slots=True)
class More:
    """What to ask for if a launch is refused: by default what is missing, for the running period only.

    `amount`: of the budget; `limit`: of the quota, in its shown unit.
    """

    reason: str
    amount: Decimal | None = None
    limit: int | None = None
    this_month: bool = True


def ask(actor: Actor, job: Job, refused: BudgetExceeded | QuotaExceeded, more: More) -> UUID:
    """Request a higher budget or quota for a refused launch; return the request's id. Raises Invalid, and what refused it.

    A request that is open for the same figures is shared.
    """
    if isinstance(refused, QuotaExceeded):
        return _ask_for_quota(actor, job, refused, more)
    if "left" not in refused.extra or "budget" not in refused.extra:
        raise refused
    budget_id = UUID(str(refused.extra["budget"]))
    try:
        status = budget(budget_id)
    except NotFound:  # the actor may not name its project
        raise refused from None
    left, asked = (Money(Decimal(refused.extra[name]["amount"]), status.currency) for name in ("left", "asked"))
    # What is spent beyond the limit is missing, too.
    missing = asked - min(left, status.free)
    amount = more.amount or _rounded_up(status.limit.amount + missing.amount, status.currency)
    row = requests.request(
        actor=actor, budget_id=budget_id, amount=amount, reason=more.reason, this_month=more.this_month
    )
    return row.id


def _ask_for_quota(actor: Actor, job: Job, refused: QuotaExceeded, more: More) -> UUID:
    """Request the quota that the launch needs besides what is in use, of the operators if their ceiling is too low."""
    resource, scope = str(refused.extra["resource"]), scopes.parse(refused.extra["scope"])
    needed = quotas.use_of(resource, scope).in_use + job_quotas.rest_s(job)
    limit = more.limit or math.ceil(Decimal(needed) / quotas.resources()[resource].unit)
    until = period_bounds(tenant_today().period, tenant_today().zone)[1] if more.this_month else None
    row = quota_requests.request(
        actor=actor, resource=resource, limit=limit, reason=more.reason, scope=scope, until=until
    )
    return row.id


def _rounded_up(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-minor_decimals(currency)), ROUND_CEILING)


def answered(approval_id: UUID, state: str) -> None:
    """Start or cancel the launches that waited for a request, each in its turn. Idempotent."""
    waiting = Job.objects.filter(approval_id=approval_id, state=JobState.QUEUED).order_by("id")
    for job in waiting.only("id", "tenant_id"):
        system = Actor.system(job.tenant_id, "approvals")
        if state == "approved":
            admit(actor=system, job_id=job.id)
        else:
            give_up(actor=system, job_id=job.id, state=state)


@operation(JOB_ADMITTED)
def admit(*, actor: Actor, job_id: UUID) -> None:
    """Hold the money of a kept launch at today's price and queue it; `actor` is the system.

    If there is no headroom after all, or an overdue invoice stops launches, it is paused. If a quota of the month is still
    too low, as one below a ceiling that was raised, the launch waits on, for the answer to a request for that one.
    """
    job = _kept(job_id)
    if job is None:
        unchanged("it was started or cancelled before")
        return
    submitter = replace(actor, id=job.submitted_by, label=job.submitted_by_label)
    try:
        require_launches()
        _hold(job, submitter)
        job_quotas.reserve_time(job)
    except (BudgetExceeded, LaunchesStopped) as refused:
        _leave(job, actor, JobState.PAUSED, refused.message)
        return
    except QuotaExceeded as refused:
        _wait_on(job, actor, refused)
        return
    Job.objects.filter(id=job.id).update(
        approval_id=None,
        hold_id=job.hold_id,
        unit_amount=job.unit_amount,
        price_version=job.price_version,
        queued_at=DatabaseNow(),
    )
    record(JOB_ADMITTED, actor=actor, target=("job", job.id, job.name), changes={"waits": ["approval", None]})
    publish(JobSubmitted(tenant_id=job.tenant_id, job_id=job.id))


@operation(transitions.JOB_CANCELLED)
def give_up(*, actor: Actor, job_id: UUID, state: str) -> None:
    """Cancel a kept launch whose request was declined or expired; `actor` is the system."""
    job = _kept(job_id)
    if job is None:
        unchanged("it was started or cancelled before")
        return
    what = f"The request for a {asked_for(job.approval_id)}"
    reason = f"{what} was declined." if state == "declined" else f"{what} expired."
    transitions.move(job, JobState.CANCELLED, actor=actor, reason=reason, message=reason, approval_id=None)


def _kept(job_id: UUID) -> Job | None:
    job = transitions.lock(job_id)
    return job if job is not None and job.state == JobState.QUEUED and job.approval_id is not None else None


def _hold(job: Job, submitter: Actor) -> None:
    restate(job)
    with suppress(PriceMissing):  # the list in force no longer names it: the price of the launch stays
        price = price_of(job)
        job.unit_amount, job.price_version = price.unit_amount, price.version_id
    amount = Money(worst_rest(job), job.currency)
    if amount.amount > 0:
        cap.require(job, amount)
        job.hold_id = holds.hold(
            project_id=job.project_id,
            subject=job.subject,
            amount=amount,
            actor=submitter,
            tags=job.tags,
            person=job.person,
        )


def _wait_on(job: Job, actor: Actor, refused: QuotaExceeded) -> None:
    """Ask for the quota that is still too low, in the name of who asked before and for the same reason."""
    before = Approval.objects.get(id=cast(UUID, job.approval_id))
    asker = replace(actor, id=before.requester, label=before.requester_label)
    more = More(reason=before.reason, this_month=bool(before.wanted.get("until", before.wanted.get("this_month"))))
    try:
        asked = _ask_for_quota(asker, job, refused, more)
    except ExchequerError:  # nothing more can be asked for: too many requests are open
        _leave(job, actor, JobState.CANCELLED, refused.message)
        return
    if job.hold_id is not None:
        holds.release(hold_id=job.hold_id)
    Job.objects.filter(id=job.id).update(approval_id=asked)
    changes = {"waits": [asked_for(job.approval_id), asked_for(asked)]}
    record(JOB_ADMITTED, actor=actor, target=("job", job.id, job.name), changes=changes, reason=refused.message)


def _leave(job: Job, actor: Actor, state: JobState, message: str) -> None:
    if job.hold_id is not None:
        holds.release(hold_id=job.hold_id)
    cause = Cause.BUDGET if state == JobState.PAUSED else Cause.NONE
    fields = {"approval_id": None, "message": message}
    transitions.move(job, state, actor=actor, cause=cause, reason=message, action=JOB_ADMITTED, **fields)
