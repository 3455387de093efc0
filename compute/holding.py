"""Take devices, or shares of them, for an attempt or an allocation, and free them. A trigger keeps `Device.held` their sum."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from compute.models import DeviceHold
from compute.policy import WHOLE

# Devices in one order: two attempts that take them would lock them crosswise otherwise.
_TAKE = """
INSERT INTO compute_devicehold (id, device_id, holder, share)
SELECT gen_random_uuid(), d.id, %(holder)s, %(share)s FROM (
    SELECT id FROM compute_device
    WHERE id = ANY(%(devices)s) AND state = 'ready' AND serves = %(serves)s AND held + %(share)s <= 1000
    ORDER BY id FOR NO KEY UPDATE
) d
"""


def take(devices: Sequence[UUID], holder: UUID, *, share: int = WHOLE, serves: bool = False) -> bool:
    """Take `share` thousandths of each of these ready devices for a holder, all or none; return whether they were free."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"devices": list(devices), "holder": holder, "share": share, "serves": serves})
        taken = bool(cursor.rowcount == len(devices))
    if not taken:
        free(holder)
    return taken


def free(holder: UUID) -> None:
    """Free what a holder has; idempotent."""
    DeviceHold.objects.filter(holder=holder).delete()
