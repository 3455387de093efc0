"""A device with a fault: its entry in the operator log, and how it returns to work."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from compute.devices.base import Found
from compute.devices.health import Vitals, fault_of
from compute.fleet import fleet, nodes, silence
from compute.models import Device
from tenants.operators.log import queries as log
from tenants.operators.operator import Operator

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
GPUS = [Found(f"GPU-{index}", "cuda", "nvidia-l4", f"L4 {index}", index, 2**30) for index in range(2)]
OPERATOR = Operator(id=uuid.uuid4(), label="root@platform.example", roles=("platform_admin",))
REASON = fault_of(Vitals(xids=(79,)))


def register(*found: Found) -> nodes.Registered:
    return nodes.register(name="atlas", hostname="atlas", boot=uuid.uuid4(), found=list(found), missing_layers=[])


def test_a_fault_is_entered_once_and_again_after_a_return(as_control: Role, as_operator: Role) -> None:
    me = register(*GPUS)
    device = Device.objects.get(uuid="GPU-0")
    for _ in range(2):
        assert nodes.cordon_faulty(me, "GPU-0", REASON)
        for _ in range(2):
            with as_control():
                silence.look()
        with as_operator():
            fleet.uncordon(operator=OPERATOR, device_id=device.id, reason="Reset, and tested")
    with as_operator():
        acts = list(reversed(log.acts_on("device", device.id, 10)))
    assert [(act.action, act.operator_label, act.reason) for act in acts] == 2 * [
        ("compute.device.faulty", "health check", REASON),
        ("compute.device.uncordoned", OPERATOR.label, "Reset, and tested"),
    ]
    assert acts[0].target_label == "atlas: L4 0"


def test_a_return_enters_the_fault_first_that_nobody_looked_at(as_operator: Role) -> None:
    me = register(*GPUS)
    device = Device.objects.get(uuid="GPU-0")
    nodes.cordon_faulty(me, "GPU-0", REASON)
    with as_operator():
        fleet.uncordon(operator=OPERATOR, device_id=device.id, reason="Reset, and tested")
        acts = log.acts_on("device", device.id, 10)
    assert [act.action for act in acts] == ["compute.device.uncordoned", "compute.device.faulty"]


def test_what_an_operator_cordons_is_no_fault(as_control: Role, as_operator: Role) -> None:
    register(*GPUS)
    device = Device.objects.get(uuid="GPU-0")
    with as_operator():
        fleet.cordon(operator=OPERATOR, device_id=device.id, reason="Fan fails")
    with as_control():
        silence.look()
    with as_operator():
        assert [act.action for act in log.acts_on("device", device.id, 10)] == ["compute.device.cordoned"]


def test_a_cordoned_device_that_was_away_comes_back_cordoned() -> None:
    me = register(*GPUS)
    nodes.cordon_faulty(me, "GPU-0", REASON)
    register()
    assert set(Device.objects.values_list("state", flat=True)) == {"gone"}
    for _ in range(2):
        register()
    register(*GPUS)
    rows = Device.objects.order_by("uuid").values_list("state", "state_reason", "cordoned_for")
    assert list(rows) == [("cordoned", REASON, ""), ("ready", "", "")]
