"""What a change of quotas would have done to the jobs of the last month: of an organisation, and of all (console)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from compute.jobs import job_quotas
from compute.models import Device, DeviceState, Job
from compute.policy import Room, Scope
from compute.queries.capacity import class_title, device_classes
from compute.simulation.traces import Recorded
from compute.simulation.what_if import MOST_JOBS, Waits, WhatIf, what_if
from tenants import quotas
from tenants.clock import now
from tenants.errors import Invalid, NotFound
from tenants.models import Project, Tenant
from tenants.projects.sight import named
from tenants.quotas import AT_ONCE, ORGANISATION
from tenants.rows import named_rows

DAYS = 30
US = "organisation"
"""The one tenant of the replay."""
OTHERS = "Other projects"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A change to try on devices of a class: of a project, or of the organisation, which has a limit alone."""

    device_class: str
    project_id: UUID | None = None
    limit: int | None = None
    guaranteed: int = 0
    weight: int = 1


@dataclass(frozen=True)
class ProjectChange:
    """The jobs of one project (console: of one organisation), as they are and as they would have been."""

    project: str
    before: Waits
    after: Waits


@dataclass(frozen=True)
class QuotaSimulation:
    """Two replays of the jobs since `since`: on `devices_before` as the quotas are, on `devices_after` as they would be.

    `left_out`: older jobs beyond the most that a replay takes. `started`: of each, the part of the jobs that had started
    within so many minutes.
    """

    device_class: str
    devices_before: int
    devices_after: int
    jobs: int
    left_out: bool
    rows: Sequence[ProjectChange]
    started: dict[str, Sequence[tuple[float, float]]]

    @property
    def waited(self) -> bool:
        """Whether any job waited in either replay."""
        return any(minutes > 0 for line in self.started.values() for minutes, _ in line)


def simulate_quotas(wanted: Wanted) -> QuotaSimulation:
    """Replay the organisation's ended jobs of the last 30 days, as if it had its devices to itself.

    Raises Invalid for an unknown class or project and for what is no quota, AboveCeiling.
    """
    offered = {row.device_class: row.total for row in device_classes()}
    if wanted.device_class not in offered:
        raise Invalid(fields={"device_class": [f"Choose one of: {', '.join(offered)}."]})
    names: dict[Any, str] = dict(Project.objects.filter(named("id")).values_list("id", "name"))
    if wanted.project_id is not None and wanted.project_id not in names:
        raise Invalid(fields={"project": ["There is no such project."]})
    resource = job_quotas.devices(wanted.device_class)
    share = quotas.Share(wanted.guaranteed, wanted.weight)
    scope = ORGANISATION if wanted.project_id is None else quotas.Scope(project_id=wanted.project_id)
    quotas.check_limit(resource, wanted.limit, scope=scope, share=None if scope == ORGANISATION else share)
    rooms, limit = _rooms(resource)
    changed, new_limit = dict(rooms), limit
    if wanted.project_id is None:
        new_limit = wanted.limit
    else:
        changed[Scope(US, "gpu", project_id=wanted.project_id)] = Room(
            wanted.limit, wanted.guaranteed or None, wanted.weight
        )
    total = offered[wanted.device_class]
    before, after = (total if most is None else min(total, most) for most in (limit, new_limit))
    jobs, more = _past(wanted.device_class)
    found = what_if(jobs, (before, after), (rooms, changed), lambda job: names.get(job.project, OTHERS))
    return _answer(wanted.device_class, (before, after), found, left_out=more)


@dataclass(frozen=True, kw_only=True)
class WantedCeiling:
    """A ceiling to try: what an organisation may have at most, what is guaranteed to it, and its weight."""

    tenant_id: UUID
    device_class: str
    limit: int | None = None
    guaranteed: int = 0
    weight: int = 1


