"""What the policy reads and what it answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from billing.rating.quantity import WHOLE


@dataclass(frozen=True, slots=True)
class Device:
    """One device that is ready, free or not. `link`: its pool of devices on the node that reach each other fastest.

    It begins with the kind of link, a faster one before a slower one in the order of the alphabet. `labels`: those of its
    node, as `key=value`.
    """

    id: Any
    node: Any
    device_class: str
    link: str = ""
    labels: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """One job that waits or runs. The policy reads it and writes nothing.

    `devices` are needed all at once, on one node if `one_node`; a job of one device may need a `share` of it, in
    thousandths. `attained_s`: device-seconds that it has run so far. A job that runs has `held` devices;
    `borrowed`: it started beyond the guaranteed part or past an older job, so it gives way; `stopping`: it already does.
    `spot` work always gives way. `not_before` holds a job back after a failed try. Of its job set `set_id` only so many run
    `at_once`; None: any number. It runs only on nodes that carry all its `labels`.
    """

    job_id: Any
    tenant_id: Any
    device_class: str
    queued_at: datetime
    devices: int = 1
    share: int = WHOLE
    one_node: bool = False
    project_id: Hashable | None = None
    person: Hashable | None = None
    priority: int = 0
    spot: bool = False
    attained_s: float = 0.0
    not_before: datetime | None = None
    held: tuple[Device, ...] = ()
    borrowed: bool = False
    stopping: bool = False
    set_id: Hashable | None = None
    at_once: int | None = None
    labels: frozenset[str] = frozenset()

    @property
    def amount(self) -> int:
        """What it takes, in thousandths of a device."""
        return self.devices * self.share

    @property
    def yields(self) -> bool:
        """Whether it gives way to work that comes before it."""
        return self.borrowed or self.spot


@dataclass(frozen=True, slots=True)
class Scope:
    """What a limit or a share on a class of devices binds: a tenant (both empty), a project of it, or a person in it."""

    tenant_id: Hashable
    device_class: str
    project_id: Hashable | None = None
    person: Hashable | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """A scope's limit at once (None: none), guaranteed part and weight, and the devices it held on average of late.

    Without a guaranteed part a tenant has its part, by weight and rounded up, of what is guaranteed to nobody.
    """

    limit: int | None = None
    guaranteed: int | None = None
    weight: int = 1
    past: float = 0.0


@dataclass(frozen=True, slots=True)
class Assign:
    """Start this job on these devices; `borrowed` work gives way later."""

    work: Work
    devices: tuple[Device, ...]
    borrowed: bool


@dataclass(frozen=True, slots=True)
class Preempt:
    """Stop this job with a checkpoint: another one comes before it."""

    work: Work
    taker: Work


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Stop this job with a checkpoint: its devices belong to the guaranteed part of another one's tenant."""

    work: Work
    taker: Work


class Why(StrEnum):
    """Why a job does not start in a round."""

    AT_ONCE = "at_once"
    """So many jobs of its set run as may at once."""
    LIMIT = "limit"
    """A limit at once is full: that of `Wait.scope`."""
    BACK_OFF = "back_off"
    """Its last try failed; the next one begins at `not_before`."""
    TOO_BIG = "too_big"
    """The class has too few ready devices for it, on one node if it must be one, even if nothing else ran."""
    VACATING = "vacating"
    """Its devices are being vacated."""
    SCATTERED = "scattered"
    """Enough devices are free, but not together on one node."""
    LABELS = "labels"
    """There is room, but not on nodes with its labels."""
    GUARANTEED = "guaranteed"
    """All devices are held by work that gives way to nobody."""
    TURN = "turn"
    """The devices go to work that comes before it."""


class Wait(NamedTuple):
    """This job does not start in this round. `place`: among its tenant's waiting jobs of the class, 1 is next."""

    work: Work
    why: Why
    place: int
    scope: Scope | None = None


Action = Assign | Preempt | Reclaim
