"""Ticks of schedules: launched once, skipped, queued, missed, refused, and what pauses a schedule."""

from __future__ import annotations

from datetime import timedelta

import pytest

from compute.models import Job
from models_app.models import DatasetVersion, PipelineRun, ScheduleRun, StepTry
from models_app.schedules import firing, launching
from tenants.access.standing import WORDS
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import AuditEntry, OutboxMessage, Tenant
from tests.api.models_app.schedules.world import MONDAY, World, fire
from tests.support.concurrency import as_controllers

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)


@pytest.fixture
def world(demo_clock) -> World:
    demo_clock.move_to(MONDAY)
    return World()


def test_a_tick_launches_once_under_controllers_at_once_and_the_next_one_next_day(world, demo_clock, as_control):
    preset, pipeline = world.save(), world.save(name="rounds", pipeline=str(world.pipeline.id))
    assert (fire(as_control), world.one(preset)["next_at"]) == (0, "2027-02-01T05:00:00Z")
    demo_clock.advance(timedelta(hours=2, minutes=1))
    as_controllers(firing.fire_all, 4)
    assert world.runs(preset) == world.runs(pipeline) == [("02-01T05:00", "launched")]
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(name="nightly")
        assert (job.submitted_by, job.submitted_by_label) == (world.engineer.id, world.engineer.email)
        run = PipelineRun.objects.get(pipeline=world.pipeline)
        assert (run.trigger, run.launched_by) == ("schedule", world.engineer.id)
        assert StepTry.objects.filter(run=run, job__isnull=False).count() == 1, "its first step began at once"
        entry = AuditEntry.objects.get(action="models_app.schedule.fired", target_id=preset)
        assert entry.changes == {"outcome": [None, "launched"]}
    assert world.one(preset)["next_at"] == "2027-02-02T05:00:00Z"
    assert fire(as_control) == 0
    world.end_jobs()
    demo_clock.advance(DAY)
    fire(as_control)
    assert (world.runs(preset)[1:], world.jobs()) == ([("02-02T05:00", "launched")], 2)


def test_a_controller_that_dies_after_the_launch_has_launched_nothing(world, demo_clock, as_control, monkeypatch):
    """Launch and note are one transaction: the next round launches, once. A bad schedule holds up no other."""
    bad, good = world.save(), world.save(name="rounds", pipeline=str(world.pipeline.id))
    demo_clock.advance(timedelta(hours=2, minutes=1))
    real = launching.launch

    def dies(run, row, **how):
        real(run, row, **how)
        if str(row.id) == bad:
            raise ConnectionError("the controller is gone")

    with monkeypatch.context() as patched:
        patched.setattr(launching, "launch", dies)
        with pytest.raises(SweepFailed):
            fire(as_control)
    assert (world.jobs(), world.runs(bad)) == (0, [])
    assert world.runs(good) == [("02-01T05:00", "launched")]
    fire(as_control)
    assert (world.jobs(), world.runs(bad)) == (1, [("02-01T05:00", "launched")])


@pytest.mark.parametrize(
    ("overlap", "second", "jobs"), [("skip", "skipped", 1), ("queue", "waiting", 1), ("allow", "launched", 2)]
)
def test_a_tick_while_the_run_before_goes_on(world, demo_clock, as_control, overlap, second, jobs):
    schedule = world.save(overlap=overlap)
    demo_clock.advance(timedelta(hours=2, minutes=1))
    fire(as_control)
    demo_clock.advance(DAY)
    fire(as_control)
    assert [outcome for _, outcome in world.runs(schedule)] == ["launched", second]
    assert world.jobs() == jobs
    if overlap == "queue":
        demo_clock.advance(DAY)
        fire(as_control)
        assert [outcome for _, outcome in world.runs(schedule)] == ["launched", "waiting", "skipped"], "one waits"
        world.end_jobs("failed")
        fire(as_control)
        assert [outcome for _, outcome in world.runs(schedule)] == ["launched", "launched", "skipped"]
        assert (world.jobs(), fire(as_control)) == (2, 0)


@pytest.mark.parametrize("missed", ["latest", "none"])
def test_ticks_that_nobody_looked_at_are_listed_and_notified(world, demo_clock, as_control, missed):
    schedule = world.save(missed=missed)
    demo_clock.advance(4 * DAY + timedelta(hours=3))  # three, and one that is an hour old
    fire(as_control)
    newest = ("02-05T05:00", "launched" if missed == "latest" else "missed")
    days = [(f"02-0{day}T05:00", "missed") for day in (1, 2, 3, 4)]
    assert world.runs(schedule) == [*days, newest]
    assert world.reasons(schedule)[0] == firing.AWAY
    assert world.reasons(schedule)[-1] == (firing.LATE if missed == "latest" else firing.AWAY)
    assert world.jobs() == (missed == "latest")
    assert world.titles(world.engineer) == [f"Schedule daily was missed {4 if missed == 'latest' else 5} times"]
    with tenant_scope(world.tenant.id):
        assert OutboxMessage.objects.filter(topic="models_app.ScheduleMissed").count() == 1
    assert world.one(schedule)["next_at"] == "2027-02-06T05:00:00Z"


