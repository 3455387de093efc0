"""What the queue would use now: kept by the sweep, measured for all, listed for operators."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Node
from compute.queries.capacity import seen_since
from compute.scheduling import capacity_wanted
from config.monitoring import metrics
from tenants import quotas
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import World
from tests.support.pages import text_of
from tests.support.selling import Console

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


def listed(seller: Callable[..., Console]) -> dict[str, dict[str, Any]]:
    answer = seller("platform_support").get("/api/operator/v1/capacity/")
    assert answer.status_code == 200, answer.content
    return {row["device_class"]: row for row in answer.json()["results"]}


def test_the_queue_asks_for_devices_up_to_its_quotas_and_names_the_nodes_that_nobody_would_use(
    as_control: Control, seller: Callable[..., Console], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    more = [Found(f"x-{index}", "cpu", "cpu", f"CPU {index} of x", index, 2**30) for index in range(2)]
    nodes.register(name="n2", hostname="x", boot=uuid.uuid4(), found=more, missing_layers=[])
    with tenant_scope(world.tenant.id):
        quotas.set_limit(actor=world.actor, resource="devices:cpu", limit=3)
    world.running()
    with as_control():
        capacity_wanted.observe()
    found = listed(seller)["cpu"]
    assert (found["devices_wanted"], found["nodes_wanted"], found["unneeded_nodes"]) == (1, 1, ["n2"])
    assert (found["devices_ready"], found["nodes_ready"], found["devices_per_node"]) == (4, 2, 2)

    for _ in range(5):
        world.submit()
    with as_control():
        capacity_wanted.observe()
        cache.delete(metrics.KEPT)
        metrics.take()
    found = listed(seller)["cpu"]
    assert (found["devices_wanted"], found["nodes_wanted"], found["unneeded_nodes"]) == (3, 2, [])
    measured = Client().get("/metrics").content.decode()
    assert 'exchequer_devices_wanted{device_class="cpu"} 3.0' in measured
    assert 'exchequer_nodes_wanted{device_class="cpu"} 2.0' in measured

    page = text_of(seller("platform_support").get("/fleet/"))
    row = page.partition("Hosts that nobody would use")[2].partition("</tr> </tbody>")[0]
    assert [cell.strip() for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row)] == ["CPU", "3", "4", "2", "2", "–"]

    # All nodes are gone: the class stays, and its queue asks for nodes again.
    demo_clock.advance(timedelta(hours=1))
    assert not Node.objects.filter(last_seen_at__gt=seen_since()).exists()
    with as_control():
        capacity_wanted.observe()
    found = listed(seller)["cpu"]
    assert (found["devices_wanted"], found["nodes_ready"], found["unneeded_nodes"]) == (3, 0, [])
