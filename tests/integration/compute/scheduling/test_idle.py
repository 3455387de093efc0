"""Devices that do nothing: the person is warned with the money lost, may snooze, and else the job pauses with a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.test import Client

from compute.idle import watch
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat, Sample
from compute.models import Attempt, Job, Outcome
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Notification
from tests.integration.compute.test_job_pages import client_of
from tests.integration.compute.test_leases import World
from tests.support import factories
from tests.support.pages import flowed

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def samples(busy: float | None, power_w: float | None = None) -> list[Sample]:
    """Return the samples of half an hour."""
    return [Sample(seconds=60.0, busy=busy, memory_bytes=2**30, power_w=power_w) for _ in range(30)]


def runs_for_an_hour(world: World, superuser: psycopg.Connection, given: list[Sample]) -> Claim:
    """Return a claim on an attempt that started an hour ago, with these samples in its last minutes."""
    mine = world.running()
    leases.heartbeat(mine, Heartbeat(elapsed=1.0, samples=given))
    superuser.execute("UPDATE compute_attempt SET started_at = started_at - interval '1 hour'")
    return mine


def looked_at(world: World) -> int:
    """Look for idle devices, as the ops worker does, and deliver what follows."""
    with world.control():
        found = watch.watch()
        outbox.drain(world.tenant.id)
    return found


def ask(world: World, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    key = factories.make_api_key(world.tenant)
    made = Client().generic(
        method,
        f"/api/v1/{path}",
        json.dumps(body or {}),
        "application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    return made.status_code, made.json()


def test_a_person_is_warned_snoozes_once_and_then_the_job_pauses(world: World, superuser: psycopg.Connection) -> None:
    mine = runs_for_an_hour(world, superuser, samples(busy=0.01))
    job_id = mine.job.id
    assert ask(world, "POST", f"jobs/{job_id}/snooze/", {"hours": 1, "reason": "x"})[1]["code"] == "job_not_idle"
    assert (looked_at(world), looked_at(world)) == (1, 1)
    with tenant_scope(world.tenant.id):
        (told,) = Notification.objects.filter(kind="job_idle")
        assert AuditEntry.objects.filter(action="compute.attempt.idle_warned").count() == 1
        hourly = Job.objects.get().second_amount * 3_600
    assert "an hour" in told.body and told.path == f"jobs/{job_id}/"
    (idle,) = ask(world, "GET", "idle/")[1]["results"]
    assert idle["job"] == str(job_id) and float(idle["per_hour"]["amount"]) == pytest.approx(float(hourly))
    assert 0 < float(hourly) / 2 <= float(idle["lost"]["amount"]) < float(hourly)
    browser, page = client_of(world.tenant), f"/t/{world.tenant.slug}/jobs/{job_id}/"
    assert "Its devices do nothing" in browser.get(page).content.decode()

    listed = flowed(browser.get(f"/t/{world.tenant.slug}/idle/").content.decode())
    assert f"/jobs/{job_id}/" in listed and "Together they lose" in listed

    assert ask(world, "POST", f"jobs/{job_id}/snooze/", {"hours": 25, "reason": "x"})[0] == 400
    snoozed = browser.post(f"{page}snooze/", {"hours": 2, "reason": "A debugger is open"}, follow=True)
    assert "Snoozed: A debugger is open" in snoozed.content.decode()
    for _ in range(2):
        assert ask(world, "POST", f"jobs/{job_id}/snooze/", {"hours": 2, "reason": "again"})[0] == 200
    assert ask(world, "POST", f"jobs/{job_id}/snooze/", {"hours": 2, "reason": "again"})[1]["code"] == "snoozed_out"
    looked_at(world)
    assert leases.heartbeat(mine, Heartbeat(elapsed=2.0)).stop is None

    superuser.execute("UPDATE compute_attempt SET idle_stop_at = now() - interval '1 second'")
    looked_at(world)
    assert leases.heartbeat(mine, Heartbeat(elapsed=3.0)).stop == Outcome.IDLE
    leases.keep_checkpoint(mine, {"step": 2})
    leases.finish(mine, Outcome.IDLE, Heartbeat(elapsed=4.0), message="Its devices did nothing.")
    assert looked_at(world) == 0
    assert "Paused because its devices did nothing" in browser.get(page).content.decode()
    assert ask(world, "GET", "idle/")[1]["results"] == []
    with tenant_scope(world.tenant.id):
        job = Job.objects.get()
        assert (job.state, job.cause, job.checkpoint, job.hold_id) == ("paused", "idle", {"step": 2}, None)
        acts = AuditEntry.objects.filter(action__contains="idle").order_by("seq").values_list("action", flat=True)
        assert list(acts) == [
            "compute.attempt.idle_warned",
            *["compute.job.idle_snoozed"] * 3,
            "compute.attempt.idle_stopped",
        ]
    assert ask(world, "POST", f"jobs/{job_id}/resume/")[1]["state"] == "queued"


def test_work_that_is_bound_by_memory_is_not_idle_and_a_warning_is_taken_back(
    world: World, superuser: psycopg.Connection
) -> None:
    bound = samples(busy=0.02, power_w=260.0)
    bound[0].power_w = 80.0
    mine = runs_for_an_hour(world, superuser, bound)
    assert looked_at(world) == 0
    superuser.execute("UPDATE compute_devicesample SET power_w = 80")
    assert looked_at(world) == 1
    superuser.execute("DELETE FROM compute_devicesample")
    assert looked_at(world) == 0
    with tenant_scope(world.tenant.id):
        assert Attempt.objects.get().idle_since is not None, "missing samples prove nothing"
    leases.heartbeat(mine, Heartbeat(elapsed=2.0, samples=samples(busy=0.9)))
    looked_at(world)
    with tenant_scope(world.tenant.id):
        assert Attempt.objects.get().idle_since is None
        assert Notification.objects.get(kind="job_idle").read_at is not None


def test_a_device_that_does_not_measure_its_use_is_never_idle_and_its_page_says_so(
    world: World, superuser: psycopg.Connection
) -> None:
    mine = runs_for_an_hour(world, superuser, samples(busy=None))
    assert looked_at(world) == 0
    page = flowed(client_of(world.tenant).get(f"/t/{world.tenant.slug}/jobs/{mine.job.id}/").content.decode())
    assert "This device does not measure its utilisation or its power." in page
    assert "Memory in GiB" in page and "Utilisation in percent" not in page
    assert page.count("not measured") == 2, "in its only minute"
    superuser.execute("UPDATE compute_devicesample SET busy = 0.01")
    assert looked_at(world) == 1


def test_a_job_says_how_much_of_its_device_it_used(world: World, superuser: psycopg.Connection) -> None:
    mine = runs_for_an_hour(world, superuser, samples(busy=0.2, power_w=200.0))
    code, use = ask(world, "GET", f"jobs/{mine.job.id}/use/")
    (rank,) = use["ranks"]
    assert (code, rank["sampled_s"], rank["busy"], rank["peak_memory_bytes"]) == (200, 1_800, 0.2, 2**30)
    assert use["energy_kwh"] == pytest.approx(0.1) and use["advice"] == []
    superuser.execute("UPDATE compute_device SET memory_bytes = 80::bigint << 30")
    (said,) = ask(world, "GET", f"jobs/{mine.job.id}/use/")[1]["advice"]
    page = flowed(client_of(world.tenant).get(f"/t/{world.tenant.slug}/jobs/{mine.job.id}/").content.decode())
    assert "used 1.0 of 80 GiB" in said and said in page and "0.100 kWh" in page
