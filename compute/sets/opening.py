"""Open a job set; its jobs are then submitted in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.queries.calendar import tenant_today
from compute.models import JobSet
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, record
from tenants.errors import Invalid

JOB_SET_LAUNCHED = AuditAction("compute.job_set.launched")


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a job set is to be. `cap`: in the tenant's currency."""

    kind: str
    project_id: UUID
    name: str
    cap: Decimal | None = None
    most_at_once: int | None = None
    varied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """The set that a job belongs to, and its place there."""

    set_id: UUID
    index: int

    @property
    def columns(self) -> dict[str, Any]:
        """Return the columns of the job that say so."""
        return {"set_id": self.set_id, "set_index": self.index}


def open_set(*, actor: Actor, asked: Opening) -> JobSet:
    """Open a set inside the operation of its caller. Raises Invalid, PermissionDenied."""
    actor.require("jobs.launch", InProject(asked.project_id))
    faults: dict[str, list[str]] = {}
    if not asked.name.strip() or len(asked.name) > 120 or not asked.name.isprintable():
        faults["name"] = ["Enter a name of 1 to 120 characters."]
    if asked.cap is not None and not (asked.cap.is_finite() and 0 < asked.cap < 10**12):
        faults["cap"] = ["Use an amount above 0, or leave it empty for no cap."]
    if asked.most_at_once is not None and not 1 <= asked.most_at_once <= 1000:
        faults["most_at_once"] = ["Use 1 to 1000, or leave it empty for no limit of its own."]
    if faults:
        raise Invalid(fields=faults)
    made = JobSet(
        project_id=asked.project_id,
        kind=asked.kind,
        name=asked.name.strip(),
        cap=asked.cap,
        currency=tenant_today().currency,
        most_at_once=asked.most_at_once,
        varied=list(asked.varied),
        launched_by=actor.owner_id,
    )
    made.save(force_insert=True)
    wanted: dict[str, list[Any]] = {
        name: [None, value] for name, value in (("most_at_once", asked.most_at_once),) if value
    }
    if asked.cap is not None:
        wanted["cap"] = [None, str(asked.cap)]
    record(JOB_SET_LAUNCHED, actor=actor, target=("job_set", made.id, made.name), changes=wanted)
    return made
