"""What a schedule launches."""

from __future__ import annotations

from models_app.models import Schedule, ScheduleRun
from models_app.pipelines import pipelines
from models_app.presets import presets
from tenants.access.actor import Actor


def launch(run: ScheduleRun, row: Schedule, *, actor: Actor, trigger: str) -> None:
    """Launch a schedule's preset or pipeline in the open transaction, and note job or run on the tick, which is not saved.

    The steps of a pipeline begin when somebody advances its run after the commit. Raises what such a launch raises.
    """
    if row.preset_id is not None:
        run.job_id = presets.launch(actor=actor, preset_id=row.preset_id).id
    elif row.pipeline_id is not None:
        run.pipeline_run_id = pipelines.begin(actor=actor, pipeline=row.pipeline_id, trigger=trigger).id
