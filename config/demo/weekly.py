"""The weekly round of a model, as the template of a pipeline draws it, run once: what it trains is no better than what serves."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from config.demo import attempts
from config.demo.company import Company, quote
from models_app.models import DatasetVersion, StepTry
from models_app.pipelines import advancing, pipelines
from models_app.schedules import schedules
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope


def run(of: Company, training_s: float, spread: float) -> None:
    """Save the round with its schedule, and run it; each of its trainings takes about `training_s`."""
    actor = of.first("engineer")
    with tenant_scope(of.tenant_id):
        project_id = of.projects[of.one.service.project]
        made = pipelines.create(
            actor=actor, project_id=project_id, name="weekly", steps={"steps": steps(of, training_s)}
        )
        # Not due again while the demo is loaded.
        cron = f"0 6 * * {(now() - timedelta(days=2)).isoweekday()}"
        schedule = schedules.create(actor=actor, wanted={"name": "weekly", "cron": cron, "pipeline": made.id})
        run_id = schedules.launch_now(actor=actor, schedule_id=schedule.id).pipeline_run_id
    if run_id is None:  # a budget refused it
        return
    _extract(of, run_id)
    _clean(of, run_id)
    _train(of, run_id, training_s, spread)


def steps(of: Company, training_s: float) -> list[dict[str, Any]]:
    """Return the steps; the second of two trainings ends after a tenth of the epochs, and is no match for the first."""
    one = of.one
    of_train, best = ({"from": step, "output": "model_version"} for step in ("train", "compare"))
    metric = "r2" if one.recipe.endswith("regressor") else "accuracy"
    params = {**one.params[0], "epochs": {"item": True}}
    url = f"https://files.{one.slug}.example/{one.dataset}.csv"
    train = {
        "recipe": one.recipe,
        "dataset_version": {"from": "clean", "output": "dataset_version"},
        "params": params,
        "model": one.model,
        "max_seconds": 3 * training_s,
    }
    return [
        {
            "name": "extract",
            "kind": "extract",
            "with": {"url": url, "dataset": one.dataset, "target": of.tables.training.target},
            "retries": 2,
        },
        {
            "name": "clean",
            "kind": "clean",
            "with": {
                "dataset_version": {"from": "extract", "output": "dataset_version"},
                "columns": dict(one.cleaned),
            },
        },
        {"name": "train", "kind": "train", "each": [one.epochs, one.epochs // 10], "retries": 1, "with": train},
        {
            "name": "compare",
            "kind": "compare",
            "with": {"model_version": of_train, "metric": metric, "endpoint": one.service.name},
        },
        {
            "name": "deploy",
            "kind": "deploy",
            "when": {"step": "compare", "output": "better", "is": "=", "than": True},
            "with": {"model_version": best, "endpoint": one.service.name},
        },
        {
            "name": "report",
            "kind": "report",
            "needs": ["compare"],
            "with": {"title": f"The weekly round of {one.model}"},
        },
    ]


def _extract(of: Company, run_id: UUID) -> None:
    """Let the file be fetched: it is the one that was uploaded first, so it makes no other version."""
    with tenant_scope(of.tenant_id):
        version = DatasetVersion.objects.get(id=of.datasets[of.one.dataset])
        found = {"dataset": str(version.dataset_id), "dataset_version": str(version.id)}
        StepTry.objects.filter(run_id=run_id, step="extract").update(outputs=found)
    advancing.advance(of.tenant_id, run_id)


def _clean(of: Company, run_id: UUID) -> None:
    """Let the file be read again as the step asks."""
    with tenant_scope(of.tenant_id):
        outputs = StepTry.objects.get(run_id=run_id, step="clean").outputs
    of.ingest(UUID(outputs["dataset_version"]), of.learned.cleaned.result())
    advancing.advance(of.tenant_id, run_id)


def _train(of: Company, run_id: UUID, training_s: float, spread: float) -> None:
    """Let both jobs run; the end of each advances the run."""
    with tenant_scope(of.tenant_id):
        tries = StepTry.objects.filter(run_id=run_id, step="train").exclude(job=None).select_related("job")
        found = {one.item: one.job for one in tries if one.job is not None}
        for job in found.values():
            quote(job, training_s, spread)
    children = (of.learned.versions[0], of.learned.brief)
    for item, job in found.items():
        ended = partial(advancing.after_job, of.tenant_id, job.id)
        of.simulation.queue(job, attempts.real(job, children[item].result, training_s, ended))
