"""The operator's view of the pool: live hosts, missing sandbox layers, and cordoning devices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from compute import limits
from compute.devices.links import pool_title
from compute.fleet import faults
from compute.fleet.faults import CORDONED, UNCORDONED
from compute.labels import as_text
from compute.models import Device, DeviceState, Node
from compute.queries.capacity import class_title, seen_since
from compute.sandbox.sandbox import explained
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, NotFound
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act


@dataclass(frozen=True)
class FleetDevice:
    """One device. `busy`: something holds it now; operators do not see whose work it is.

    `temperature_c`: None where it is not measured, and while its host is silent; `warning`: what to look at though it works.
    `link`: its pool of devices of the host that reach each other fastest, such as `nvlink 0`.
    """

    id: UUID
    name: str
    device_class: str
    kind: str
    memory_bytes: int
    state: str
    state_reason: str
    state_at: datetime
    busy: bool
    temperature_c: int | None
    warning: str
    link: str

    @property
    def pool_title(self) -> str:
        """Its pool by link speed as pages write it; empty for none."""
        return pool_title(self.link)

    @property
    def class_title(self) -> str:
        """The device class as pages write it."""
        return class_title(self.device_class)


@dataclass(frozen=True)
class FleetNode:
    """One host with its devices.

    `state`: alive, draining (takes no new work), leaving (its worker is stopping or unresponsive), silent (no heartbeat) or
    ended (without a login).
    """

    id: UUID
    name: str
    hostname: str
    state: str
    draining: bool
    release: int
    misfit: str
    registered_at: datetime
    last_seen_at: datetime
    missing_layers: tuple[str, ...]
    labels: dict[str, str]
    devices: tuple[FleetDevice, ...]

    @property
    def labels_text(self) -> str:
        """Its labels as people type them."""
        return as_text(self.labels)


def nodes() -> list[FleetNode]:
    """Return every host with its devices, including those no longer present, by name: two queries."""
    seen = seen_since()
    rows = Node.objects.prefetch_related("devices").order_by("name")
    return [
        FleetNode(
            id=row.id,
            name=row.name,
            hostname=row.hostname,
            state=_state(row, seen),
            draining=row.draining,
            release=row.release,
            misfit=_misfit(row.release),
            registered_at=row.registered_at,
            last_seen_at=row.last_seen_at,
            missing_layers=tuple(explained(layer) for layer in row.missing_layers),
            labels=row.labels,
            devices=tuple(
                _device(device, current=row.last_seen_at > seen)
                for device in sorted(row.devices.all(), key=lambda d: (d.kind, d.index))
            ),
        )
        for row in rows
    ]


def cordon(*, operator: Operator, device_id: UUID, reason: str) -> None:
    """Cordon a device; running work ends first. Raises NotFound, `Conflict`, or `Invalid`."""
    _change(operator, device_id, reason, DeviceState.CORDONED)


def uncordon(*, operator: Operator, device_id: UUID, reason: str) -> None:
    """Let a device take work again. Raises NotFound, `Conflict` if it is not cordoned, or `Invalid`."""
    _change(operator, device_id, reason, DeviceState.READY)


def _change(operator: Operator, device_id: UUID, reason: str, to: DeviceState) -> None:
    operator.require("fleet.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        device = (
            Device.objects.select_for_update(of=("self",), no_key=True)
            .select_related("node")
            .filter(id=device_id)
            .first()
        )
        if device is None:
            raise NotFound
        if to == DeviceState.READY:
            faults.enter(device.id)  # a fault that nobody has looked at yet comes before its end
        expected = DeviceState.READY if to == DeviceState.CORDONED else DeviceState.CORDONED
        if device.state != expected:
            raise Conflict(f"{device.name} is {device.state} now. Check it and try again.")
        Device.objects.filter(id=device.id).update(
            state=to, state_reason=reason if to == DeviceState.CORDONED else "", state_at=DatabaseNow()
        )
        action = CORDONED if to == DeviceState.CORDONED else UNCORDONED
        record_act(operator, action, target=("device", device.id, f"{device.node.name}: {device.name}"), reason=reason)


def _misfit(release: int) -> str:
    """Return what to do about a node whose release is too far from ours; empty if it is not."""
    oldest, newest = limits.RELEASES
    if oldest <= release <= newest:
        return ""
    upgrade = "this host" if release < oldest else "the platform"
    return f"Its worker has release {release}, the platform {limits.RELEASE}: it gets no work. Upgrade {upgrade}."


def _state(row: Node, seen: datetime) -> str:
    if row.ended_at is not None:
        return "ended"
    if row.last_seen_at <= seen:
        return "silent"
    return "draining" if row.draining else "alive" if row.accepting else "leaving"


def _device(row: Device, *, current: bool) -> FleetDevice:
    known = current and row.state != DeviceState.GONE
    return FleetDevice(
        id=row.id,
        name=row.name,
        device_class=row.device_class,
        kind=row.kind,
        memory_bytes=row.memory_bytes,
        state=row.state,
        state_reason=row.state_reason,
        state_at=row.state_at,
        busy=row.held > 0,
        temperature_c=row.temperature_c if known else None,
        warning=row.warning if known else "",
        link=row.link,
    )
