"""Faults that cordoned a device become entries of the operator log. The node that finds one does not write there."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from compute.models import Device, DeviceState
from tenants.models import OperatorAct
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

CORDONED = "compute.device.cordoned"
UNCORDONED = "compute.device.uncordoned"
FAULTY = "compute.device.faulty"
#: Who acts in these entries: no person.
CHECK = Operator(id=UUID(int=0), label="health check")


def unentered(devices: Sequence[Device]) -> list[Device]:
    """Return those of these cordoned devices of whose cordon the log has no entry: one query."""
    acts = OperatorAct.objects.filter(
        target_type="device",
        target_id__in=[str(device.id) for device in devices],
        action__in=(CORDONED, UNCORDONED, FAULTY),
    )
    newest = dict(acts.order_by("target_id", "-seq").distinct("target_id").values_list("target_id", "action"))
    return [device for device in devices if newest.get(str(device.id), UNCORDONED) == UNCORDONED]


def enter(device_id: UUID) -> bool:
    """Enter why a device is cordoned, once (control or operator role); return whether an entry was made.

    The device stays locked meanwhile, as when an operator cordons or returns it.
    """
    with transaction.atomic():
        locked = Device.objects.select_for_update(of=("self",), no_key=True).select_related("node")
        device = locked.filter(id=device_id, state=DeviceState.CORDONED).first()
        if device is None or not unentered([device]):
            return False
        target = ("device", device.id, f"{device.node.name}: {device.name}")
        record_act(CHECK, FAULTY, target=target, reason=device.state_reason)
        return True
