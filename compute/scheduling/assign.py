"""Assign devices: read jobs and devices, let the policy decide, write each of its actions in its own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q

from compute import holding, labels, pg_session, policy
from compute.events import JobStarted
from compute.jobs import job_quotas, transitions
from compute.models import (
    TAKES_WORK,
    Allocation,
    Attempt,
    AttemptMember,
    AttemptState,
    Device,
    DeviceHold,
    DeviceState,
    Job,
    JobState,
    Outcome,
    SlotState,
)
from compute.policy import Action, Assign, Preempt, Reclaim, Scope, decide
from compute.queries.capacity import silent_before
from compute.scheduling.history import past_shares
from compute.scheduling.works import rooms_of, works_now
from compute.sets import turns
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.events.events import publish
from tenants.ids import uuid7
from tenants.isolation.scoping import all_tenants
from tenants.quotas import QuotaExceeded

CONTROLLER = "controller"
ATTEMPT_YIELDS = AuditAction("compute.attempt.yields")
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Dispatch:
    """A wake-up to send: this attempt waits at that node."""

    tenant_id: UUID
    attempt_id: UUID
    token: int
    node: str


def assign_all(past: Mapping[Scope, float] | None = None) -> list[Dispatch]:
    """Assign devices to waiting jobs by the policy, and ask to stop what gives way; return the wake-ups to send then.

    `past`: what each scope held of late; read here if not given.
    """
    devices = ready_devices()
    if not devices:
        return []
    with transaction.atomic(), all_tenants("the pool is shared: the policy weighs all who wait"):
        works = works_now({device.device_class for device in devices}, len(devices))
        if all(work.held for work in works):
            return []
        present, rooms = now(), rooms_of(works, past_shares() if past is None else past)
    session = pg_session.session()
    return [dispatch for action in decide(works, devices, rooms, present) for dispatch in _acted(action, session)]


def _acted(action: Action, session: pg_session.Session) -> list[Dispatch]:
    """Write one action of a round; one that fails keeps no other from being written."""
    job = action.work
    actor = Actor.system(job.tenant_id, CONTROLLER)
    try:
        if isinstance(action, Assign):
            return _assign(actor=actor, choice=action)
        _stop(actor=actor, choice=action)
    except QuotaExceeded as full:  # a limit was lowered, or another controller was quicker: the job waits on
        log.info("controller.quota_full", job=str(job.job_id), reason=full.message)
    except IntegrityError as error:  # someone else was quicker: the unique live attempt of a job or a device
        log.warning("controller.assignment_refused", job=str(job.job_id), error=str(error).splitlines()[0])
    except Exception:
        if not pg_session.is_same_session(session):
            raise
        log.exception("controller.assignment_failed", job=str(job.job_id))  # the others must not wait for it
    return []


def ready_devices(*, serves: bool = False) -> list[policy.Device]:
    """Return the ready devices of nodes seen within a lease, free or not: those for jobs, or those that serve."""
    rows = Device.objects.filter(
        TAKES_WORK,
        serves=serves,
        state=DeviceState.READY,
        node__last_seen_at__gt=silent_before(),
    ).order_by("node__name", "index")
    found = rows.values_list("id", "node_id", "device_class", "link", "node__labels")
    return [policy.Device(*row[:4], labels=labels.as_set(row[4])) for row in found]


@operation(transitions.JOB_STARTED)
def _assign(*, actor: Actor, choice: Assign) -> list[Dispatch]:
    """Write one choice: attempt with the next token, devices taken and counted, job running; a wake-up for each node.

    None of that if the job or one of the devices is gone meanwhile. Raises QuotaExceeded, which undoes all of it, if a limit has no
    room any more.
    """
    job = (
        Job.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
        .filter(id=choice.work.job_id, state=JobState.QUEUED, approval_id=None, tenant__standing="active")
        .first()
    )
    attempt_id, chosen = uuid7(), [device.id for device in choice.devices]
    devices: list[holding.Taken] = []
    if job is not None and turns.may_start(job):
        devices = holding.take(chosen, attempt_id, share=job.share, tenant_id=job.tenant_id)
    if job is None or not devices:
        unchanged("the job or a device was taken meanwhile")
        return []
    job_quotas.take_devices(job)
    first = devices[0]
    job.token += 1
    Attempt.objects.create(
        id=attempt_id,
        job_id=job.id,
        token=job.token,
        node_id=first.node_id,
        device_id=first.id,
        device_name=first.name,
        device_class=first.device_class,
        borrowed=choice.borrowed,
        rung_at=DatabaseNow(),
    )
    AttemptMember.objects.bulk_create(
        AttemptMember(
            attempt_id=attempt_id,
            rank=rank,
            node_id=device.node_id,
            device_id=device.id,
            share=job.share,
        )
        for rank, device in enumerate(devices)
    )
    progress = {**job.progress, "phase": "starting"}
    if job.token == 1 and job.first_expected_at is not None:
        job.start_error_s = (now() - job.first_expected_at).total_seconds()
    transitions.move(
        job,
        JobState.RUNNING,
        actor=actor,
        reason=f"attempt {job.token} on {', '.join(device.name for device in devices)}",
        token=job.token,
        progress=progress,
        wait_reason="",
        start_error_s=job.start_error_s,
    )
    if job.token == 1:
        publish(JobStarted(tenant_id=job.tenant_id, job_id=job.id))
    names = dict.fromkeys(device.node for device in devices)
    return [Dispatch(tenant_id=job.tenant_id, attempt_id=attempt_id, token=job.token, node=name) for name in names]


@operation(ATTEMPT_YIELDS)
def _stop(*, actor: Actor, choice: Preempt | Reclaim) -> None:
    """Ask a running attempt to stop with a checkpoint; its node learns of it with the next heartbeat, its job waits on."""
    job = transitions.lock(choice.work.job_id)
    rows = Attempt.objects.filter(job_id=choice.work.job_id, stops_as="").exclude(state=AttemptState.ENDED)
    attempt = rows.select_for_update(no_key=True).first()
    if job is None or job.state != JobState.RUNNING or attempt is None:
        unchanged("it ended, or was asked meanwhile")
        return
    outcome = Outcome.RECLAIMED if isinstance(choice, Reclaim) else Outcome.PREEMPTED
    Attempt.objects.filter(id=attempt.id).update(stops_as=outcome)
    label = f"{job.name}, attempt {attempt.token} on {attempt.device_name}"
    record(ATTEMPT_YIELDS, actor=actor, target=("attempt", attempt.id, label), changes={"stops_as": ["", str(outcome)]})


def unclaimed() -> list[Dispatch]:
    """Return wake-ups for assigned attempts still unclaimed since the last one, and record that they are sent again.

    One on several nodes is due until its program starts: the others may have missed theirs.
    """
    again = DatabaseNow() - timedelta(seconds=min(settings.EXCHEQUER.sweep_s, settings.EXCHEQUER.lease_s))
    with transaction.atomic(), all_tenants("the controller sends wake-ups for every tenant"):
        gathers = Q(state=AttemptState.RUNNING, started_at=None) & ~Q(rendezvous={})
        late = Attempt.objects.filter(Q(state=AttemptState.ASSIGNED) | gathers, rung_at__lt=again)
        rows = late.select_for_update(skip_locked=True, of=("self",), no_key=True).values_list("id", "token")
        tokens = dict(rows)
        members = AttemptMember.objects.filter(attempt_id__in=tokens)
        places = members.values_list("tenant_id", "attempt_id", "node__name").distinct().order_by("attempt_id")
        dispatches = [
            Dispatch(tenant_id=tenant, attempt_id=attempt, token=tokens[attempt], node=node)
            for tenant, attempt, node in places
        ]
        Attempt.objects.filter(id__in=tokens).update(rung_at=DatabaseNow())
    return dispatches


def unresponsive_nodes() -> list[str]:
    """Return the names of live nodes that get no work until they answer, stopping ones included."""
    rows = Device.objects.filter(serves=False, node__accepting=False, node__last_seen_at__gt=silent_before())
    return list(rows.values_list("node__name", flat=True).distinct().order_by("node__name"))


def free_forgotten_devices() -> int:
    """Free devices whose attempt or allocation ended without freeing them; none should exist: the caller logs a count."""
    with transaction.atomic(), all_tenants("devices are shared"):
        runs = Attempt.objects.filter(id=OuterRef("holder")).exclude(state=AttemptState.ENDED)
        serves = Allocation.objects.filter(id=OuterRef("holder"), state=SlotState.LIVE)
        return DeviceHold.objects.exclude(Exists(runs)).exclude(Exists(serves)).delete()[0]
