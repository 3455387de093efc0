"""Assign devices: read waiting jobs and free devices, let the policy choose, write each choice in its own transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef

from compute import pg_session
from compute.events import JobStarted
from compute.jobs import job_quotas, transitions
from compute.models import Allocation, Attempt, AttemptState, Device, DeviceState, Job, JobState, SlotState
from compute.queries.capacity import silent_before
from compute.scheduling import policy
from tenants import quotas
from tenants.access.actor import Actor
from tenants.audit import operation, unchanged
from tenants.clock import DatabaseNow, now
from tenants.events.events import publish
from tenants.ids import uuid7
from tenants.isolation.scoping import all_tenants
from tenants.quotas import QuotaExceeded
from tenants.rows import rows_as

CONTROLLER = "controller"
log = structlog.get_logger(__name__)

_WAITING = """
SELECT id AS job_id, tenant_id, device_class, queued_at, not_before, project_id, person FROM (
    SELECT j.*, row_number() OVER (PARTITION BY tenant_id, device_class, project_id, person ORDER BY queued_at, id) AS place
    FROM compute_job j
    WHERE state = 'queued' AND approval_id IS NULL AND device_class = ANY(%s) AND (not_before IS NULL OR not_before <= (SELECT exchequer_now()))
      AND EXISTS (SELECT FROM tenants_tenant t WHERE t.id = j.tenant_id AND t.standing = 'active')
      AND NOT EXISTS (SELECT FROM compute_attempt a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.state <> 'ended')
) oldest WHERE place <= %s
"""


@dataclass(frozen=True)
class Dispatch:
    """A wake-up to send: this attempt waits at that node."""

    tenant_id: UUID
    attempt_id: UUID
    token: int
    node: str


def assign_all() -> list[Dispatch]:
    """Assign free devices to waiting jobs by the policy; return the wake-ups to send after the commit."""
    free = free_devices()
    if not free:
        return []
    with transaction.atomic(), all_tenants("the pool is shared: the policy weighs all who wait"):
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, [list({device.device_class for device in free}), len(free)])
            waiting = rows_as(policy.Waiting, cursor)
        if not waiting:
            return []
        live = Attempt.objects.exclude(state=AttemptState.ENDED).values_list("tenant_id", flat=True)
        in_use, present, rooms = Counter(live), now(), _rooms(waiting)
    dispatches, session = [], pg_session.session()
    for choice in policy.assign(waiting, free, in_use, present, rooms):
        try:
            dispatch = _assign(actor=Actor.system(choice.job.tenant_id, CONTROLLER), choice=choice)
        except QuotaExceeded as full:  # a limit was lowered, or another controller was quicker: the job waits on
            log.info("controller.quota_full", job=str(choice.job.job_id), reason=full.message)
            continue
        except IntegrityError as error:  # someone else was quicker: the unique live attempt of a job or a device
            log.warning("controller.assignment_refused", job=str(choice.job.job_id), error=str(error).splitlines()[0])
            continue
        except Exception:
            if not pg_session.is_same_session(session):
                raise
            log.exception("controller.assignment_failed", job=str(choice.job.job_id))  # the others must not wait for it
            continue
        if dispatch is not None:
            dispatches.append(dispatch)
    return dispatches


def _rooms(waiting: list[policy.Waiting]) -> dict[policy.Scope, policy.Room]:
    """Return the limits on devices of those who wait, with what is in use of each."""
    classes = {job_quotas.devices(job.device_class): job.device_class for job in waiting}
    found = quotas.rooms({job.tenant_id for job in waiting}, classes)
    return {
        policy.Scope(tenant_id, classes[resource], scope.project_id, scope.person): policy.Room(
            room.in_use, room.limit, room.guaranteed, room.weight
        )
        for (tenant_id, resource, scope), room in found.items()
    }


def free_devices(*, serves: bool = False) -> list[policy.Free]:
    """Return the ready, free devices of nodes seen within a lease: those for jobs, or those that serve."""
    rows = Device.objects.filter(
        serves=serves,
        state=DeviceState.READY,
        taken_by=None,
        node__accepting=True,
        node__last_seen_at__gt=silent_before(),
    ).order_by("node__name", "index")
    return [policy.Free(*row) for row in rows.values_list("id", "node_id", "device_class")]


@operation(transitions.JOB_STARTED)
def _assign(*, actor: Actor, choice: policy.Assignment) -> Dispatch | None:
    """Write one choice: attempt with the next token, device taken and counted, job running.

    None if either is gone meanwhile. Raises QuotaExceeded, which undoes all of it, if a limit has no room any more.
    """
    job = (
        Job.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
        .filter(id=choice.job.job_id, state=JobState.QUEUED, approval_id=None, tenant__standing="active")
        .first()
    )
    attempt_id = uuid7()
    taken = job is not None and Device.objects.filter(
        id=choice.device.device_id, state=DeviceState.READY, taken_by=None
    ).update(taken_by=attempt_id)
    if job is None or not taken:
        unchanged("the job or the device was taken meanwhile")
        return None
    job_quotas.take_device(job)
    device = Device.objects.select_related("node").get(id=choice.device.device_id)
    job.token += 1
    Attempt.objects.create(
        id=attempt_id,
        job_id=job.id,
        token=job.token,
        node_id=device.node_id,
        device_id=device.id,
        device_name=device.name,
        device_class=device.device_class,
        rung_at=DatabaseNow(),
    )
    progress = {**job.progress, "phase": "starting"}
    transitions.move(
        job,
        JobState.RUNNING,
        actor=actor,
        reason=f"attempt {job.token} on {device.name}",
        token=job.token,
        progress=progress,
    )
    if job.token == 1:
        publish(JobStarted(tenant_id=job.tenant_id, job_id=job.id))
    return Dispatch(tenant_id=job.tenant_id, attempt_id=attempt_id, token=job.token, node=device.node.name)


def unclaimed() -> list[Dispatch]:
    """Return wake-ups for assigned attempts still unclaimed since the last one, and record that they are sent again."""
    again = DatabaseNow() - timedelta(seconds=min(settings.EXCHEQUER.sweep_s, settings.EXCHEQUER.lease_s))
    with transaction.atomic(), all_tenants("the controller sends wake-ups for every tenant"):
        rows = (
            Attempt.objects.filter(state=AttemptState.ASSIGNED, rung_at__lt=again)
            .select_related("node")
            .select_for_update(skip_locked=True, of=("self",), no_key=True)
        )
        dispatches = [
            Dispatch(tenant_id=row.tenant_id, attempt_id=row.id, token=row.token, node=row.node.name) for row in rows
        ]
        Attempt.objects.filter(id__in=[dispatch.attempt_id for dispatch in dispatches]).update(rung_at=DatabaseNow())
    return dispatches


def unresponsive_nodes() -> list[str]:
    """Return the names of live nodes that get no work until they answer, stopping ones included."""
    rows = Device.objects.filter(serves=False, node__accepting=False, node__last_seen_at__gt=silent_before())
    return list(rows.values_list("node__name", flat=True).distinct().order_by("node__name"))


def free_forgotten_devices() -> int:
    """Free devices whose attempt or allocation ended without freeing them; none should exist: the caller logs a count."""
    with transaction.atomic(), all_tenants("devices are shared"):
        runs = Attempt.objects.filter(id=OuterRef("taken_by")).exclude(state=AttemptState.ENDED)
        serves = Allocation.objects.filter(id=OuterRef("taken_by"), state=SlotState.LIVE)
        forgotten = Device.objects.filter(taken_by__isnull=False).exclude(Exists(runs)).exclude(Exists(serves))
        return forgotten.update(taken_by=None)