def ready_classes() -> list[str]:
    """Return the classes of which a device is ready for jobs, by name (console)."""
    ready = Device.objects.filter(serves=False, state=DeviceState.READY)
    return sorted(ready.values_list("device_class", flat=True).distinct())


def simulate_ceiling(wanted: WantedCeiling) -> QuotaSimulation:
    """Replay all organisations' ended jobs of the last 30 days on the devices that are ready (console).

    Raises NotFound for an unknown organisation, Invalid for a class without a device.
    """
    names = dict(Tenant.objects.values_list("id", "name"))
    if wanted.tenant_id not in names:
        raise NotFound
    devices = Device.objects.filter(serves=False, state=DeviceState.READY, device_class=wanted.device_class).count()
    if not devices:
        raise Invalid(fields={"device_class": ["No device of this class is ready."]})
    resource = job_quotas.devices(wanted.device_class)
    rooms = {
        Scope(tenant_id, "gpu"): Room(room.limit, room.guaranteed or None, room.weight)
        for (tenant_id, _, scope), room in quotas.rooms(list(names), [resource]).items()
        if scope == ORGANISATION
    }
    changed = Room(wanted.limit, wanted.guaranteed or None, wanted.weight)
    since = now() - timedelta(days=DAYS)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM compute_past_jobs(%s, %s, %s)", [wanted.device_class, since, MOST_JOBS + 1])
        rows = named_rows(cursor)
    jobs = [
        Recorded(
            row.tenant_id,
            (row.submitted_at - since).total_seconds(),
            row.seconds,
            row.devices,
            share=row.share,
            set_id=row.set_id,
            at_once=row.at_once,
        )
        for row in reversed(rows[:MOST_JOBS])
    ]
    both = (rooms, {**rooms, Scope(wanted.tenant_id, "gpu"): changed})
    found = what_if(jobs, (devices, devices), both, lambda job: names.get(job.tenant, str(job.tenant)))
    return _answer(wanted.device_class, (devices, devices), found, left_out=len(rows) > MOST_JOBS)


def _answer(device_class: str, devices: tuple[int, int], found: WhatIf, *, left_out: bool) -> QuotaSimulation:
    return QuotaSimulation(
        class_title(device_class),
        *devices,
        jobs=sum(change.before.jobs for change in found.changes),
        left_out=left_out,
        rows=[ProjectChange(change.group, change.before, change.after) for change in found.changes],
        started=dict(zip(("as it is", "as changed"), found.started, strict=True)),
    )


def _rooms(resource: str) -> tuple[dict[Scope, Room], int | None]:
    """Return the rooms of the projects, and the limit of the organisation."""
    found: dict[Scope, Room] = {}
    limit = None
    for use in quotas.everywhere():
        if use.resource != resource or use.period != AT_ONCE or use.scope.person is not None:
            continue
        if use.scope.project_id is None:
            limit = use.effective
        else:
            scope = Scope(US, "gpu", project_id=use.scope.project_id)
            found[scope] = Room(use.effective, use.guaranteed or None, use.weight)
    return found, limit


def _past(device_class: str) -> tuple[list[Recorded], bool]:
    """Return the newest ended jobs, oldest first, and whether there were more than a replay takes."""
    since = now() - timedelta(days=DAYS)
    rows: list[Any] = list(
        Job.objects.filter(device_class=device_class, submitted_at__gte=since, ended_at__isnull=False, measured_s__gt=0)
        .order_by("-submitted_at")
        .values_list(
            "project_id", "submitted_at", "measured_s", "devices", "share", "set_id", "set__most_at_once", named=True
        )[: MOST_JOBS + 1]
    )
    jobs = [
        Recorded(
            US,
            (row.submitted_at - since).total_seconds(),
            float(row.measured_s),
            row.devices,
            row.project_id,
            row.share,
            row.set_id,
            row.set__most_at_once,
        )
        for row in reversed(rows[:MOST_JOBS])
    ]
    return jobs, len(rows) > MOST_JOBS
