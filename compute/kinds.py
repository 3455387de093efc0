"""Job kinds: what upper rooms plug in. Compute stores a kind's `spec` and knows none of its words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from billing.defaults import DEVICE_SECONDS
from tenants.access.actor import Actor
from tenants.errors import Invalid

if TYPE_CHECKING:
    from compute.models import Job
    from tenants.isolation.scoping import TenantQuerySet


class BadOutput(RuntimeError):
    """The child left something that is not what it should be: a crash of its own, which storing again cannot heal."""


class BadReport(BadOutput):
    """The child told us something that cannot be stored. The message is ours, and is shown."""


class BadArtefact(RuntimeError):
    """What was stored for this work is not what was stored, or cannot be used: no try heals that. The message is shown."""


@dataclass(frozen=True)
class Plan:
    """What a kind's own formula expects of a spec: `typical_s` seconds on one device, `start_s` of them a start-up.

    `family` names the runs that this one is compared with, `work_key` the very same work; without a family nothing is
    learnt from its runs.
    """

    typical_s: float
    start_s: float = 0.0
    family: str = ""
    work_key: str = ""

    @property
    def work_s(self) -> float:
        """What it takes beside the start-up."""
        return max(0.05, self.typical_s - self.start_s)


def key_of(work: Mapping[str, Any]) -> str:
    """Return what stands for the very same work."""
    return sha256(json.dumps(work, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as its kind sees it. `checkpoint` is what `save_checkpoint` last returned, empty before the first."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    name: str
    kind: str
    spec: dict[str, Any]
    tags: dict[str, str]
    device_class: str
    submitted_by: UUID | None
    checkpoint: dict[str, Any]
    result: dict[str, Any]
    token: int = 0
    attempt_id: UUID | None = None


class JobKind(Protocol):
    """One kind of work. `stage`, `save_checkpoint` and `collect` run outside transactions and open scopes themselves."""

    name: str
    entrypoint: Path
    meter: str  # what its seconds are billed as: `device_seconds`, or a meter of its own

    def validate(self, actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the normalised spec; raises Invalid."""
        ...

    def plan(self, spec: dict[str, Any]) -> Plan:
        """Return what a normalised spec is expected to take."""
        ...

    def describe(self, job: JobView) -> dict[str, Any]:
        """Return what the API answer says beyond compute's own words."""
        ...

    def stage(self, job: JobView, workdir: Path) -> dict[str, Any]:
        """Fetch inputs into `workdir/in` and a checkpoint into `workdir/checkpoint`; return more of job.json.

        Raises BadArtefact, which ends the job with cause `artifact` before anything is charged for this attempt.
        """
        ...

    def save_checkpoint(self, job: JobView, token: int, folder: Path) -> dict[str, Any]:
        """Store the folder away under a key that holds the token; return the pointer to keep on the job."""
        ...

    def collect(self, job: JobView, token: int, workdir: Path) -> dict[str, Any]:
        """Store away what the child left in `workdir/out`; return what `complete` needs. Raises BadOutput."""
        ...

    def complete(self, job: JobView, collected: dict[str, Any]) -> dict[str, Any]:
        """Write the effect, inside the completion transaction; return the job's result."""
        ...


Narrow = Callable[[Actor, "TenantQuerySet[Job]"], "TenantQuerySet[Job]"]
Admit = Callable[[Actor, str, dict[str, Any]], None]
_kinds: dict[str, JobKind] = {}
_narrowing: dict[str, Narrow] = {}
_admitting: dict[str, Admit] = {}


def register(kind: JobKind, *, visible: Narrow | None = None, admit: Admit | None = None) -> None:
    """Add a kind when Django starts; the same name again replaces it.

    `visible(actor, rows)` takes the jobs of this kind that the actor may not see out of a query of jobs, in the same
    statement. `admit(actor, name, spec)` may refuse a job of this name and normalised spec; raises Invalid.
    """
    _kinds[kind.name] = kind
    for hooks, hook in ((_narrowing, visible), (_admitting, admit)):
        hooks.pop(kind.name, None)
        if hook is not None:
            hooks[kind.name] = hook  # type: ignore[assignment]


def narrowing() -> list[Narrow]:
    """Return what hides jobs from actors."""
    return list(_narrowing.values())


def admit(actor: Actor, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Refuse a job whose kind objects to it. Raises Invalid."""
    if kind in _admitting:
        _admitting[kind](actor, name, spec)


def get(name: str) -> JobKind:
    """Return a kind; raises Invalid for a name that nobody registered."""
    try:
        return _kinds[name]
    except KeyError:
        raise Invalid(fields={"kind": [f"Choose one of: {', '.join(names()) or 'none is installed'}."]}) from None


def meter_of(name: str) -> str:
    """Return the meter that a kind's seconds are billed as; `device_seconds` for a kind that is not installed here."""
    kind = _kinds.get(name)
    return DEVICE_SECONDS if kind is None else kind.meter


def names() -> list[str]:
    """Return the names of the installed kinds."""
    return sorted(_kinds)
