"""Steps that are jobs: launched under the run's cap, and what they came to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from billing.money import Money
from compute.jobs import jobs, request_body
from compute.models import Job, JobState
from models_app.models import PipelineRun, StepTry, TryState
from models_app.pipelines.kinds import StepFailed, Work
from models_app.pipelines.plan import Step
from tenants.errors import RateLimited


class CapReached(StepFailed):
    """The rest of the pipeline's cap does not pay for this step."""

    code = "pipeline_cap_reached"


class WaitsForCap(RateLimited):
    """The rest of the pipeline's cap may pay for this step when others have ended."""

    code = "pipeline_cap_waits"


def submit(run: PipelineRun, step: Step, work: Work) -> Job:
    """Launch a step's job. It may cost at most what is left of the run's cap.

    Raises CapReached, WaitsForCap, and what `jobs.submit` raises.
    """
    body = {
        "name": f"{work.pipeline} {step.name}"[:120],
        **work.body,
        "kind": step.kind,
        "project": str(run.project_id),
    }
    asked = request_body.submission(body)
    if run.cap is None:
        return jobs.submit(actor=work.actor, asked=asked)
    expected = jobs.estimate(jobs.check(actor=work.actor, asked=asked))
    if not expected.worst.amount:
        return jobs.submit(actor=work.actor, asked=asked)
    committed, open_jobs = _committed(run)
    left = run.cap - committed
    if left < expected.typical.amount:
        if open_jobs:
            raise WaitsForCap
        rest, needed = Money(max(left, Decimal(0)), run.currency), expected.typical
        raise CapReached(
            f"The rest of the pipeline's cap, {rest}, does not pay for a typical run of this step, {needed}."
        )
    return jobs.submit(actor=work.actor, asked=replace(asked, max_cost=min(left, expected.worst.amount)))


def ended(job: Job) -> dict[str, Any]:
    """Return what a try becomes by its job's end; empty while the job is open."""
    if job.state == JobState.SUCCEEDED:
        outputs = {name: value for name, value in job.result.items() if name not in ("files", "read")}
        return {"state": TryState.SUCCEEDED, "outputs": {"job": str(job.id), **outputs}}
    if job.state == JobState.FAILED:
        return {
            "state": TryState.FAILED,
            "message": job.message[:500] or "Its job failed.",
            "outputs": {"job": str(job.id)},
        }
    if job.state == JobState.CANCELLED:
        return {"state": TryState.FAILED, "message": "Its job was cancelled.", "final": True}
    return {}


def _committed(run: PipelineRun) -> tuple[Decimal, bool]:
    """Return what the run's jobs have spent or may still spend, and whether one is open. A run with a cap limits each of them."""
    total, open_jobs = Decimal(0), False
    for row in StepTry.objects.filter(run=run, job__isnull=False).select_related("job"):
        job = row.job
        if job is None:
            continue
        ended_well = job.state in (JobState.SUCCEEDED, JobState.FAILED)
        total += job.spent if ended_well or job.max_cost is None else job.max_cost
        open_jobs |= job.state in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
    return total, open_jobs
