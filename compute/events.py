"""Events that compute publishes."""

from dataclasses import dataclass
from uuid import UUID

from tenants.events.events import Event


@dataclass(frozen=True, kw_only=True)
class JobSubmitted(Event):
    """A job entered the queue."""

    job_id: UUID


@dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    """A job got a device for the first time."""

    job_id: UUID


@dataclass(frozen=True, kw_only=True)
class JobEnded(Event):
    """A job reached a final state."""

    job_id: UUID
    state: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class SlotLost(Event):
    """A long allocation lost its slot and waits for another."""

    subject: str


@dataclass(frozen=True, kw_only=True)
class SlotUnpaid(Event):
    """A long allocation ended: its budget had no headroom for it any more."""

    subject: str
    allocation_id: UUID
