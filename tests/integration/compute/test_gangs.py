"""A job on several devices: it gets all of them at once or none, and pays for each."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from django.db import IntegrityError, transaction

from billing.models import Hold
from billing.pricing.price_books import price_at
from billing.queries import billed_attempts
from compute import holding
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs.repricing import grace_s
from compute.leases import leases, parts
from compute.leases.messages import Heartbeat
from compute.models import Attempt, AttemptMember, Device, DeviceHold, Outcome
from compute.scheduling import assign
from tenants import quotas
from tenants.clock import now
from tenants.errors import Invalid
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import Control, World, world

__all__ = ["world"]


def test_a_gang_waits_for_all_its_devices_and_has_a_member_on_each(world: World) -> None:
    first = world.running()
    gang = world.submit(devices=2)
    assert world.assign() == [], "one free device is not enough"
    leases.finish(first, Outcome.SUCCEEDED, Heartbeat(elapsed=0.1), complete=lambda _: {})
    (dispatch,) = world.assign()
    with tenant_scope(world.tenant.id):
        members = AttemptMember.objects.filter(attempt_id=dispatch.attempt_id, attempt__job_id=gang).order_by("rank")
        assert [(one.rank, one.share) for one in members] == [(0, 1000), (1, 1000)]
        assert len({one.device_id for one in members}) == 2
        assert {use.resource: use.in_use for use in quotas.usage()}["devices:cpu"] == 2
    assert sorted(Device.objects.values_list("held", flat=True)) == [1000, 1000]
    assert DeviceHold.objects.filter(holder=dispatch.attempt_id).count() == 2


def test_every_second_of_a_gang_is_held_for_and_billed_once_for_each_device(world: World) -> None:
    mine = world.running(devices=2)
    with tenant_scope(world.tenant.id):
        Attempt.objects.filter(id=mine.attempt_id).update(claimed_at=now() - timedelta(seconds=20))
        hold = Hold.objects.get(subject=f"job:{mine.job.id}")
        price = price_at("device_seconds", {"device_class": "cpu", "tier": "on_demand"}).unit_amount
        assert hold.amount == 2 * (100 + grace_s()) * price
    leases.heartbeat(mine, Heartbeat(elapsed=3.0))
    leases.heartbeat(mine, Heartbeat(elapsed=3.0))
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=5.0), complete=lambda _: {})
    with tenant_scope(world.tenant.id):
        attempt = Attempt.objects.select_related("job").get(id=mine.attempt_id)
        billed = billed_attempts([attempt.id])[attempt.id]
        assert attempt.measured_s >= 3 and billed.measured == 2 * attempt.measured_s
        assert 0 < attempt.job.spent == (billed.seconds * price).quantize(Decimal("1e-12"))
        assert Hold.objects.get(id=hold.id).state == "released"
        assert {use.resource: use.in_use for use in quotas.usage()}.get("devices:cpu", 0) == 0
    assert not DeviceHold.objects.exists()


def test_a_job_asks_for_no_more_devices_than_its_program_and_the_widest_host_have(world: World) -> None:
    for devices, words in ((65, "1 to 64"), (5, "up to 4 devices"), (3, "No host has more than 2")):
        with tenant_scope(world.tenant.id), pytest.raises(Invalid) as refused:
            world.submit(devices=devices)
        assert words in refused.value.fields["devices"][0]


def test_shares_of_a_device_never_exceed_it(world: World, superuser: psycopg.Connection) -> None:
    device = Device.objects.order_by("index")[0]
    with world.control():
        assert holding.take([device.id], uuid7(), tenant_id=world.tenant.id, share=600)
        assert not holding.take([device.id], uuid7(), tenant_id=world.tenant.id, share=500)
        DeviceHold.objects.create(device=device, holder=uuid7(), share=400)
        with pytest.raises(IntegrityError, match="compute_device_held_once"), transaction.atomic():
            DeviceHold.objects.create(device=device, holder=uuid7(), share=1)
    assert Device.objects.get(id=device.id).held == 1000


def test_a_gang_over_two_nodes_wakes_both_and_each_gets_its_ranks(world: World, as_control: Control) -> None:
    boot = uuid.uuid4()
    other = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host i", index, 2**30) for index in range(2)]
    nodes.register(name="n2", hostname="i", boot=boot, found=other, missing_layers=[])
    with pytest.raises(Invalid) as refused:
        world.submit(devices=3)
    assert "No host has more than 2" in refused.value.fields["devices"][0]
    with pytest.raises(Invalid) as refused:
        world.submit(devices=5, one_node=False)
    assert "up to 4 devices" in refused.value.fields["devices"][0]
    world.submit(devices=3, one_node=False)
    dispatches = world.assign()
    assert sorted(one.node for one in dispatches) == ["n1", "n2"]
    boots = {"n1": world.boot, "n2": boot}
    lead = dispatches[0].node
    second = next(name for name in boots if name != lead)
    mine = world.claim(dispatches[0], lead, boots[lead])
    assert mine is not None and world.claim(dispatches[1], second, boots[second]) is None, "one leads"
    asked = {"tenant_id": world.tenant.id, "attempt_id": mine.attempt_id, "token": mine.token, "node": second}
    assert parts.join(**asked, boot=uuid.uuid4()) is None, "a worker that was replaced gets nothing"
    part = parts.join(**asked, boot=boots[second])
    assert part is not None
    assert sorted([*mine.slots, *part.ranks]) == [0, 1, 2] and mine.elsewhere == {second: tuple(part.ranks)}
    seen = parts.look(part)
    assert seen is not None and seen.rendezvous == {} and 0 < (seen.left_s or 0) <= 30
    parts.publish(mine, {"host": "h", "port": 1})
    assert (again := parts.look(part)) is not None and again.rendezvous == {"host": "h", "port": 1}
    with tenant_scope(world.tenant.id):
        Attempt.objects.update(rung_at=now() - timedelta(minutes=5))
    with as_control():
        assert sorted(one.node for one in assign.unclaimed()) == ["n1", "n2"], "a missed wake-up comes again"
    leases.heartbeat(mine, Heartbeat(elapsed=0.2))
    with tenant_scope(world.tenant.id):
        Attempt.objects.update(rung_at=now() - timedelta(minutes=5))
    with as_control():
        assert assign.unclaimed() == [], "it runs"
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.5), complete=lambda _: {})
    assert parts.look(part) is None and parts.join(**asked, boot=boots[second]) is None
    with pytest.raises(leases.Fenced):
        parts.publish(mine, {})
    assert not DeviceHold.objects.exists()
