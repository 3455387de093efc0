"""Journey A5: idle devices ranked by money lost, an organisation's own rule, and a job warned, snoozed once, then paused.

The node is played: its heartbeats, with samples of devices that rest, come from this test. All else is the product's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from playwright.sync_api import Page, expect

from compute.devices.base import Found
from compute.fleet import nodes
from compute.idle import watch as idle_watch
from compute.jobs import jobs
from compute.leases import leases
from compute.models import Job, Outcome
from models_app.models import DatasetVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.journeys.lab import ENGINEER, OWNER, Lab
from tests.browser.world import BEAT_S, Control, World

HOUR_S = 3_600


def launch(lab: Lab, name: str, data: DatasetVersion) -> Job:
    """Launch a job of the engineer's that may take four hours."""
    spec = {
        "recipe": "tabular.classifier", "dataset_version": str(data.id), "target": "target", "params": {}, "model": name,
    }  # fmt: skip
    asked = jobs.Submission(
        name=name, kind="train", project_id=lab.project, spec=spec, device_class="cpu", max_seconds=4 * HOUR_S
    )
    return jobs.submit(actor=lab.builder.actor(lab.tenant, ENGINEER, "engineer"), asked=asked)


@dataclass
class Run:
    """An attempt that the test plays, and the seconds that it has run."""

    claim: leases.Claim
    elapsed: float = 0.0


def rest(lab: Lab, runs: list[Run], minutes: int) -> list[str]:
    """Let minutes pass in which devices do nothing; return what the jobs are asked to stop as."""
    asked: set[str] = set()
    for _ in range(minutes * 60 // BEAT_S):
        lab.builder.later(BEAT_S)
        for run in runs:
            run.elapsed += BEAT_S
            samples = [leases.Sample(float(BEAT_S), 0.02, 2**28)]
            reply = leases.heartbeat(run.claim, leases.Heartbeat(elapsed=run.elapsed, layers=[], samples=samples))
            asked |= {reply.stop} if reply.stop else set()
    return list(asked)


def stop(run: Run) -> None:
    """Save a checkpoint and stop, as a node does that was asked to."""
    leases.keep_checkpoint(run.claim, {"step": 40})
    leases.finish(run.claim, Outcome.IDLE, leases.Heartbeat(elapsed=run.elapsed), message="Its devices did nothing.")


def look(lab: Lab) -> None:
    """Look for idle devices and deliver what follows, as the ops worker does each minute."""
    with lab.control():
        idle_watch.watch()
    lab.work()


def test_idle_devices_are_ranked_by_money_and_a_job_is_warned_snoozed_once_and_paused(
    page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    lab = Lab(superuser, as_control)
    data = lab.host()
    # Of the two devices a job of another organisation has one.
    found = [Found(f"cpu-{n}", "cpu", "cpu", f"CPU {n} of host atlas", n, 2**34) for n in range(3)]
    nodes.register(name="atlas", hostname="atlas", boot=lab.builder.boot, found=found, missing_layers=[])
    superuser.execute("UPDATE compute_job SET state = 'cancelled', ended_at = exchequer_now() WHERE state = 'queued'")
    first = launch(lab, "left-open", data)
    runs = [Run(lab.builder.claim(first))]
    rest(lab, runs, 12)
    second = launch(lab, "just-begun", data)
    runs.append(Run(lab.builder.claim(second)))
    rest(lab, runs, 11)
    with watch(page) as watched:
        enter(page, OWNER)
        page.goto("/t/lab/idle/")
        expect(page.locator("main")).to_contain_text("Rule of the platform")
        page.get_by_role("link", name="Change the rule").click()
        page.get_by_label("Busy for less than (%)").fill("60")
        page.get_by_label("Of the last (minutes)").fill("20")
        page.get_by_label("Stop after the warning (minutes)").fill("15")
        page.get_by_role("button", name="Save rule").click()
        expect(page.locator(".x-field-error").first).to_contain_text("50")
        page.get_by_label("Busy for less than (%)").fill("5")
        assert not watched.axe()
        page.get_by_role("button", name="Save rule").click()
        expect(page.locator("main")).to_contain_text("Rule of Lab")
        expect(page.locator("main")).to_contain_text("busy for less than 5 % of 20 min")

        look(lab)
        rest(lab, runs, 10)
        look(lab)
        page.reload()
        rows = page.locator("main tbody tr")
        expect(rows).to_have_count(2)
        # The first rests for ten minutes more than the second: half an hour and twenty minutes at 0.03 a second.
        for row, name, lost in ((0, "left-open", "54"), (1, "just-begun", "36")):
            expect(rows.nth(row)).to_contain_text(name)
            expect(rows.nth(row)).to_contain_text(f"€{lost}.")
            expect(rows.nth(row)).to_contain_text("€108.00")
        expect(page.locator("main")).to_contain_text(re.compile(r"Together they lose\s+€216\.00"))
        assert not watched.axe()

        enter(page, ENGINEER)
        page.goto("/t/lab/notifications/")
        page.get_by_role("button", name="Open: Job left-open is idle").click()
        page.get_by_role("heading", level=1, name="left-open").wait_for()
        expect(page.locator("#job-live")).to_contain_text("Its devices do nothing")
        page.get_by_role("button", name="Snooze").first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Hours").fill("1")
        dialog.get_by_label("Reason").fill("A debugger is open")
        dialog.get_by_role("button", name="Snooze").click()
        expect(page.locator("#job-live")).to_contain_text("Snoozed: A debugger is open")

        # A quarter of an hour after its warning the other one stops; the snoozed one goes on for its hour.
        assert rest(lab, runs, 16) == []
        look(lab)
        assert rest(lab, runs, 1) == [Outcome.IDLE]
        stop(runs.pop())
        assert rest(lab, runs, 60) == []
        look(lab)
        assert rest(lab, runs, 1) == [Outcome.IDLE]
        stop(runs[0])
        page.reload()
        expect(page.locator("#job-live")).to_contain_text("Paused because its devices did nothing")
        assert not watched.axe()
        page.goto("/t/lab/idle/")
        expect(page.locator("main")).to_contain_text("No idle job")
    assert not watched.complaints
    with tenant_scope(lab.tenant.id):
        assert list(Job.objects.filter(id__in=[first.id, second.id]).values_list("state", "cause").distinct()) == [
            ("paused", "idle")
        ]
        acts = AuditEntry.objects.filter(target_type__in=("attempt", "job"), action__contains="idle").order_by("seq")
        assert list(acts.values_list("action", flat=True)) == [
            "compute.attempt.idle_warned",
            "compute.attempt.idle_warned",
            "compute.job.idle_snoozed",
            "compute.attempt.idle_stopped",
            "compute.attempt.idle_stopped",
        ]
