"""Capacity is what was in the pool at the time, through a month of nodes that come and go."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from django.db.models import QuerySet

from billing.cluster import costs
from billing.cluster.split import RULES
from billing.money import Money
from billing.rating.calendar import period_of
from compute.cluster.bill import cluster_bill
from compute.devices.base import Found
from compute.fleet import nodes, presence
from compute.leases import leases
from compute.leases.messages import Heartbeat, Sample
from compute.models import Attempt, Device, DevicePresence, Node
from compute.queries import device_hours
from compute.scheduling import reaper
from tenants.clock import DatabaseNow, now
from tenants.isolation.scoping import tenant_scope
from tests.conftest import DemoClock
from tests.integration.compute.test_leases import World
from tests.support import selling

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]


@dataclass(eq=False)
class Host:
    """The plain model of a host: since when its devices were there, by uuid, and their seconds that are over."""

    name: str
    there: dict[str, datetime] = field(default_factory=dict)
    seconds: float = 0.0

    def registers(self, number: int) -> None:
        """Show this many devices, of a worker that starts after a silence."""
        self.leaves()
        found = [Found(f"{self.name}-{n}", "cpu", "cpu", f"CPU {n} of {self.name}", n, 2**30) for n in range(number)]
        nodes.register(name=self.name, hostname=self.name, boot=uuid.uuid4(), found=found, missing_layers=[])
        self.returns()

    def beats(self) -> None:
        """Send a heartbeat."""
        Node.objects.filter(name=self.name).update(last_seen_at=DatabaseNow())
        self.returns()

    def leaves(self) -> None:
        """End the time of its devices at its last heartbeat."""
        for began in self.there.values():
            self.seconds += max(0.0, (self.seen() - began).total_seconds())
        self.there = {}

    def returns(self) -> None:
        """Begin the time of those that take work."""
        for one in self.devices().filter(state="ready"):
            self.there.setdefault(one.uuid, self.seen())

    def cordons(self, state: str) -> None:
        """Cordon its first device, or return it, between two sweeps."""
        if not self.there or self.devices().get(index=0).state == state:
            return
        self.devices().filter(index=0).update(state=state, state_at=DatabaseNow())
        at = self.devices().get(index=0).state_at
        if state == "ready":
            self.there.setdefault(f"{self.name}-0", at)
        elif began := self.there.pop(f"{self.name}-0", None):
            self.seconds += (at - began).total_seconds()

    def devices(self) -> QuerySet[Device]:
        """Return the devices that it shows."""
        return Device.objects.filter(node__name=self.name).exclude(state="gone")

    def seen(self) -> datetime:
        """Return its last heartbeat."""
        return Node.objects.get(name=self.name).last_seen_at


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_month_of_nodes_that_come_and_go_adds_up(
    world: World, as_control: Control, console: Control, demo_clock: DemoClock, seed: int
) -> None:
    choose, began = Random(seed), now()
    hosts, works = [Host("a"), Host("b"), Host("c")], Host("n1")
    works.returns()
    mine = world.running()
    for host in hosts:
        host.registers(2)
    demo_clock.advance(timedelta(seconds=20))
    leases.heartbeat(mine, Heartbeat(elapsed=10.0, samples=[Sample(10.0, 0.75, 1000)]))
    works.beats()
    for _ in range(40):
        demo_clock.advance(timedelta(seconds=choose.randrange(3600, 32 * 3600)))
        acts = {host: choose.choice(["beats", "beats", "leaves", "registers", "cordoned", "ready"]) for host in hosts}
        for host in sorted(
            hosts, key=lambda one: acts[one] == "registers"
        ):  # its observation must find the others alive
            if acts[host] == "registers":
                host.registers(choose.randrange(1, 4))
            elif acts[host] == "leaves":
                host.leaves()
            else:
                host.beats()
        with as_control():
            presence.observe()
        for host in hosts:
            if acts[host] in ("cordoned", "ready"):
                host.cordons(acts[host])
        with as_control():
            reaper.reap()
            presence.observe()
            assert presence.observe() == 0, "nothing changed since"
    works.leaves()
    demo_clock.advance(timedelta(hours=2))
    for host in hosts:
        host.leaves()
    with as_control():
        presence.observe()
    with tenant_scope(world.tenant.id):
        run = Attempt.objects.get(id=mine.attempt_id)
        own = device_hours.utilisation(began, now(), ["hour"])
    assert run.ended_at is not None and run.started_at is not None and run.measured_until is not None
    held_by_silent = (run.ended_at - works.seen()).total_seconds()
    there = sum(host.seconds for host in (*hosts, works)) + held_by_silent
    with console():
        (row,) = device_hours.across_tenants(began, now(), ["device_class"])
        hours = device_hours.across_tenants(began, now(), ["hour"])
    assert row.capacity_s == pytest.approx(there, abs=1e-5)
    assert sum(one.capacity_s for one in hours) == pytest.approx(there, abs=1e-5)
    assert row.allocated_s == pytest.approx((run.measured_until - run.started_at).total_seconds(), abs=1e-5)
    assert row.held_s == pytest.approx((run.ended_at - run.assigned_at).total_seconds() - row.allocated_s, abs=1e-5)
    assert row.used_s == pytest.approx(7.5)
    assert all(one.free_s >= -1e-5 for one in hours)
    mean = {one.group["hour"]: one.capacity_s for one in hours}
    assert all(one.capacity_s <= mean[one.group["hour"]] + 1e-5 for one in own), "a tenant has no more than the pool"
    with selling.role("exchequer_operator"):
        cost = costs.NewDeviceCost(
            device_class="cpu", per_hour=Decimal("0.333333"), currency="EUR", starts_on=began.date() - timedelta(days=1)
        )
        costs.enter(operator=selling.SELLER, new=cost, reason="as bought")
    months = sorted(
        {period_of((began + timedelta(days=day)).date()) for day in range((now() - began).days + 1)}
        | {period_of(now().date())}
    )
    for rule in RULES:
        with console():
            bills = [cluster_bill(month, rule) for month in months]
        assert all(bill.difference == Money.zero("EUR") for bill in bills)
        assert all(sum(bill.columns.values(), Money.zero("EUR")) == bill.total for bill in bills)
        assert sum(bill.seconds.capacity for bill in bills) / 10**6 == pytest.approx(there, abs=1e-3)
        had = [one for bill in bills for one in bill.rows if one.slug]
        assert {one.slug for one in had} == {world.tenant.slug}
        assert sum(one.seconds["used"] for one in had) == pytest.approx(7.5)
        assert sum(one.seconds["allocated"] for one in had) == pytest.approx(row.allocated_s, abs=1e-3)
        borne = sum((one.row.free for one in had), Money.zero("EUR"))
        assert bool(borne) == (rule in ("proportional", "even")), (
            "nothing is guaranteed here, and the platform bears the rest"
        )


def test_a_cordoned_device_is_no_capacity(world: World, as_control: Control, demo_clock: DemoClock) -> None:
    before = DevicePresence.objects.get(device__index=0)
    assert before.schedulable
    demo_clock.advance(timedelta(seconds=10))
    Device.objects.filter(index=0).update(state="cordoned", state_at=DatabaseNow())
    with as_control():
        presence.observe()
    closed, cordoned = DevicePresence.objects.filter(device__index=0).order_by("from_at")
    assert closed.until_at == cordoned.from_at == Device.objects.get(index=0).state_at
    assert not cordoned.schedulable and cordoned.until_at is None
    assert DevicePresence.objects.get(device__index=1).until_at is None


def test_an_attempt_that_never_started_is_held_and_allocates_nothing(
    world: World, as_control: Control, console: Control, demo_clock: DemoClock
) -> None:
    began = now()
    world.submit(devices=2)
    world.assign()
    demo_clock.advance(timedelta(minutes=90))  # over the end of an hour
    with as_control():
        assert reaper.reap() == 1
    with tenant_scope(world.tenant.id):
        run = Attempt.objects.get()
        (own,) = device_hours.utilisation(began, now(), ["device_class"])
    assert run.started_at is None and run.ended_at is not None
    taken = 2 * (run.ended_at - run.assigned_at).total_seconds()
    with console():
        (row,) = device_hours.across_tenants(began, now(), ["device_class"])
    for one in (own, row):
        assert (one.allocated_s, one.used_s) == (0, 0)
        assert one.held_s == pytest.approx(taken, abs=1e-5)
    with selling.role("exchequer_operator"):
        cost = costs.NewDeviceCost(
            device_class="cpu", per_hour=Decimal("0.36"), currency="EUR", starts_on=began.date() - timedelta(days=1)
        )
        costs.enter(operator=selling.SELLER, new=cost, reason="as bought")
    months = sorted({period_of(began.date()), period_of(now().date())})
    with console():
        bills = [cluster_bill(month, "even") for month in months]
    assert all(bill.difference == Money.zero("EUR") for bill in bills)
    assert all(bill.columns["used"] == bill.columns["idle"] == Money.zero("EUR") for bill in bills)
