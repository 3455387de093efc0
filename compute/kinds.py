"""Job kinds, which upper apps register. Compute stores a kind's `spec` and knows none of its fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from django.db.models import Q

from billing.defaults import DEVICE_SECONDS
from tenants.access.actor import Actor
from tenants.errors import Invalid


class BadOutput(RuntimeError):
    """The child's output is invalid: a crash of its own that a retry of storing cannot fix."""


class BadReport(BadOutput):
    """The child reported something that cannot be stored. The message is ours, and is shown."""


class BadArtefact(RuntimeError):
    """A stored input was altered or is unusable, which no retry fixes. The message is shown."""


@dataclass(frozen=True)
class Plan:
    """Expected time of a spec by the kind's formula: `typical_s` seconds on one device, `start_s` of them start-up.

    `family` names comparable runs, `work_key` exactly the same work; without a family nothing is learnt from its runs.
    `most_devices`: on how many at once its program can run.
    """

    typical_s: float
    start_s: float = 0.0
    family: str = ""
    work_key: str = ""
    most_devices: int = 1

    @property
    def work_s(self) -> float:
        """Return the seconds without the start-up."""
        return max(0.05, self.typical_s - self.start_s)


def key_of(work: Mapping[str, Any]) -> str:
    """Return the key of exactly the same work."""
    return sha256(json.dumps(work, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job in the form for its kind. `checkpoint` is the last result of `save_checkpoint`, empty before the first."""

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
    meter: str  # the meter of its seconds: `device_seconds`, or its own

    def validate(self, actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the normalised spec; raises Invalid."""
        ...

    def plan(self, spec: dict[str, Any]) -> Plan:
        """Return the expected time of a normalised spec."""
        ...

    def describe(self, job: JobView) -> dict[str, Any]:
        """Return the kind's own fields of the API response."""
        ...

    def stage(self, job: JobView, workdir: Path) -> dict[str, Any]:
        """Fetch inputs into `workdir/in`, a checkpoint into `workdir/checkpoint`; return the rest of job.json.

        Raises BadArtefact, which ends the job with cause `artifact` before anything is charged for this attempt.
        """
        ...

    def reads(self, job: JobView) -> list[str]:
        """Return the keys of the stored files that `stage` may fetch: a node is handed these, and no others."""
        ...

    def save_checkpoint(self, job: JobView, token: int, folder: Path) -> dict[str, Any]:
        """Store the folder under a key that contains the token; return the pointer to keep on the job."""
        ...

    def collect(self, job: JobView, token: int, workdir: Path) -> dict[str, Any]:
        """Store the child's `workdir/out`; return the input of `complete`. Raises BadOutput."""
        ...

    def complete(self, job: JobView, collected: dict[str, Any]) -> dict[str, Any]:
        """Write the effect, inside the completion transaction; return the job's result."""
        ...


Hidden = Callable[[Actor], Q | None]
Admit = Callable[[Actor, str, dict[str, Any]], None]
_kinds: dict[str, JobKind] = {}
_hiding: dict[str, Hidden] = {}
_admitting: dict[str, Admit] = {}


def register(kind: JobKind, *, hidden: Hidden | None = None, admit: Admit | None = None) -> None:
    """Register a kind when Django starts; the same name again replaces it.

    `hidden(actor)` is the condition of the jobs of this kind that the actor may not see, or None; it joins a statement. Kinds
    with one `hidden` share one condition.
    `admit(actor, name, spec)` may refuse a job of this name and normalised spec; raises Invalid.
    """
    _kinds[kind.name] = kind
    for hooks, hook in ((_hiding, hidden), (_admitting, admit)):
        hooks.pop(kind.name, None)
        if hook is not None:
            hooks[kind.name] = hook  # type: ignore[assignment]


def better(kind: str, metric: str) -> str:
    """Return which values of a metric in a kind's results are better: "higher", "lower", or "" for neither.

    A kind says in `better` which are not "higher".
    """
    said: Mapping[str, str] = getattr(_kinds.get(kind), "better", {})
    return said.get(metric, "higher")


def hidden(actor: Actor) -> list[Q]:
    """Return the conditions of jobs that their kinds hide from an actor."""
    of: dict[Hidden, list[str]] = {}
    for kind, hide in _hiding.items():
        of.setdefault(hide, []).append(kind)
    return [Q(kind__in=kinds) & found for hide, kinds in of.items() if (found := hide(actor)) is not None]


def admit(actor: Actor, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Refuse a job whose kind objects to it. Raises Invalid."""
    if kind in _admitting:
        _admitting[kind](actor, name, spec)


def get(name: str) -> JobKind:
    """Return a kind; raises Invalid for an unregistered name."""
    try:
        return _kinds[name]
    except KeyError:
        raise Invalid(fields={"kind": [f"Choose one of: {', '.join(names()) or 'none is installed'}."]}) from None


def meter_of(name: str) -> str:
    """Return the meter of a kind's seconds; `device_seconds` for a kind not installed here."""
    kind = _kinds.get(name)
    return DEVICE_SECONDS if kind is None else kind.meter


def names() -> list[str]:
    """Return the names of the installed kinds."""
    return sorted(_kinds)
