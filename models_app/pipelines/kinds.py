"""The kinds of steps: every job kind, and those registered here, which do their work without a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from compute import kinds as jobs
from tenants.access.actor import Actor
from tenants.errors import Conflict

#: Fields of a launch that a step leaves to its run.
OF_THE_RUN = frozenset({"project", "quote", "max_cost", "request_more"})


class StepFailed(Conflict):
    """This step failed."""

    code = "step_failed"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step is to do, with its references resolved. `tenant_id`, `project_id` and `run_id` are those of its run."""

    actor: Actor
    tenant_id: UUID
    project_id: UUID
    run_id: UUID
    person: UUID | None
    pipeline: str
    step: str
    body: Mapping[str, Any]
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a step did. Unless `done`, it is asked again later; `note` is what it waits for."""

    outputs: dict[str, Any]
    done: bool = True
    note: str = ""


class StepKind(Protocol):
    """A kind of step without a job. `begin` and `follow` run inside the run's transaction, by the launcher's rights."""

    name: str
    required: frozenset[str]
    optional: frozenset[str]

    def begin(self, work: Work) -> Result:
        """Do the step, or begin it. Raises ExchequerError, which fails the step."""
        ...

    def follow(self, work: Work, outputs: dict[str, Any]) -> Result:
        """Go on with a step that was not done. Raises ExchequerError."""
        ...


class Outside(Protocol):
    """A kind of step that asks other servers: `fetch` runs outside transactions, again if its worker was lost."""

    def fetch(self, work: Work) -> dict[str, Any]:
        """Do what takes its time; return the outputs so far. Raises ExchequerError."""
        ...


_kinds: dict[str, StepKind] = {}


def register(kind: StepKind) -> None:
    """Register a kind when Django starts; the same name again replaces it."""
    _kinds[kind.name] = kind


def get(name: str) -> StepKind:
    """Return a registered kind. Raises KeyError."""
    return _kinds[name]


def known() -> dict[str, bool]:
    """Return the name of each kind, and whether its steps are jobs."""
    return dict.fromkeys(jobs.names(), True) | dict.fromkeys(_kinds, False)


def body_faults(kind: str, body: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the fields of a step's `with`; a job's own fields are checked when it is launched."""
    if kind not in _kinds:
        taken = sorted(OF_THE_RUN & set(body))
        return (
            [f"Leave out {', '.join(taken)}: the pipeline's project and cap hold for all its steps."] if taken else []
        )
    of = _kinds[kind]
    unknown, missing = sorted(set(body) - of.required - of.optional), sorted(of.required - set(body))
    faults = [f"A step {kind!r} has no field {name[:40]!r}." for name in unknown[:3]]
    return faults + ([f"Give {', '.join(missing)}."] if missing else [])
