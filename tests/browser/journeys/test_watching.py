"""Journeys U2 and U3: a launch that the budget refuses with what would fit, and a job watched from the queue to its stop."""

from __future__ import annotations

import re

import psycopg
from playwright.sync_api import Page, expect

from billing.models import Hold
from compute.jobs import jobs
from compute.leases import leases
from compute.models import Job, Outcome
from compute.sandbox.protocol import Metric
from compute.scheduling import assign, waits
from tenants.isolation.scoping import tenant_scope
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.journeys.lab import ENGINEER, OWNER, Lab
from tests.browser.world import Control, World


def beat(lab: Lab, mine: leases.Claim, elapsed: int, step: int = 0) -> leases.HeartbeatReply:
    """Send the heartbeat of a node after `elapsed` seconds: a step of the loss, a line of the log, what the device did."""
    if not step:
        return leases.heartbeat(
            mine, leases.Heartbeat(elapsed=float(elapsed), layers=[], logs=[(1, "training starts")])
        )
    loss = 0.9 / step
    return leases.heartbeat(
        mine,
        leases.Heartbeat(
            elapsed=float(elapsed),
            progress={"phase": "training", "done": step, "total": 150, "eta_s": 600.0},
            metrics=[Metric(step, {"train_loss": loss, "val_loss": loss + 0.05})],
            logs=[(step + 1, f"epoch {step} of 150: train_loss {loss:.4f}")],
            samples=[leases.Sample(20.0, 0.81, 2**28)],
        ),
    )


def test_a_launch_beyond_the_budget_is_refused_with_what_would_fit_and_costs_nothing(
    page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    # Journey U2. A second costs 0.03: sixty minutes may cost 108, and the budget has 40.
    lab = Lab(superuser, as_control)
    data = lab.host()
    enter(page, OWNER)
    page.goto("/t/lab/budgets/new/")
    page.get_by_label("Amount", exact=True).fill("40")
    page.get_by_role("button", name="Set the budget").click()
    expect(page.get_by_role("row").filter(has_text="The whole organisation").first).to_contain_text("€40.00")
    enter(page, ENGINEER)
    with watch(page) as watched:
        page.goto(f"/t/lab/jobs/new/?dataset={data.id}")
        page.get_by_label("Name", exact=True).fill("too-long")
        minutes = page.get_by_label("Time limit (minutes)")
        minutes.fill("60")
        minutes.blur()
        expect(page.locator("#cost")).to_contain_text("1 h 00 min")
        page.get_by_role("button", name="Launch").click()
        refusal = page.get_by_role("alert").filter(has_text="The budget has no headroom for this.")
        for text in ("€40.00", "Nothing was charged.", "This would fit: a time limit of"):
            expect(refusal).to_contain_text(text)
        expect(page.get_by_role("button", name="Keep it and request more")).to_be_visible()
        expect(page.get_by_label("Name", exact=True)).to_have_value("too-long")
        expect(minutes).to_have_value("60")
        assert not watched.axe()
        with tenant_scope(lab.tenant.id):
            assert not Job.objects.filter(name="too-long").exists()
            assert not Hold.objects.exists()
        # What it names does fit.
        fits = re.search(r"a time limit of (\d+) min", refusal.inner_text())
        assert fits
        minutes.fill(fits[1])
        minutes.blur()
        expect(page.locator("#cost")).to_contain_text(f"{fits[1]} min")
        page.get_by_role("button", name="Launch").click()
        page.get_by_role("heading", level=1, name="too-long").wait_for()
    assert not watched.complaints


def test_a_job_is_watched_from_the_queue_to_its_stop_and_charged_to_the_second(
    page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    # Journey U3. Both devices of the host are taken; the page is opened once, and everything after comes to it by itself.
    lab = Lab(superuser, as_control)
    data = lab.host()
    superuser.execute("UPDATE compute_job SET state = 'cancelled', ended_at = exchequer_now() WHERE state = 'queued'")
    earlier = lab.builder.claim(lab.submit("first", data))
    lab.builder.later(5)
    job = lab.submit("watched", data)
    lab.builder.beat_node()
    with lab.control():
        assert not assign.assign_all()
        waits.explain_all({})
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto(f"/t/lab/jobs/{job.id}/")
        expect(page.locator("#job-live")).to_contain_text("Number 1 of your organisation’s jobs")
        assert not watched.axe()
        expect(page.locator("#job-live")).to_contain_text("It starts when one is free")
        jobs.cancel(actor=lab.owner, job_id=earlier.job.id)
        leases.finish(earlier, Outcome.CANCELLED, leases.Heartbeat())
        mine = lab.builder.claim(job)
        beat(lab, mine, 0)
        expect(page.locator(".x-tiles").first).to_contain_text("Running")
        for step in range(1, 4):
            lab.builder.later(20)
            beat(lab, mine, 20 * step, step)
        live = page.locator("#job-live")
        expect(live).to_contain_text("Training 3 of 150")
        expect(live).to_contain_text("€1.80")
        expect(live.get_by_role("img", name="Loss by epoch")).to_be_visible()
        page.get_by_role("button", name="Cancel job").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
        lab.builder.later(5)
        assert beat(lab, mine, 65, 4).stop == Outcome.CANCELLED
        leases.finish(mine, Outcome.CANCELLED, leases.Heartbeat(elapsed=65.0))
        expect(page.locator(".x-tiles").first).to_contain_text("Cancelled")
        # 65 seconds at 0.03.
        expect(page.locator(".x-tiles")).to_contain_text("€1.95")
        page.get_by_role("link", name="Logs", exact=True).click()
        expect(page.locator("main")).to_contain_text("epoch 3 of 150")
    assert not watched.complaints
