"""Shares of one device go to one tenant, never exceed it, and count exactly in quotas: also when controllers race."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from compute import holding, policy, queries
from compute.models import Attempt, AttemptMember, Device, DeviceHold, Job
from compute.policy import Assign, Work
from compute.scheduling import assign, waits
from tenants import quotas
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import World
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(as_control: Control) -> World:
    found = World(as_control)
    with as_control():
        Device.objects.filter(index=1).update(state="cordoned")
    return found


def share(superuser: psycopg.Connection, job_id: UUID, thousandths: int) -> UUID:
    superuser.execute("UPDATE compute_job SET share = %s WHERE id = %s", [thousandths, job_id])
    return job_id


def another_tenant(world: World) -> None:
    """Let the world's next jobs be those of another tenant."""
    world.tenant = factories.make_tenant()
    world.actor, world.project = factories.actor_for(world.tenant), factories.default_project_id(world.tenant)


def test_two_tenants_do_not_share_a_device(world: World, superuser: psycopg.Connection) -> None:
    share(superuser, world.submit(), 250)
    assert len(world.assign()) == 1
    another_tenant(world)
    share(superuser, world.submit(), 250)
    assert world.assign() == []
    assert [device.held for device in Device.objects.filter(index=0)] == [250]


def test_a_share_is_taken_only_beside_those_of_its_tenant(world: World, superuser: psycopg.Connection) -> None:
    share(superuser, world.submit(), 500)
    world.assign()
    device = Device.objects.get(index=0)
    with world.control():
        assert not holding.take([device.id], uuid7(), tenant_id=factories.make_tenant().id, share=250)
        assert holding.take([device.id], uuid7(), tenant_id=world.tenant.id, share=250)


def test_the_database_lets_no_attempt_begin_beside_another_tenants(world: World, superuser: psycopg.Connection) -> None:
    share(superuser, world.submit(), 500)
    world.assign()
    another_tenant(world)
    job_id, device = share(superuser, world.submit(), 500), Device.objects.get(index=0)
    on: dict[str, Any] = {"node_id": device.node_id, "device_id": device.id}
    with world.control(), tenant_scope(world.tenant.id):
        mine = Attempt.objects.create(job_id=job_id, token=1, device_class="cpu", device_name="x", **on)
        DeviceHold.objects.create(device=device, holder=mine.id, share=500)
        with pytest.raises(IntegrityError, match="shares of another tenant"), transaction.atomic():
            AttemptMember.objects.create(attempt=mine, rank=0, share=500, **on)


def race(choices: list[Assign]) -> list[list[assign.Dispatch]]:
    """Have controllers of their own, each in its own session, write these choices at the same moment."""
    got: list[list[assign.Dispatch]] = []
    ready = threading.Barrier(len(choices))

    def controller(choice: Assign) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_control")
        ready.wait(10)
        try:
            got.append(assign._assign(actor=Actor.system(choice.work.tenant_id, "controller"), choice=choice))
        finally:
            connection.close()

    threads = [threading.Thread(target=controller, args=[choice]) for choice in choices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def choice(tenant_id: UUID, job_id: UUID, thousandths: int) -> Assign:
    device = Device.objects.get(index=0)
    work = Work(job_id=job_id, tenant_id=tenant_id, device_class="cpu", queued_at=now(), share=thousandths)
    return Assign(work, (policy.Device(device.id, device.node_id, "cpu"),), borrowed=False)


def test_two_controllers_race_for_the_last_quarter_and_one_gets_it(world: World, superuser: psycopg.Connection) -> None:
    for _ in range(3):
        share(superuser, world.submit(), 250)
    assert len(world.assign()) == 3
    last = [share(superuser, world.submit(), 250) for _ in range(2)]
    got = race([choice(world.tenant.id, job_id, 250) for job_id in last])
    assert sorted(map(len, got)) == [0, 1]
    with tenant_scope(world.tenant.id):
        assert sorted(Job.objects.filter(id__in=last).values_list("state", flat=True)) == ["queued", "running"]
    assert Device.objects.get(index=0).held == 1000


def test_of_two_tenants_that_race_for_halves_of_a_device_one_gets_a_share(
    world: World, superuser: psycopg.Connection
) -> None:
    mine = choice(world.tenant.id, share(superuser, world.submit(), 500), 500)
    another_tenant(world)
    got = race([mine, choice(world.tenant.id, share(superuser, world.submit(), 500), 500)])
    assert sorted(map(len, got)) == [0, 1]
    assert Device.objects.get(index=0).held == 500


def test_quotas_at_once_count_shares_exactly(world: World, superuser: psycopg.Connection) -> None:
    with world.control():
        Device.objects.update(state="ready")
    quotas.set_limit(actor=world.actor, resource="devices:cpu", limit=1)
    for thousandths in (500, 250, 125):
        share(superuser, world.submit(), thousandths)
    assert len(world.assign()) == 3
    waiting = share(superuser, world.submit(), 250)
    assert world.assign() == []
    with world.control():
        waits.explain_all({})
    with tenant_scope(world.tenant.id):
        assert {use.resource: use.in_use for use in quotas.usage()}["devices:cpu"] == pytest.approx(0.875, abs=0)
        why = queries.job_detail(waiting).waiting_for or {}
    assert (why["kind"], why["limit"], why["in_use"]) == ("quota", 1, 0.875)
    assert why["reason"].startswith(
        "Quota: 0.875 of 1 CPU devices in use in the organisation. It starts when 0.25 of them are left"
    )
    share(superuser, waiting, 125)
    assert len(world.assign()) == 1