def test_of_very_many_missed_ticks_the_newest_are_listed_and_the_others_counted(world, demo_clock, as_control):
    schedule = world.save(cron="*/5 * * * *")
    demo_clock.advance(DAY)
    fire(as_control)
    with tenant_scope(world.tenant.id):
        outcomes = list(
            ScheduleRun.objects.filter(schedule=schedule).order_by("due_at").values_list("outcome", "reason")
        )
    assert [outcome for outcome, _ in outcomes] == ["missed"] * (firing.MOST_LISTED - 1) + ["launched"]
    assert f"the {288 - firing.MOST_LISTED} ticks before" in outcomes[0][1]


def test_what_is_refused_says_why_and_pauses_after_five_in_a_row(world, demo_clock, as_control):
    schedule = world.save()
    with tenant_scope(world.tenant.id):
        DatasetVersion.objects.filter(dataset_id=world.job["dataset"]).update(state="failed", code="bad_file")
    said = world.client.post(f"/api/v1/presets/{world.preset.id}/launch/", {}, content_type="application/json").json()
    demo_clock.advance(timedelta(hours=2, minutes=1))
    for number in range(1, 7):
        fire(as_control)
        assert len(world.runs(schedule)) == min(number, 5)
        demo_clock.advance(DAY)
    assert {outcome for _, outcome in world.runs(schedule)} == {"refused"}
    assert set(world.reasons(schedule)) == {said["title"]}, "the sentence that a person gets"
    found = world.one(schedule)
    assert (found["paused"], found["next_at"]) == (True, None)
    assert said["title"] in found["paused_reason"]
    assert world.titles(world.engineer) == ["Schedule daily launched nothing"] * 4 + ["Schedule daily paused itself"]
    assert world.titles(world.owner) == ["Schedule daily paused itself"]
    with tenant_scope(world.tenant.id):
        topics = OutboxMessage.objects.values_list("topic", flat=True)
        assert {"models_app.ScheduleRefused", "models_app.SchedulePaused"} <= set(topics)
        DatasetVersion.objects.filter(dataset_id=world.job["dataset"]).update(state="ready", code="")
    resumed = world.send("POST", f"{schedule}/resume/")
    assert (resumed["paused"], resumed["refusals"]) == (False, 0)
    assert fire(as_control) == 0, "no burst of the ticks of the pause"
    demo_clock.advance(DAY)
    fire(as_control)
    assert world.runs(schedule)[-1][1] == "launched"


def test_a_full_queue_lets_a_tick_wait(world, demo_clock, as_control, settings):
    schedule = world.save()
    demo_clock.advance(timedelta(hours=2, minutes=1))
    room = settings.EXCHEQUER
    settings.EXCHEQUER = room.model_copy(update={"queued_jobs": 1})
    fire(as_control)
    fire(as_control)
    assert world.runs(schedule) == [("02-01T05:00", "waiting")]
    assert "is waiting" in world.reasons(schedule)[0] or "are waiting" in world.reasons(schedule)[0]
    settings.EXCHEQUER = room
    fire(as_control)
    assert (world.runs(schedule), world.jobs()) == ([("02-01T05:00", "launched")], 1)


def test_it_pauses_when_the_rights_that_it_launches_with_end(world, demo_clock, as_control):
    schedule = world.save()
    world.client.force_login(world.owner)
    answer = world.client.delete(f"/api/v1/members/{world.engineer.id}/")
    assert answer.status_code == 204, answer.content
    demo_clock.advance(timedelta(hours=2, minutes=1))
    fire(as_control)
    assert (world.jobs(), world.runs(schedule)) == (0, [("02-01T05:00", "refused")])
    reason = world.one(schedule)["paused_reason"]
    assert reason == firing.GONE.format(world.engineer.email)
    assert world.titles(world.owner) == ["Schedule daily paused itself"]
    world.send("POST", f"{schedule}/resume/")
    demo_clock.advance(DAY)
    fire(as_control)
    assert world.runs(schedule)[-1][1] == "launched", "with the rights of the owner who resumed it"


@pytest.mark.parametrize(("standing", "paused"), [("suspended", False), ("closing", True), ("closed", True)])
def test_a_tenant_that_may_start_nothing_launches_nothing(world, demo_clock, as_control, standing, paused):
    schedule = world.save()
    with as_control():
        Tenant.objects.filter(id=world.tenant.id).update(standing=standing)
    demo_clock.advance(timedelta(hours=2, minutes=1))
    fire(as_control)
    with tenant_scope(world.tenant.id):
        run = ScheduleRun.objects.get(schedule=schedule)
        assert (run.outcome, run.reason) == ("refused", WORDS[standing])
    assert (world.jobs(), world.row(schedule).paused) == (0, paused)


def test_a_waiting_run_is_skipped_by_a_pause(world, demo_clock, as_control):
    schedule = world.save(overlap="queue")
    demo_clock.advance(timedelta(hours=2, minutes=1))
    fire(as_control)
    demo_clock.advance(DAY)
    fire(as_control)
    paused = world.send("POST", f"{schedule}/pause/")
    assert paused["paused_reason"] == f"Paused by {world.engineer.email}."
    world.end_jobs()
    assert fire(as_control) == 0
    assert [outcome for _, outcome in world.runs(schedule)] == ["launched", "skipped"]
    assert world.titles(world.owner) == [], "who pauses it needs no notice"
