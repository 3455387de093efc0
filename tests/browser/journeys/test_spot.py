"""Journey U4: a spot job gives way, continues from its checkpoint, and its page shows both attempts and what spot saved."""

from __future__ import annotations

import re
from decimal import Decimal

import psycopg
from playwright.sync_api import Page, expect

from compute.jobs import jobs
from compute.leases import leases
from compute.models import Job, Outcome
from compute.scheduling import assign
from models_app.models import DatasetVersion
from tenants.isolation.scoping import tenant_scope
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.journeys.lab import OWNER, PRICE, Lab
from tests.browser.world import Control, World
from tests.scenarios.user_flows import choose, job_id
from tests.support import selling
from tests.support.selling import NewPrice

SPOT = NewPrice("device_seconds", {"tier": "spot"}, Decimal("0.01"), Decimal("0.03"))


def give_way(lab: Lab, data: DatasetVersion, job: Job, seconds: int) -> None:
    """Run a spot job for so many seconds; then work on demand wants its device, and it stops with a checkpoint."""
    mine = lab.builder.claim(job)
    leases.heartbeat(mine, leases.Heartbeat(elapsed=0.0, layers=[]))
    others = [lab.submit(f"urgent-{number}", data) for number in range(2)]
    with lab.control():
        assign.assign_all()
    lab.builder.later(seconds)
    assert leases.heartbeat(mine, leases.Heartbeat(elapsed=float(seconds))).stop == Outcome.PREEMPTED
    leases.keep_checkpoint(mine, {"step": 40})
    leases.finish(mine, Outcome.PREEMPTED, leases.Heartbeat(elapsed=float(seconds)), message="It gave way.")
    for other in others:
        jobs.cancel(actor=lab.owner, job_id=other.id)


def test_a_spot_job_is_launched_gives_way_and_its_page_shows_what_each_attempt_cost_and_spot_saved(
    page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    lab = Lab(superuser, as_control)
    selling.publish(prices=[PRICE, SPOT], book_id=lab.book.pk)
    lab.builder.later(600)  # a version starts five minutes ahead at least
    data = lab.host()
    superuser.execute("UPDATE compute_job SET state = 'cancelled', ended_at = exchequer_now() WHERE state = 'queued'")
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/lab/jobs/new/")
        page.get_by_label("Name", exact=True).fill("cancer-overnight")
        page.locator("input[name=recipe][value='tabular.classifier']").check()
        choose(page, "#id_dataset", "breast-cancer")
        expect(page.locator("#cost")).to_contain_text("of device time")  # the form has settled
        page.get_by_role("radio", name=re.compile("^Spot")).check()
        expect(page.locator("#cost")).to_contain_text("Spot saves typically")
        expect(page.locator("#cost")).to_contain_text("66 %")
        expect(page.locator("#cost")).to_contain_text("continues from its checkpoint")
        assert not watched.axe()
        page.get_by_role("button", name="Launch").click()
        launched = job_id(page)
        with tenant_scope(lab.tenant.id):
            job = Job.objects.get(id=launched)
        assert job.tier == "spot"
        give_way(lab, data, job, 20)
        page.goto(f"/t/lab/jobs/{launched}/?tab=attempts")
        expect(page.get_by_role("row", name=re.compile("Gave way"))).to_contain_text("0.20")
        lab.builder.train(job, 40)
        page.goto(f"/t/lab/jobs/{launched}/?tab=attempts")
        rows = page.locator("section[aria-labelledby=attempts] tbody tr")
        expect(rows).to_have_count(2)
        # Sixty seconds: 0.60 on spot, 1.80 on demand.
        for row, texts in enumerate((("Gave way", "0.20", "0.60"), ("Succeeded", "0.40", "1.20"))):
            for text in texts:
                expect(rows.nth(row)).to_contain_text(text)
        expect(page.locator("main")).to_contain_text(re.compile(r"Spot saved\s+€\s?1\.20"))
        assert not watched.axe()
    assert not watched.complaints
