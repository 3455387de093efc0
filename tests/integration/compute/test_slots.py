"""Long allocations against the real database: who gets a slot, who keeps it, and what is recovered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, transaction

from compute import queries
from compute.allocations import allocations
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs
from compute.models import Allocation, Device, DeviceHold
from compute.scheduling import assign, slots
from tenants import quotas
from tenants.audit import AuditAction, operation, record
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OutboxMessage, Tenant
from tests.fakes.runner import kind
from tests.support import factories
from tests.support.concurrency import as_controllers

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]
OWNED = AuditAction("tests.owner.changed")


@operation(OWNED)
def ask(*, actor, subject, project_id):  # type: ignore[no-untyped-def]
    record(OWNED, actor=actor)
    return allocations.request(actor=actor, subject=subject, project_id=project_id)


@operation(OWNED)
def let_go(*, actor, subject):  # type: ignore[no-untyped-def]
    record(OWNED, actor=actor)
    return allocations.release(actor=actor, subject=subject, reason="done")


class Place:
    """Tenants, serving nodes, and short helpers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.tenant = factories.make_tenant()

    def node(self, name: str, number: int) -> nodes.Registered:
        """Register a serving node with so many slots, as its process does at start."""
        found = [Found(f"slot-{i}", "cpu", "serving", f"Serving slot {i} of {name}", i, 0) for i in range(number)]
        return nodes.register(name=name, hostname="h", boot=uuid.uuid4(), found=found, missing_layers=[], serves=True)

    def ask(self, subject: str = "", tenant: Tenant | None = None) -> uuid.UUID:
        """Request a slot."""
        tenant = tenant or self.tenant
        return ask(  # type: ignore[no-any-return]
            actor=factories.actor_for(tenant),
            subject=subject or f"endpoint:{uuid.uuid4()}",
            project_id=factories.default_project_id(tenant),
        )

    def let_go(self, subject: str) -> bool:
        """Release a subject's slot."""
        return let_go(actor=factories.actor_for(self.tenant), subject=subject)  # type: ignore[no-any-return]

    def assign(self) -> int:
        """Let the controller assign slots once."""
        with self.control():
            return slots.assign_slots()

    def reap(self) -> int:
        """Let the controller take lost slots back once."""
        with self.control():
            return slots.reap_slots()

    def renew(self, allocation_id: uuid.UUID, me: nodes.Registered) -> bool:
        """Renew as the node does."""
        return allocations.renew(
            tenant_id=self.tenant.id, allocation_id=allocation_id, node_id=me.node_id, boot=me.boot
        )

    def row(self, allocation_id: uuid.UUID) -> Allocation:
        """Return an allocation."""
        with tenant_scope(self.tenant.id):
            return Allocation.objects.get(id=allocation_id)

    def in_use(self) -> int:
        """Return what is reserved of the quota."""
        with tenant_scope(self.tenant.id):
            return sum(use.in_use for use in quotas.usage() if use.resource == allocations.QUOTA)

    def actions(self) -> list[str]:
        """Return the audited actions on slots, in order."""
        with tenant_scope(self.tenant.id):
            rows = AuditEntry.objects.filter(action__startswith="compute.slot.").order_by("seq")
            return list(rows.values_list("action", flat=True))


@pytest.fixture
def place(as_control: Control) -> Place:
    return Place(as_control)


def silence(superuser: psycopg.Connection, me: nodes.Registered) -> None:
    superuser.execute(
        "UPDATE compute_node SET last_seen_at = clock_timestamp() - interval '1 hour' WHERE id = %s", [me.node_id]
    )
    superuser.execute(
        "UPDATE compute_allocation SET lease_until = clock_timestamp() - interval '1 second' WHERE node_id = %s AND state = 'live'",
        [me.node_id],
    )


def test_slots_go_to_those_who_wait_and_no_further(place: Place) -> None:
    me = place.node("serving.a", 2)
    asked = [place.ask() for _ in range(3)]
    assert place.assign() == 2
    assert place.assign() == 0
    assert [place.row(one).state for one in asked] == ["live", "live", "waiting"]
    assert sorted(allocations.mine(me.node_id)) == sorted((place.tenant.id, one) for one in asked[:2])
    assert place.in_use() == 3
    assert place.actions() == ["compute.slot.requested"] * 3 + ["compute.slot.assigned"] * 2


