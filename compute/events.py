"""Events that compute publishes."""

from dataclasses import dataclass
from decimal import Decimal
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
class JobIdle(Event):
    """The devices of a running job have done nothing since `idle_since`; at `stops_at` it is stopped.

    Times are ISO 8601. `lost` is what they cost until now, `per_hour` what each further hour costs.
    """

    job_id: UUID
    idle_since: str
    stops_at: str
    lost: Decimal
    per_hour: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True)
class JobEnded(Event):
    """A job reached a final state."""

    job_id: UUID
    state: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class JobSetEnded(Event):
    """All jobs of a set have ended, and no other follows unless it is retried. `jobs`: how many are in each state."""

    set_id: UUID
    state: str
    jobs: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class SlotLost(Event):
    """A long allocation lost its slot and waits for another."""

    subject: str


@dataclass(frozen=True, kw_only=True)
class SlotUnpaid(Event):
    """A long allocation ended: its budget had no headroom for it any more."""

    subject: str
    allocation_id: UUID
