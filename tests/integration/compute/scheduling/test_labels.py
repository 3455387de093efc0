"""Labels of nodes: operators set them, and jobs that ask for some run nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from compute import queries
from compute.devices.base import Found
from compute.fleet import fleet, machines, nodes
from compute.jobs import jobs
from compute.models import Job, Node
from compute.scheduling import waits
from tenants.errors import Conflict, Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.operators.operator import Operator
from tests.integration.compute.test_leases import World

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(as_control: Control) -> World:
    world = World(as_control)
    found = [Found("cpu-0", "cpu", "cpu", "CPU of host i", 0, 2**30)]
    nodes.register(name="n2", hostname="i", boot=uuid.uuid4(), found=found, missing_layers=[])
    label(world, "n2", {"zone": "eu", "disk": "ssd"})
    return world


def label(world: World, name: str, labels: dict[str, str]) -> None:
    operator = Operator(id=uuid.uuid4(), label="root@platform.example", roles=("platform_admin",))
    with world.control():
        node_id = Node.objects.values_list("id", flat=True).get(name=name)
        machines.label(operator=operator, node_id=node_id, labels=labels, reason="It stands there")


def test_a_job_runs_only_where_its_labels_are_and_says_that_it_waits_for_them(world: World) -> None:
    first = world.submit(node_labels={"zone": "eu"})
    assert [one.node for one in world.assign()] == ["n2"]
    second = world.submit(node_labels={"zone": "eu", "disk": "ssd"})
    assert world.assign() == []
    with world.control():
        waits.explain_all({})
    with tenant_scope(world.tenant.id):
        shown = queries.job_detail(second)
        assert (shown.wait_reason, shown.node_labels) == ("labels", {"zone": "eu", "disk": "ssd"})
        assert shown.waiting_for is not None and "hosts with disk=ssd, zone=eu" in shown.waiting_for["reason"]
        assert jobs.clone(actor=world.actor, job_id=first).node_labels == {"zone": "eu"}


def test_jobs_that_wait_for_labels_hide_no_job_behind_them(world: World) -> None:
    for _ in range(5):
        world.submit(node_labels={"disk": "ssd"})
    plain = world.submit()
    dispatched = {one.attempt_id: one.node for one in world.assign()}
    with tenant_scope(world.tenant.id):
        assert Job.objects.get(id=plain).state == "running"
    assert sorted(dispatched.values()) == ["n1", "n2"]


def test_labels_that_no_host_of_the_class_carries_are_refused_at_launch(world: World) -> None:
    for asked, words in (
        ({"zone": "us"}, "No host with cpu devices carries all of zone=us. The hosts carry: disk=ssd, zone=eu."),
        ({"zone": "e u"}, "Write keys and values with"),
    ):
        with tenant_scope(world.tenant.id), pytest.raises(Invalid) as refused:
            world.submit(node_labels=asked)
        assert words in refused.value.fields["node_labels"][0]
    with tenant_scope(world.tenant.id), pytest.raises(Invalid) as refused:
        world.submit(node_labels={"zone": "eu"}, devices=2)
    assert "No host has more than 1" in refused.value.fields["devices"][0]
    label(world, "n2", {})
    with tenant_scope(world.tenant.id), pytest.raises(Invalid) as refused:
        world.submit(node_labels={"zone": "eu"})
    assert "Leave them out" in refused.value.fields["node_labels"][0]


def test_a_node_that_registers_again_keeps_its_labels_and_one_that_ended_gets_none(world: World) -> None:
    found = [Found("cpu-0", "cpu", "cpu", "CPU of host i", 0, 2**30)]
    nodes.register(name="n2", hostname="i", boot=uuid.uuid4(), found=found, missing_layers=[])
    with world.control():
        assert {node.name: node.labels_text for node in fleet.nodes()} == {"n1": "", "n2": "disk=ssd, zone=eu"}
        Node.objects.filter(name="n2").update(ended_at="2026-01-01T00:00Z")
    with pytest.raises(Conflict):
        label(world, "n2", {"zone": "us"})