def test_a_tenant_with_fewer_slots_comes_first(place: Place) -> None:
    place.node("serving.a", 3)
    first = [place.ask() for _ in range(3)]
    other = factories.make_tenant()
    late = place.ask(tenant=other)
    assert place.assign() == 3
    with tenant_scope(other.id):
        assert Allocation.objects.get(id=late).state == "live"
    assert [place.row(one).state for one in first] == ["live", "live", "waiting"]


def test_a_released_slot_serves_the_next_and_its_quota_is_back(place: Place) -> None:
    place.node("serving.a", 1)
    first, second = place.ask("endpoint:1"), place.ask("endpoint:2")
    place.assign()
    assert place.let_go("endpoint:1") is True
    assert place.let_go("endpoint:1") is False
    assert place.in_use() == 1
    assert place.assign() == 1
    assert [place.row(one).state for one in (first, second)] == ["ended", "live"]
    assert place.actions().count("compute.slot.released") == 1
    assert place.let_go("endpoint:2") is True
    assert (place.in_use(), DeviceHold.objects.count()) == (0, 0)
    assert place.ask("endpoint:1") != first, "a subject may ask again after it let go"


def test_a_quota_without_room_stores_nothing(place: Place) -> None:
    actor = factories.actor_for(place.tenant)
    with tenant_scope(place.tenant.id):
        quotas.set_limit(actor=actor, resource=allocations.QUOTA, limit=1)
    place.ask()
    with pytest.raises(
        quotas.QuotaExceeded,
        match=r"^Serving slots: 1 of 1 in use in the organisation, .* Undeploy an endpoint, or ask",
    ):
        place.ask()
    with tenant_scope(place.tenant.id):
        assert Allocation.objects.count() == 1
    assert place.in_use() == 1


def test_a_subject_asks_once(place: Place) -> None:
    place.ask("endpoint:1")
    with pytest.raises(allocations.SlotRequested):
        place.ask("endpoint:1")
    assert place.in_use() == 1


def test_a_restart_adopts_its_slots_at_once_and_the_run_before_is_fenced(place: Place) -> None:
    before = place.node("serving.a", 1)
    slot = place.ask()
    place.assign()
    assert place.renew(slot, before) is True
    after = place.node("serving.a", 1)
    assert after.node_id == before.node_id
    assert allocations.mine(after.node_id) == [(place.tenant.id, slot)]
    assert place.renew(slot, after) is True
    assert place.renew(slot, before) is False
    assert (place.row(slot).boot, place.row(slot).token) == (after.boot, 1)


def test_a_dead_nodes_slot_waits_and_moves_to_another_node(place: Place, superuser: psycopg.Connection) -> None:
    dead = place.node("serving.a", 1)
    slot = place.ask("endpoint:1")
    place.assign()
    assert place.renew(slot, dead)
    assert place.reap() == 0
    silence(superuser, dead)
    assert place.reap() == 1
    assert place.reap() == 0
    assert (place.row(slot).state, place.row(slot).reason) == ("waiting", slots.LOST_REASON)
    assert place.renew(slot, dead) is False
    assert place.assign() == 0, "its own node is silent"
    alive = place.node("serving.b", 1)
    assert place.assign() == 1
    assert (place.row(slot).token, place.row(slot).node_id) == (2, alive.node_id)
    assert place.renew(slot, alive) is True
    assert allocations.mine(dead.node_id) == []
    assert place.in_use() == 1, "the quota stays reserved all the while"
    assert place.actions()[-2:] == ["compute.slot.lost", "compute.slot.assigned"]


def test_a_slow_node_that_lives_keeps_its_slot(place: Place, superuser: psycopg.Connection) -> None:
    me = place.node("serving.a", 1)
    slot = place.ask()
    place.assign()
    superuser.execute("UPDATE compute_allocation SET lease_until = clock_timestamp() - interval '1 hour'")
    assert place.reap() == 0
    assert place.renew(slot, me) is True


def test_a_slot_that_its_node_no_longer_has_is_taken_back(place: Place) -> None:
    place.node("serving.a", 2)
    asked = [place.ask(), place.ask()]
    place.assign()
    me = place.node("serving.a", 1)
    assert place.reap() == 1
    assert sorted(place.row(one).state for one in asked) == ["live", "waiting"]
    assert len(allocations.mine(me.node_id)) == 1


def test_losing_a_slot_notifies(place: Place, superuser: psycopg.Connection) -> None:
    me = place.node("serving.a", 1)
    place.ask("endpoint:none")
    place.assign()
    silence(superuser, me)
    place.reap()
    with tenant_scope(place.tenant.id):
        told = OutboxMessage.objects.filter(topic="compute.SlotLost")
        assert [row.payload["subject"] for row in told] == ["endpoint:none"]


