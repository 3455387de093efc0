"""Which nodes are given work: those that are there, take it, and run a release that fits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import psycopg
import pytest

from compute import limits, queries
from compute.fleet import fleet, nodes
from compute.models import Device, Node
from tenants.clock import now
from tests.integration.compute.test_leases import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(as_control: Callable[[], AbstractContextManager[None]]) -> World:
    return World(as_control)


@pytest.mark.parametrize("fault", ["silent", "leaving", "draining", "too new", "cordoned"])
def test_a_device_that_cannot_work_gets_no_job(world: World, fault: str, superuser: psycopg.Connection) -> None:
    if fault == "silent":
        Node.objects.update(last_seen_at=now() - timedelta(hours=1))
    elif fault == "leaving":
        nodes.leave(nodes.Registered(Node.objects.get().id, "n1", world.boot))
    elif fault == "draining":
        superuser.execute("UPDATE compute_node SET draining = true")
    elif fault == "too new":
        Node.objects.update(release=limits.RELEASE + 2)
        (shown,) = fleet.nodes()
        assert "Upgrade the platform" in shown.misfit
    else:
        Device.objects.update(state="cordoned")
    world.submit()
    assert world.assign() == []
    assert not any(row.free for row in queries.devices())


@pytest.mark.parametrize("release", limits.RELEASES)
def test_a_node_one_release_apart_works(world: World, release: int) -> None:
    Node.objects.update(release=release)
    world.submit()
    assert len(world.assign()) == 1
    assert fleet.nodes()[0].misfit == ""
