"""Capacity of the pool: devices, free ones per class, and the expected wait of a job submitted now."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.expressions import CombinedExpression

from billing.rating.quantity import WHOLE, share_said
from compute import limits
from compute.allocations.allocations import QUOTA
from compute.jobs.job_quotas import device_time
from compute.jobs.job_quotas import devices as devices_of
from compute.models import TAKES_WORK, Device, DeviceState, Job, JobState, SharedClass
from compute.queries.rows import INFERENCE, JOBS, ClassRow, DeviceRow
from tenants import quotas
from tenants.clock import DatabaseNow, now

TIME_RELIEF = "Set a shorter time limit, wait for the next month"


def devices() -> list[DeviceRow]:
    """Return the pool's devices, without those no longer present, by node and index."""
    seen = seen_since()
    rows = Device.objects.exclude(state=DeviceState.GONE).select_related("node").order_by("node__name", "kind", "index")
    return [
        DeviceRow(
            id=row.id,
            name=row.name,
            node=row.node.name,
            device_class=row.device_class,
            kind=row.kind,
            memory_bytes=row.memory_bytes,
            state=row.state,
            state_reason=row.state_reason,
            free=row.state == DeviceState.READY
            and not row.held
            and row.node.accepting
            and not row.node.draining
            and limits.RELEASES[0] <= row.node.release <= limits.RELEASES[1]
            and row.node.last_seen_at > seen,
            node_alive=row.node.last_seen_at > seen,
            node_seen_at=row.node.last_seen_at,
            missing_layers=tuple(row.node.missing_layers),
            serves=INFERENCE if row.serves else JOBS,
        )
        for row in rows
    ]


def device_classes() -> list[ClassRow]:
    """Return the classes that jobs may request, with the free devices and the tenant's quota for each, by name."""
    ready = Q(state=DeviceState.READY)
    free = ready & TAKES_WORK & Q(held=0, node__last_seen_at__gt=silent_before())
    opened = SharedClass.objects.filter(device_class=OuterRef("device_class")).values("parts")
    rows = (
        Device.objects.filter(serves=False)
        .exclude(state=DeviceState.GONE)
        .values_list("device_class")
        .annotate(total=Count("id", filter=ready), free=Count("id", filter=free), parts=Subquery(opened))
    )
    uses = {use.resource: use for use in quotas.usage()}
    found = []
    for name, total, number, parts in rows.order_by("device_class"):
        use, shares = uses.get(f"devices:{name}"), tuple(share_said(WHOLE // one) for one in parts or ())
        found.append(ClassRow(name, total, number, use.effective if use else None, use.in_use if use else 0, shares))
    return found


def limited() -> list[quotas.Resource]:
    """Return what quotas can limit: devices and device time of each class ever in the pool, and slots for endpoints.

    Every host has a CPU, so that class can be limited before the first host registers.
    """
    seen = Device.objects.filter(serves=False).values_list("device_class", flat=True).distinct()
    classes = sorted({"cpu", *seen})
    at_once = [quotas.Resource(devices_of(name), f"{class_title(name)} devices", waits=True) for name in classes]
    in_a_month = [
        quotas.Resource(
            device_time(name),
            f"{class_title(name)} device time",
            TIME_RELIEF,
            period=quotas.MONTH,
            unit=3600,
            unit_words="hours",
        )
        for name in classes
    ]
    return [*at_once, *in_a_month, quotas.Resource(QUOTA, "Serving slots", "Undeploy an endpoint")]


def class_title(device_class: str) -> str:
    """Return a device class as pages write it."""
    return "CPU" if device_class == "cpu" else device_class


def expected_wait_s(device_class: str) -> float | None:
    """Return the expected wait of a job submitted now, in seconds.

    0 with a free device, else the rest of this tenant's own running jobs of the class. None if other tenants hold the
    devices, since their end is unknown.
    """
    if any(row.free for row in device_classes() if row.device_class == device_class):
        return 0.0
    rows = Job.objects.filter(state=JobState.RUNNING, device_class=device_class).values_list("typical_s", "measured_s")
    return min((max(0.0, float(typical - measured)) for typical, measured in rows), default=None)


def silent_before() -> CombinedExpression:
    """Return, for a filter, the time before which the last heartbeat of a silent node lies."""
    return DatabaseNow() - _silence()


def seen_since() -> datetime:
    """Return the same time, to compare with rows already read."""
    return now() - _silence()


def _silence() -> timedelta:
    # Two heartbeats at least: with a short lease, one late heartbeat would make its node silent.
    return timedelta(seconds=max(settings.EXCHEQUER.lease_s, 2 * settings.EXCHEQUER.heartbeat_s))