def test_controllers_that_assign_at_once_take_no_device_twice(place: Place) -> None:
    place.node("serving.a", 3)
    asked = [place.ask() for _ in range(5)]
    as_controllers(slots.assign_slots, 4)
    place.assign()
    live = [place.row(one) for one in asked if place.row(one).state == "live"]
    assert len(live) == len({row.device_id for row in live}) == 3
    assert {hold.holder for hold in DeviceHold.objects.all()} == {row.id for row in live}
    assert place.actions().count("compute.slot.assigned") == 3


def test_two_reapers_take_a_slot_back_once(place: Place, superuser: psycopg.Connection) -> None:
    me = place.node("serving.a", 2)
    for _ in range(2):
        place.ask()
    place.assign()
    silence(superuser, me)
    taken = as_controllers(slots.reap_slots, 3)
    assert sum(taken) == 2
    assert place.actions().count("compute.slot.lost") == 2


def test_jobs_and_slots_keep_to_their_own_devices(place: Place) -> None:
    kind.install()
    place.node("serving.a", 1)
    actor = factories.actor_for(place.tenant)
    order: dict[str, Any] = {
        "name": "a",
        "kind": "tick",
        "project_id": factories.default_project_id(place.tenant),
        "spec": {"steps": 1, "store": "x"},
    }
    with pytest.raises(Invalid) as refused, tenant_scope(place.tenant.id):
        jobs.submit(actor=actor, asked=jobs.Submission(**order, device_class="serving"))
    assert refused.value.fields == {"device_class": ["No device is registered yet. Start a node first."]}
    nodes.register(
        name="n1",
        hostname="h",
        boot=uuid.uuid4(),
        found=[Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 2**30)],
        missing_layers=[],
    )
    with tenant_scope(place.tenant.id):
        jobs.submit(actor=actor, asked=jobs.Submission(**order, device_class="cpu"))
        assert [row.device_class for row in queries.device_classes()] == ["cpu"]
        assert {row.name: row.serves for row in queries.devices()} == {
            "CPU 0": "jobs",
            "Serving slot 0 of serving.a": "inference",
        }
    place.ask()
    place.ask()
    with place.control():
        assert [dispatch.node for dispatch in assign.assign_all()] == ["n1"]
        assert slots.assign_slots() == 1, "the second waits although a CPU may be free"


def test_the_sweep_for_forgotten_devices_spares_slots(place: Place) -> None:
    place.node("serving.a", 2)
    slot = place.ask()
    place.assign()
    stray = Device.objects.filter(held=0).first()
    assert stray is not None
    with place.control():
        DeviceHold.objects.create(device=stray, holder=uuid.uuid4())
        assert assign.free_forgotten_devices() == 1
    assert list(DeviceHold.objects.values_list("holder", flat=True)) == [slot]


def test_the_database_itself_keeps_the_rules(place: Place) -> None:
    place.node("serving.a", 2)
    first, second = place.ask("endpoint:1"), place.ask("endpoint:2")
    place.assign()
    other_device = place.row(second).device_id
    place.let_go("endpoint:1")
    for change in (
        {"state": "waiting", "device": None, "node": None, "lease_until": None, "ended_at": None},
        {"reason": "another"},
    ):
        with pytest.raises(IntegrityError), tenant_scope(place.tenant.id), transaction.atomic():
            Allocation.objects.filter(id=first).update(**change)
    waiting, row = place.ask("endpoint:3"), place.row(second)
    with pytest.raises(IntegrityError), tenant_scope(place.tenant.id), transaction.atomic():
        Allocation.objects.filter(id=waiting).update(
            state="live", device_id=other_device, node_id=row.node_id, lease_until=row.lease_until
        )


def test_a_tenant_sees_and_renews_its_own_slots_only(place: Place) -> None:
    me = place.node("serving.a", 1)
    slot = place.ask("endpoint:1")
    place.assign()
    other = factories.make_tenant()
    with tenant_scope(other.id):
        assert allocations.slots(["endpoint:1"]) == {}
    assert allocations.renew(tenant_id=other.id, allocation_id=slot, node_id=me.node_id, boot=me.boot) is False
    with tenant_scope(place.tenant.id):
        seen = allocations.slots(["endpoint:1", "endpoint:none"])
    assert {subject: (row.state, row.node, row.device_name, row.waits) for subject, row in seen.items()} == {
        "endpoint:1": ("live", "serving.a", "Serving slot 0 of serving.a", False)
    }
