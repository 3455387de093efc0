"""Attempts on shares of one device: what they hold, may use and pay. Their rows are set, whatever the class is open for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal

import psycopg
import pytest
from django.db import connection

from billing.ledger.reconcile import ledger_faults, reconcile_faults
from compute.idle import watch
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat, Sample
from compute.models import Attempt, Device, Job, Outcome
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import World

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(as_control: Control) -> World:
    found = World(as_control)
    with as_control():
        Device.objects.filter(index=1).update(state="cordoned")
    return found


def halves(world: World, superuser: psycopg.Connection, number: int) -> list[uuid.UUID]:
    """Queue so many jobs that need half a device each."""
    made = [world.submit() for _ in range(number)]
    superuser.execute("UPDATE compute_job SET share = 500 WHERE state = 'queued'")
    return made


def claims_of(world: World) -> list[Claim | None]:
    return [world.claim(one) for one in world.assign()]


def test_one_round_starts_as_many_halves_as_two_devices_have(world: World, superuser: psycopg.Connection) -> None:
    with world.control():
        Device.objects.update(state="ready")
    halves(world, superuser, 5)
    assert len(world.assign()) == 4
    assert [device.held for device in Device.objects.all()] == [1000, 1000]


def test_two_halves_run_at_once_on_one_device_and_never_three(world: World, superuser: psycopg.Connection) -> None:
    halves(world, superuser, 3)
    first, second = claims_of(world)
    assert first is not None and second is not None
    assert first.slot.uuid == second.slot.uuid
    assert {(one.slot.share, one.slot.memory_bytes) for one in (first, second)} == {(500, 2**29)}
    assert world.assign() == []
    assert [device.held for device in Device.objects.filter(index=0)] == [1000]


def test_a_share_is_idle_by_its_own_part_of_the_device(world: World, superuser: psycopg.Connection) -> None:
    mine = world.submit()
    superuser.execute("UPDATE compute_job SET share = 250 WHERE id = %s", [mine])
    (claim,) = claims_of(world)
    assert claim is not None
    # An eighth of the quarter: a whole device that is so little used would be idle.
    given = [Sample(seconds=60.0, busy=0.03, memory_bytes=2**20) for _ in range(30)]
    leases.heartbeat(claim, Heartbeat(elapsed=1.0, samples=given))
    superuser.execute("UPDATE compute_attempt SET started_at = started_at - interval '1 hour'")
    with world.control():
        assert watch.watch() == 0
        superuser.execute("UPDATE compute_job SET share = 1000 WHERE id = %s", [mine])
        assert watch.watch() == 1


def test_a_half_pays_half_and_one_that_dies_costs_the_other_nothing(
    world: World, superuser: psycopg.Connection
) -> None:
    halves(world, superuser, 2)
    claims = claims_of(world)
    dead, living = (one for one in claims if isinstance(one, Claim))
    began = time.monotonic()
    for mine in (dead, living):
        leases.heartbeat(mine, Heartbeat(elapsed=time.monotonic() - began, began=began))
    leases.finish(dead, Outcome.KILLED, Heartbeat(elapsed=time.monotonic() - began, began=began), message="killed")
    at_death = world.rows()
    leases.heartbeat(living, Heartbeat(elapsed=time.monotonic() - began, began=began))
    assert world.rows() != at_death
    with tenant_scope(world.tenant.id), connection.cursor() as cursor:
        seconds = dict(Attempt.objects.values_list("id", "measured_s"))
        states = dict(Attempt.objects.values_list("id", "state"))
        assert states == {dead.attempt_id: "ended", living.attempt_id: "running"}
        assert [*reconcile_faults(), *ledger_faults()] == []
        cursor.execute(
            "SELECT s.attempt_id, s.dims ->> 'share', sum(e.measured), sum(e.amount) FROM billing_usageevent e "
            "JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash GROUP BY 1, 2"
        )
        billed = {attempt: (share, measured, amount) for attempt, share, measured, amount in cursor.fetchall()}
        price = Job.objects.values_list("unit_amount", flat=True)[0]
    for attempt, lasted in seconds.items():
        share, measured, amount = billed[attempt]
        assert (share, measured) == ("1/2", lasted / 2)
        assert abs(amount - measured * price) < Decimal("0.000000000002") and amount > 0
