"""The console's list of idle work: by the money that is lost, with ids and amounts alone, and its number in the navigation."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Job
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.scheduling.test_idle import looked_at, runs_for_an_hour, samples
from tests.integration.compute.test_leases import World
from tests.support import selling
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]
API, PAGE = "/api/operator/v1/idle/", "/fleet/idle/"
SECRET = "secret-of-the-customer"


def number_of(page: Any) -> str:
    """Return the number beside Idle work in the navigation, or an empty text."""
    html = page.content.decode()
    found = re.search(r'<span>Idle work</span>\s*(?:<span class="x-nav-number">(\d+)</span>)?', html)
    assert found is not None
    return found[1] or ""


def test_operators_see_what_is_lost_by_ids_and_no_name_of_the_work(
    as_control: Control, superuser: psycopg.Connection, seller: Any
) -> None:
    world = World(as_control)
    support = seller("platform_support")
    assert "No idle work" in text_of(support.get(PAGE)) and number_of(support.get("/fleet/")) == ""
    assert "Idle jobs that hold devices" not in text_of(support.get("/"))
    small = runs_for_an_hour(world, superuser, samples(busy=0.0))
    large = runs_for_an_hour(world, superuser, samples(busy=0.0))
    assert looked_at(world) == 2
    superuser.execute("UPDATE compute_job SET name = %s", [SECRET])
    superuser.execute(
        "UPDATE compute_attempt SET idle_since = idle_since - interval '2 hours' WHERE job_id = %s", [large.job.id]
    )
    rows = support.get(API).json()["results"]
    assert [row["job"] for row in rows] == [str(large.job.id), str(small.job.id)], "most money lost first"
    with tenant_scope(world.tenant.id):
        hourly = Job.objects.all()[0].second_amount * 3_600
    assert [float(row["per_hour"]["amount"]) for row in rows] == pytest.approx([float(hourly)] * 2)
    assert float(rows[0]["lost"]["amount"]) == pytest.approx(float(hourly) * 2.5, rel=0.01)
    assert {row["organisation"] for row in rows} == {world.tenant.slug}
    page = text_of(support.get(PAGE))
    assert str(large.job.id) in page and "Together they lose" in page
    assert SECRET not in page and world.actor.label not in page and SECRET not in support.get(API).content.decode()
    assert number_of(support.get("/fleet/")) == "2"
    assert "Idle jobs that hold devices" in text_of(support.get("/"))

    leases.finish(small, "succeeded", Heartbeat(elapsed=2.0), message="")
    leases.finish(large, "succeeded", Heartbeat(elapsed=2.0), message="")
    assert support.get(API).json()["results"] == [] and number_of(support.get("/fleet/")) == ""


def test_nobody_but_the_console_asks_for_idle_work_of_all(as_control: Control) -> None:
    World(as_control)
    for role in ("exchequer_app", "exchequer_control"):
        with selling.role(role), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            connection.cursor().execute("SELECT * FROM compute_idle_work()")
