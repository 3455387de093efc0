"""Steps that are jobs: launched under the run's cap, and what they came to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compute.jobs import jobs, request_body
from compute.models import FINAL_STATES, Job, JobState
from compute.sets import cap
from compute.sets.opening import Member
from models_app.models import PipelineRun, TryState
from models_app.pipelines.kinds import StepFailed, Work
from models_app.pipelines.plan import Step
from tenants.errors import RateLimited
from tenants.identity import creators


class CapReached(StepFailed):
    """The rest of the pipeline's cap does not pay for this step."""

    code = "pipeline_cap_reached"


class WaitsForCap(RateLimited):
    """The rest of the pipeline's cap may pay for this step when others have ended."""

    code = "pipeline_cap_waits"


def submit(run: PipelineRun, step: Step, work: Work, place: int) -> Job:
    """Launch a step's job at a place of the run's job set. It may cost at most what is left of the set's cap.

    Raises CapReached, WaitsForCap, and what `jobs.submit` raises.
    """
    body = {
        "name": f"{work.pipeline} {step.name}"[:120],
        **work.body,
        "kind": step.kind,
        "project": str(run.project_id),
    }
    asked, member = request_body.submission(body), Member(run.set_id, place)
    expected = jobs.estimate(jobs.check(actor=work.actor, asked=asked))
    creators.lock_creator(work.actor)  # before the set, as every launch locks them
    used = cap.used_of(run.set_id, expected.worst.currency)
    if used is None or not expected.worst.amount:
        return jobs.submit(actor=work.actor, asked=asked, member=member)
    if used.left.amount < expected.typical.amount:
        if Job.objects.filter(set_id=run.set_id).exclude(state__in=FINAL_STATES).exists():
            raise WaitsForCap
        raise CapReached(
            f"The rest of the pipeline's cap, {used.left}, does not pay for a typical run of this step, {expected.typical}."
        )
    limited = replace(asked, max_cost=min(used.left.amount, expected.worst.amount))
    return jobs.submit(actor=work.actor, asked=limited, member=member)


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
