"""What webhooks receive of this app. Only ids and states: the name of a hidden dataset, or of what was made with it, is not sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from models_app.events import (
    DatasetVersionReady,
    EndpointDeployed,
    EndpointDisplaced,
    EndpointStopped,
    EndpointUndeployed,
    HealthAlertOpened,
    ModelVersionRegistered,
    PipelineRunEnded,
    PromotionAnswered,
    PromotionRequested,
    ScheduleMissed,
    SchedulePaused,
    ScheduleRefused,
)
from models_app.models import HealthAlert
from tenants.webhooks.catalogue import EventType, Fact, register


def _endpoint(name: str, endpoint_id: UUID, **data: str) -> Fact:
    return Fact(type=name, kind="endpoint", id=endpoint_id, path=f"endpoints/{endpoint_id}/", data=data)


def _version(name: str, version_id: UUID, **data: str) -> Fact:
    return Fact(type=name, kind="model_version", id=version_id, path=f"models/versions/{version_id}/", data=data)


def _schedule(name: str, schedule_id: UUID, **data: Any) -> Fact:
    return Fact(type=name, kind="schedule", id=schedule_id, path=f"schedules/{schedule_id}/", data=data)


def _health(event: HealthAlertOpened) -> Fact | None:
    alert = HealthAlert.objects.filter(id=event.alert_id).first()
    return _endpoint("model_health.alert", event.endpoint_id, alert=alert.kind) if alert else None


register(
    DatasetVersionReady,
    EventType("dataset_version.ready", "A dataset version can be trained on"),
    describe=lambda event: Fact(
        type="dataset_version.ready",
        kind="dataset_version",
        id=event.version_id,
        path=f"datasets/{event.dataset_id}/",
        data={"dataset": str(event.dataset_id)},
    ),
)
register(
    ModelVersionRegistered,
    EventType("model_version.registered", "A job produced a model version"),
    describe=lambda event: _version("model_version.registered", event.version_id, job=str(event.job_id)),
)
register(
    PromotionRequested,
    EventType("model_version.approval_requested", "A model version waits for approval"),
    describe=lambda event: _version("model_version.approval_requested", event.version_id),
)
register(
    PromotionAnswered,
    EventType("model_version.approval_answered", "A model version was approved or declined"),
    describe=lambda event: _version("model_version.approval_answered", event.version_id, outcome=event.outcome),
)
register(
    EndpointDeployed,
    EventType("endpoint.deployed", "An endpoint was deployed"),
    describe=lambda event: _endpoint("endpoint.deployed", event.endpoint_id, version=str(event.version_id)),
)
register(
    EndpointUndeployed,
    EventType("endpoint.undeployed", "An endpoint was undeployed"),
    describe=lambda event: _endpoint("endpoint.undeployed", event.endpoint_id),
)
register(
    EndpointStopped,
    EventType("endpoint.stopped", "An endpoint stopped: its budget is used up, or its organisation is suspended"),
    describe=lambda event: _endpoint("endpoint.stopped", event.endpoint_id, cause=event.cause),
)
register(
    EndpointDisplaced,
    EventType("endpoint.displaced", "An endpoint lost its serving node and waits for another"),
    describe=lambda event: _endpoint("endpoint.displaced", event.endpoint_id),
)
register(
    HealthAlertOpened,
    EventType("model_health.alert", "An endpoint crossed a threshold of model health"),
    describe=_health,
)
register(
    PipelineRunEnded,
    EventType("pipeline_run.ended", "A run of a pipeline ended"),
    describe=lambda event: Fact(
        type="pipeline_run.ended",
        kind="pipelinerun",
        id=event.run_id,
        path=f"pipelines/runs/{event.run_id}/",
        data={"state": event.state},
    ),
)
register(
    ScheduleMissed,
    EventType("schedule.missed", "A schedule was due while nothing launched it"),
    describe=lambda event: _schedule("schedule.missed", event.schedule_id, count=event.count),
)
register(
    ScheduleRefused,
    EventType("schedule.refused", "A launch of a schedule was refused"),
    describe=lambda event: _schedule("schedule.refused", event.schedule_id),
)
register(
    SchedulePaused,
    EventType("schedule.paused", "A schedule paused itself"),
    describe=lambda event: _schedule("schedule.paused", event.schedule_id),
)
