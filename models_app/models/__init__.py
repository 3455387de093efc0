"""Tables of datasets, models, and serving."""

from models_app.models.datasets import (
    Dataset,
    DatasetGroupPermission,
    DatasetUserPermission,
    DatasetVersion,
    IngestState,
)
from models_app.models.health import Feedback, HealthAlert, HealthWindow
from models_app.models.pipelines import Pipeline, PipelineRun, RunState, StepTry, TryState
from models_app.models.presets import Preset
from models_app.models.registry import Model, ModelGroupPermission, ModelUserPermission, ModelVersion, Stage
from models_app.models.schedules import Missed, Overlap, Schedule, ScheduleRun, TickOutcome
from models_app.models.serving import (
    Endpoint,
    EndpointGroupPermission,
    EndpointKey,
    EndpointState,
    EndpointUserPermission,
    ServingSlice,
)

__all__ = [
    "Dataset", "DatasetGroupPermission", "DatasetUserPermission", "DatasetVersion", "Endpoint",
    "EndpointGroupPermission", "EndpointKey", "EndpointState", "EndpointUserPermission", "Feedback", "HealthAlert",
    "HealthWindow", "IngestState", "Missed", "Model", "ModelGroupPermission", "ModelUserPermission", "ModelVersion",
    "Overlap", "Pipeline", "PipelineRun", "Preset", "RunState", "Schedule", "ScheduleRun", "ServingSlice", "Stage",
    "StepTry", "TickOutcome", "TryState",
]  # fmt: skip
