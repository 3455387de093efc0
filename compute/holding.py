"""Take devices, or shares of them, for an attempt or an allocation, and free them. A trigger keeps `Device.held` their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from compute.models import DeviceHold
from compute.policy import WHOLE
from tenants.rows import rows_as

# Devices in one order: two attempts that take them would lock them crosswise otherwise.
_LOCK = "SELECT id FROM compute_device WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
# Only after the lock a statement is certain to see all who have shares of a device; a trigger on members is the last wall.
_TAKE = """
WITH free AS (
    SELECT id, name, device_class, node_id FROM compute_device
    WHERE id = ANY(%(devices)s) AND state = 'ready' AND serves = %(serves)s AND held + %(share)s <= 1000
      AND (held = 0 OR NOT EXISTS (
        SELECT FROM compute_devicehold h LEFT JOIN compute_attempt a ON a.id = h.holder
        WHERE h.device_id = compute_device.id AND a.tenant_id IS DISTINCT FROM %(tenant)s))
    ORDER BY id FOR NO KEY UPDATE
), taken AS (
    INSERT INTO compute_devicehold (id, device_id, holder, share)
    SELECT gen_random_uuid(), id, %(holder)s, %(share)s FROM free RETURNING device_id
)
SELECT free.id, free.name, free.device_class, n.id AS node_id, n.name AS node
FROM taken JOIN free ON free.id = taken.device_id JOIN compute_node n ON n.id = free.node_id
ORDER BY array_position(%(devices)s::uuid[], free.id)
"""


@dataclass(frozen=True)
class Taken:
    """A device that was taken, and its node's name."""

    id: UUID
    name: str
    device_class: str
    node_id: UUID
    node: str


def take(
    devices: Sequence[UUID], holder: UUID, *, tenant_id: UUID, share: int = WHOLE, serves: bool = False
) -> list[Taken]:
    """Take `share` thousandths of each of these ready devices for a tenant's holder, all or none; return them in this order, or nothing.

    Shares of a device are free only for the tenant that has others of it.
    """
    wanted = list(devices)
    with connection.cursor() as cursor:
        if share < WHOLE:
            cursor.execute(_LOCK, [wanted])
        cursor.execute(
            _TAKE, {"devices": wanted, "holder": holder, "tenant": tenant_id, "share": share, "serves": serves}
        )
        taken = rows_as(Taken, cursor)
    if len(taken) < len(wanted):
        free(holder)
        return []
    return taken


def free(holder: UUID) -> None:
    """Free what a holder has; idempotent."""
    DeviceHold.objects.filter(holder=holder).delete()
