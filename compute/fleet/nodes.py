"""A node's row: its devices, its heartbeat, and its missing sandbox layers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When

from compute import limits
from compute.devices.base import Found
from compute.fleet import presence
from compute.models import Device, DeviceState, Node
from tenants.clock import DatabaseNow


@dataclass(frozen=True)
class Registered:
    """The registered worker of a node."""

    node_id: UUID
    name: str
    boot: UUID


def register(
    *, name: str, hostname: str, boot: UUID, found: list[Found], missing_layers: list[str], serves: bool = False
) -> Registered:
    """Write the node and its devices: new ones are ready, vanished ones `gone`, a cordoned one stays cordoned.

    That holds for one that was gone meanwhile: a restart without it does not return it to work.

    With `serves` they are slots for long allocations (`allocations`), never for jobs.
    """
    with transaction.atomic():
        presence.observe()  # before this heartbeat covers a silence
        of_node = {
            "hostname": hostname,
            "boot": boot,
            "accepting": True,
            "release": limits.RELEASE,
            "missing_layers": missing_layers,
            "last_seen_at": DatabaseNow(),
        }
        # Not update_or_create: its lock is the stronger FOR UPDATE, and an assignment references both rows.
        node, _ = Node.objects.select_for_update(no_key=True).get_or_create(name=name, defaults=of_node)
        Node.objects.filter(id=node.id).update(**of_node)
        for device in found:
            of_device = {
                "kind": device.kind,
                "device_class": device.device_class,
                "name": device.name,
                "index": device.index,
                "memory_bytes": device.memory_bytes,
                "link": device.link,
                "serves": serves,
            }
            known = Device.objects.select_for_update(no_key=True)
            row, _ = known.get_or_create(node=node, uuid=device.uuid, defaults=of_device)
            Device.objects.filter(id=row.id).update(**of_device)
        shown = [device.uuid for device in found]
        devices = Device.objects.filter(node=node)
        devices.filter(uuid__in=shown, state=DeviceState.GONE).update(
            state=Case(When(cordoned_for="", then=Value(DeviceState.READY)), default=Value(DeviceState.CORDONED)),
            state_reason=F("cordoned_for"),
            cordoned_for="",
            state_at=DatabaseNow(),
        )
        vanished = devices.exclude(uuid__in=shown).exclude(state=DeviceState.GONE)
        vanished.update(
            state=DeviceState.GONE,
            state_reason="The host no longer shows it.",
            cordoned_for=Case(When(state=DeviceState.CORDONED, then=F("state_reason")), default=Value("")),
            state_at=DatabaseNow(),
        )
        presence.observe()
    return Registered(node.id, name, boot)


def alive(me: Registered) -> bool:
    """Record that this worker is alive; False if another worker took over the node's name."""
    return bool(Node.objects.filter(id=me.node_id, boot=me.boot).update(last_seen_at=DatabaseNow()))


def cordon_faulty(me: Registered, uuid: str, reason: str) -> bool:
    """Cordon a device of this worker's node for a fault; False if it took no work already."""
    device = Device.objects.filter(node_id=me.node_id, node__boot=me.boot, uuid=uuid, state=DeviceState.READY)
    return bool(device.update(state=DeviceState.CORDONED, state_reason=reason[:400], state_at=DatabaseNow()))


def note_health(me: Registered, uuid: str, *, temperature_c: int | None, warning: str) -> None:
    """Keep what the driver says of a device of this worker's node, in degrees Celsius and in a sentence for operators."""
    device = Device.objects.filter(node_id=me.node_id, node__boot=me.boot, uuid=uuid)
    device.update(temperature_c=temperature_c, warning=warning[:200])


def accepting(me: Registered) -> bool:
    """Return whether this worker is given attempts: not after it left some unclaimed, until it answers."""
    return Node.objects.filter(id=me.node_id, boot=me.boot, accepting=True).exists()


def answer(me: Registered) -> None:
    """Take attempts again: a call has reached this worker."""
    Node.objects.filter(id=me.node_id, boot=me.boot, accepting=False).update(accepting=True)


def leave(me: Registered) -> None:
    """Take no more attempts: this worker is stopping."""
    Node.objects.filter(id=me.node_id, boot=me.boot).update(accepting=False)


def boots_seen(within: timedelta) -> QuerySet[Node, UUID]:
    """Return the boots of workers seen within this time; what any other boot left is orphaned."""
    return Node.objects.filter(last_seen_at__gt=DatabaseNow() - within).values_list("boot", flat=True)
