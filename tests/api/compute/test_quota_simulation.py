"""A change of quotas is tried on past jobs before it is saved, by API and on its page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from compute.models import Job, JobSet
from compute.queries import WantedCeiling, simulate_ceiling
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Quota
from tenants.operators import grants
from tests.integration.compute.test_leases import World
from tests.support import factories
from tests.support.console import log_in
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


def past(world: World, project: UUID, minutes: int, after_s: int, **more: Any) -> None:
    """Have a job that was submitted yesterday and ran for so many minutes; `more` are columns of it."""
    world.project = project
    job_id = world.submit()
    with tenant_scope(world.tenant.id):
        at = now() - timedelta(days=1, seconds=-after_s)
        Job.objects.filter(id=job_id).update(
            state="succeeded", submitted_at=at, queued_at=at, ended_at=now(), measured_s=60 * minutes, **more
        )


def test_a_limit_on_one_project_is_tried_before_it_is_saved(as_control: Control) -> None:
    world = World(as_control)
    big = world.project
    with tenant_scope(world.tenant.id):
        small = Project.objects.create(name="Small", slug="small").id
    for _ in range(4):
        past(world, big, 60, 0)
    past(world, small, 10, 60)
    person = Client()
    person.force_login(factories.make_member(world.tenant, "admin"))
    key = factories.make_api_key(world.tenant)

    def simulated(**asked: Any) -> Any:
        address, header = "/api/v1/quotas/simulation/", {"Authorization": f"Bearer {key}"}
        return Client().get(address, {"device_class": "cpu", **asked}, headers=header)

    found = simulated(project="default", limit=1).json()
    assert (found["devices_before"], found["devices_after"], found["jobs"], found["left_out"]) == (2, 2, 5, False)
    rows = {row["project"]: row for row in found["projects"]}
    assert rows["Small"]["before"]["wait_s"] == pytest.approx(7140, abs=60), "four older jobs on two devices"
    assert rows["Small"]["after"]["wait_s"] == 0
    assert rows["Default"]["after"]["wait_s"] > rows["Default"]["before"]["wait_s"]
    half = simulated(limit=1).json()
    assert (half["devices_before"], half["devices_after"]) == (2, 1)
    with tenant_scope(world.tenant.id):
        assert not Quota.objects.filter(limit__isnull=False).exists(), "nothing is saved"
    for wrong in ({"device_class": "abacus"}, {"limit": "many"}, {"project": str(world.tenant.id)}):
        assert simulated(**wrong).status_code == 400

    page = text_of(person.get(f"/t/{world.tenant.slug}/quotas/simulation/?device_class=cpu&project={big}&limit=1"))
    assert "as changed" in page and "<svg" in page
    assert "Simulate a change" in text_of(person.get(f"/t/{world.tenant.slug}/quotas/"))


def test_operators_try_a_guaranteed_part_on_the_work_of_all(
    as_control: Control, console: Control, settings: Any
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})
    big, small = World(as_control), World(as_control)
    for _ in range(4):
        past(big, big.project, 60, 0)
    past(small, small.project, 10, 60)
    secret = "xop_of-the-first-operator-of-all"
    with as_control():
        grants.create_first("root@platform.example", factories.PASSWORD, secret)

    def simulated(world: World, **asked: Any) -> Any:
        with console():
            address = f"/api/operator/v1/tenants/{world.tenant.id}/quotas/simulation/"
            return Client().get(
                address, {"device_class": "cpu", **asked}, headers={"Authorization": f"Bearer {secret}"}
            )

    found = simulated(small, guaranteed=2).json()
    assert (found["devices"], found["jobs"]) == (2, 5)
    rows = {row["tenant"]: row for row in found["tenants"]}
    assert set(rows) == {big.tenant.name, small.tenant.name}
    assert rows[small.tenant.name]["after"]["wait_s"] == 0
    held = simulated(big, limit=1).json()
    assert {row["tenant"]: row["after"]["wait_s"] for row in held["tenants"]}[big.tenant.name] > 0
    assert simulated(small, device_class="abacus").status_code == 400
    with console():
        client = log_in()
        page = text_of(client.get(f"/fleet/simulation/{small.tenant.id}/?device_class=cpu&guaranteed=2"))
        assert "as changed" in page and small.tenant.name in page
        assert "Simulate quotas" in text_of(client.get(f"/tenants/{small.tenant.id}/"))


def test_operators_replay_no_more_of_a_set_at_once_than_it_lets_run(
    as_control: Control, console: Control, settings: Any
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})
    sweeping, other = World(as_control), World(as_control)
    with tenant_scope(sweeping.tenant.id):
        sweep = JobSet.objects.create(
            project_id=sweeping.project, kind="array", name="sweep", currency="EUR", most_at_once=1
        )
    for _ in range(4):
        past(sweeping, sweeping.project, 60, 0, set_id=sweep.id)
    past(other, other.project, 10, 60)
    with console():
        wanted = WantedCeiling(tenant_id=other.tenant.id, device_class="cpu")
        rows = {row.project: row for row in simulate_ceiling(wanted).rows}
    assert rows[sweeping.tenant.name].before.wait_s == pytest.approx(5400, abs=1), "one after the other"
    assert rows[other.tenant.name].before.wait_s == 0, "on the device that the set leaves free"
