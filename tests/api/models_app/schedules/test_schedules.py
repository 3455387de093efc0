"""Schedules over the API and on the pages: saved, changed, paused, launched now, removed; and what is refused."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.test import Client

from compute.models import Job
from models_app.models import Schedule, ScheduleRun
from models_app.schedules import schedules
from tenants import operations
from tenants.isolation.scoping import tenant_scope
from tests.api.models_app.schedules.world import World
from tests.api.test_matrix import call
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return World()


def test_a_schedule_is_saved_changed_paused_launched_and_removed(world):
    schedule = world.save(overlap="queue")
    saved = world.one(schedule)
    assert (saved["words"], saved["launches"], saved["overlap"], saved["missed"]) == (
        "At 06:00 every day",
        "nightly",
        "queue",
        "latest",
    )
    assert saved["runs_as_label"] == world.engineer.email
    assert world.send("GET", "")["results"] == [saved]

    changed = world.send("PATCH", f"{schedule}/", {"cron": "30 7 * * MON", "pipeline": str(world.pipeline.id)})
    assert (changed["preset_id"], changed["launches"]) == (None, "round")
    assert changed["next_at"] != saved["next_at"]
    world.client.force_login(world.owner)
    assert world.send("PATCH", f"{schedule}/", {"cron": "30 7 * * MON"})["runs_as_label"] == world.engineer.email
    assert world.send("PATCH", f"{schedule}/", {"missed": "none"})["runs_as_label"] == world.owner.email

    paused = world.send("POST", f"{schedule}/pause/")
    assert (paused["paused"], paused["next_at"]) == (True, None)
    run = world.send("POST", f"{schedule}/run/", status=201)
    assert (run["outcome"], run["work"], run["state"], run["asked_by_label"]) == (
        "launched",
        "round",
        "running",
        world.owner.email,
    )
    assert run["cost"]["amount"] == "0.000000"
    assert world.send("GET", f"{schedule}/runs/")["results"] == [run]
    assert world.send("POST", f"{schedule}/resume/")["next_at"] == changed["next_at"]

    world.send("DELETE", f"{schedule}/", status=204)
    world.send("GET", f"{schedule}/", status=404)
    with tenant_scope(world.tenant.id):
        assert not ScheduleRun.objects.exists()
        assert Job.objects.filter(name="round train").exists(), "what it launched stays"


@pytest.mark.parametrize(
    ("fields", "named", "said"),
    [
        ({"cron": "0 25 * * *"}, "cron", "The field hour cannot be read"),
        ({"cron": "*/2 * * * *"}, "cron", "less than 5 minutes apart"),
        ({"cron": 5}, "cron", "Give a text."),
        ({"zone": "Europe/Zurch"}, "zone", "Did you mean Europe/Zurich?"),
        ({"name": " "}, "name", "1 to 80"),
        ({"overlap": "stop"}, "overlap", "skip, queue, allow"),
        ({"missed": "all"}, "missed", "latest, none"),
        ({"preset": str(uuid4())}, "preset", "There is no such preset"),
        ({"preset": "x"}, "preset", "Give an id."),
        ({"project": "default"}, "project", "There is no such field here."),
    ],
)
def test_what_is_wrong_is_named_with_its_field(world, fields, named, said):
    body = {"name": "daily", "cron": "0 6 * * *", "zone": "UTC", "preset": str(world.preset.id)}
    fault = world.send("POST", "", body | fields, 400)["fields"]
    assert list(fault) == [named]
    assert said in fault[named][0]


def test_it_launches_one_thing_in_its_own_zone_and_under_its_own_name(world):
    body = {"name": "daily", "cron": "0 6 * * *"}
    both = {"preset": str(world.preset.id), "pipeline": str(world.pipeline.id)}
    assert set(world.send("POST", "", body, 400)["fields"]) == {"preset", "pipeline"}
    assert set(world.send("POST", "", body | both, 400)["fields"]) == {"preset", "pipeline"}
    world.send("POST", "", body | {"preset": both["preset"]}, 201)
    with tenant_scope(world.tenant.id):
        assert Schedule.objects.get().zone == world.tenant.timezone
    assert world.send("POST", "", body | {"preset": both["preset"]}, 409)["code"] == "schedule_name_taken"


def test_an_organisation_has_so_many_schedules(world, monkeypatch):
    monkeypatch.setattr(schedules, "MOST_SCHEDULES", 1)
    world.save()
    refused = world.send("POST", "", {"name": "x", "cron": "@daily", "preset": str(world.preset.id)}, 409)
    assert "at most 1 schedules" in refused["title"]


def test_a_preset_stays_while_a_schedule_launches_it(world):
    schedule = world.save()
    path = f"/api/v1/presets/{world.preset.id}/"
    refused = call(world.client, "DELETE", path, {})
    assert (refused.status_code, refused.json()["code"]) == (409, "preset_in_use")
    assert "The schedule daily launches this preset." in refused.json()["title"]
    world.send("DELETE", f"{schedule}/", status=204)
    assert call(world.client, "DELETE", path, {}).status_code == 204


def test_a_launch_now_that_is_refused_leaves_nothing_behind(world):
    schedule = world.save()
    with tenant_scope(world.tenant.id):
        world.preset.body = {**world.preset.body, "recipe": "no.such"}
        world.preset.save()
    assert "recipe" in world.send("POST", f"{schedule}/run/", status=400)["fields"]
    assert world.runs(schedule) == []


def test_a_viewer_reads_and_a_project_that_is_restricted_hides(world):
    schedule = world.save()
    viewer = Client()
    viewer.force_login(factories.make_member(world.tenant, "viewer"))
    assert viewer.get(f"/api/v1/schedules/{schedule}/").status_code == 200
    assert call(viewer, "POST", f"/api/v1/schedules/{schedule}/pause/", {}).status_code == 403
    project_id, owner = world.one(schedule)["project_id"], factories.actor_for(world.tenant)
    operations.change_project(actor=owner, project_id=UUID(project_id), restricted=True)
    assert viewer.get(f"/api/v1/schedules/{schedule}/").status_code == 404
    assert viewer.get("/api/v1/schedules/").json()["results"] == []


def test_the_pages_preview_save_and_show_a_schedule(world):
    base = f"/t/{world.tenant.slug}/schedules/"
    assert "No schedule yet" in text_of(world.client.get(base))
    page = world.client.get(f"{base}new/?preset={world.preset.id}")
    assert page.context["form"]["launches"].value() == f"preset:{world.preset.id}"
    preview = world.client.get(f"{base}preview/", {"cron": "0 6 29 2 *", "zone": "Europe/Zurich"})
    assert preview.content.decode().count("29 Feb") == 5
    assert "less than 5 minutes apart" in text_of(
        world.client.get(f"{base}preview/", {"cron": "* * * * *", "zone": "UTC"})
    )
    assert "There is no such time zone" in text_of(world.client.get(f"{base}preview/", {"cron": "", "zone": "x"}))
    entered = {
        "name": "daily",
        "launches": f"preset:{world.preset.id}",
        "cron": "0 6 * * *",
        "zone": "Europe/Zurich",
        "overlap": "skip",
        "missed": "latest",
    }
    wrong = world.client.post(f"{base}new/", entered | {"cron": "0 25 * * *"})
    assert wrong.status_code == 422
    assert "The field hour cannot be read" in text_of(wrong)
    saved = world.client.post(f"{base}new/", entered)
    assert saved.status_code == 302
    one = saved.headers["Location"]
    assert "Not due yet" in text_of(world.client.get(one))
    assert world.client.post(f"{one}run/").status_code == 302
    shown = text_of(world.client.get(one))
    assert "At 06:00 every day (Europe/Zurich)" in shown
    assert "Launched" in shown
    assert world.client.post(f"{one}pause/").status_code == 302
    assert "Paused by" in text_of(world.client.get(one))
    assert world.client.post(f"{one}resume/").status_code == 302
    assert world.client.post(f"{one}change/", entered | {"name": "nights"}).status_code == 302
    assert "nights" in text_of(world.client.get(base))
    assert world.client.post(f"{one}remove/").headers["Location"] == base
