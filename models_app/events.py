"""Events that this app publishes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tenants.events.events import Event, ExternalEvent


@dataclass(frozen=True, kw_only=True)
class DatasetVersionReady(Event):
    """An uploaded file was read and can be trained on."""

    dataset_id: UUID
    version_id: UUID


@dataclass(frozen=True, kw_only=True)
class DatasetVersionRemoved(ExternalEvent):
    """A version lost its data; `keys` are the objects to delete from the store."""

    version_id: UUID
    keys: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ModelVersionRegistered(Event):
    """A job produced a new version of a model."""

    model_id: UUID
    version_id: UUID
    job_id: UUID


@dataclass(frozen=True, kw_only=True)
class EndpointDeployed(Event):
    """An endpoint is to serve this version."""

    endpoint_id: UUID
    version_id: UUID
    generation: int


@dataclass(frozen=True, kw_only=True)
class EndpointUndeployed(Event):
    """An endpoint no longer serves."""

    endpoint_id: UUID


@dataclass(frozen=True, kw_only=True)
class HealthAlertOpened(Event):
    """An endpoint crossed a threshold."""

    endpoint_id: UUID
    alert_id: UUID


@dataclass(frozen=True, kw_only=True)
class EndpointStopped(Event):
    """An endpoint was stopped: its budget had no headroom for it any more (`budget`), or its organisation is `suspended`."""

    endpoint_id: UUID
    cause: str = "budget"


@dataclass(frozen=True, kw_only=True)
class EndpointDisplaced(Event):
    """An endpoint lost its serving node, and waits for another slot."""

    endpoint_id: UUID


@dataclass(frozen=True, kw_only=True)
class PromotionRequested(Event):
    """A version waits for the approval to go into production."""

    version_id: UUID


@dataclass(frozen=True, kw_only=True)
class PromotionAnswered(Event):
    """A request for production was answered: `outcome` is approved or declined."""

    version_id: UUID
    outcome: str


@dataclass(frozen=True, kw_only=True)
class PipelineRunEnded(Event):
    """A run of a pipeline has ended: `state` is succeeded, failed or cancelled."""

    run_id: UUID
    state: str


@dataclass(frozen=True, kw_only=True)
class ScheduleMissed(Event):
    """A schedule was due, so many times, while nothing launched it."""

    schedule_id: UUID
    count: int


@dataclass(frozen=True, kw_only=True)
class ScheduleRefused(Event):
    """What a schedule launches was refused."""

    schedule_id: UUID


@dataclass(frozen=True, kw_only=True)
class SchedulePaused(Event):
    """A schedule paused itself."""

    schedule_id: UUID
