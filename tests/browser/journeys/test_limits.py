"""Journeys A3 and A4: an alert leads to the jobs behind it, and a launch beyond a budget starts once more is granted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from django.core import mail
from playwright.sync_api import Page, expect

from compute.jobs import jobs
from compute.models import Job
from compute.scheduling import assign
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.journeys.lab import ENGINEER, FINANCE, OWNER, Lab
from tests.browser.world import Control, World
from tests.support.servers.fetcher import Receiver, fetcher, receiver

if TYPE_CHECKING:
    from pytest_django import Settings

#: When the organisation has more than two weeks of usage.
NOW = datetime(2026, 12, 9, 18, tzinfo=UTC)
DAYS = 17


def deliver_webhooks(lab: Lab) -> None:
    """Deliver what goes to outside servers, as the ops worker does."""
    with tenant_scope(lab.tenant.id):
        waiting = list(OutboxMessage.objects.filter(delivered_at=None).order_by("id").values_list("id", flat=True))
    with lab.control():
        for message in waiting:
            outbox.deliver(message, lab.tenant.id)


def test_an_alert_by_mail_and_webhook_leads_to_the_three_jobs_behind_it_and_to_the_day_it_is_spent(
    page: Page, world: World, superuser: psycopg.Connection, as_control: Control, settings: Settings
) -> None:
    # Journey A3. 40 seconds a day at 0.03 are 1.20.
    lab = Lab(superuser, as_control)
    lab.move_to(NOW)
    enter(page, FINANCE)
    with receiver() as hooks, fetcher(f"localhost:{hooks.port}", hooks.authority) as asking, watch(page) as watched:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": str(asking.socket)})
        walk_alert(page, lab, hooks)
        assert not watched.axe()
    assert not watched.complaints


def walk_alert(page: Page, lab: Lab, hooks: Receiver) -> None:
    """Connect a webhook, set the budget, spend, and open the alert."""
    enter(page, OWNER)
    page.goto("/t/lab/webhooks/")
    page.get_by_label("Name", exact=True).fill("pager")
    page.get_by_label("Address").fill(hooks.url.replace("https", "http"))
    page.get_by_label("A budget crossed one of its thresholds").check()
    page.get_by_role("button", name="Create webhook").click()
    expect(page.locator(".x-field-error").first).to_contain_text("https")
    expect(page.get_by_label("Name", exact=True)).to_have_value("pager")
    page.get_by_label("Address").fill(f"{hooks.url}/pager")
    page.get_by_role("button", name="Create webhook").click()
    expect(page.get_by_text("pager").first).to_be_visible()

    enter(page, FINANCE)
    page.goto("/t/lab/budgets/new/")
    page.get_by_label("Period").select_option("quarter")
    page.get_by_label("Amount", exact=True).fill("30.0.0")
    page.get_by_label("Alert at (%)").fill("80")
    page.get_by_label("At the limit").select_option(label="Alert only")
    page.get_by_role("button", name="Set the budget").click()
    expect(page.get_by_text("Groups of thousands have three digits.")).to_be_visible()
    expect(page.get_by_label("Alert at (%)")).to_have_value("80")
    page.get_by_label("Amount", exact=True).fill("30")
    page.get_by_role("button", name="Set the budget").click()
    expect(page.get_by_role("row").filter(has_text="The whole organisation").first).to_contain_text("€30.00")
    data = lab.host()
    spent = {"tiny": 10, "small": 20, "wide": 60, "deep": 90}
    for name, seconds in spent.items():
        job = lab.submit(name, data)
        jobs.cancel(actor=lab.owner, job_id=job.id)
        lab.use(seconds, NOW - timedelta(hours=2), job_id=job.id, resource=f"job:{job.id}")
    for day in range(1, DAYS):
        lab.use(40, NOW - timedelta(days=day))
    mail.outbox.clear()
    lab.work()
    deliver_webhooks(lab)

    # 16 days of 1.20 and 5.40 of jobs: 24.60 of 30.00, which is 82 %.
    (alert,) = [one for one in hooks.received if one.path == "/pager"]
    body = json.loads(alert.body)
    assert (body["type"], body["data"]["percent"]) == ("budget.alert", 80)
    assert body["object"]["path"] == f"/t/lab/budgets/{body['object']['id']}/"
    (sent,) = [one for one in mail.outbox if one.to == [FINANCE]]
    assert "80 % spent" in sent.subject
    link = re.search(r"/t/lab/budgets/\S+", str(sent.body))
    assert link
    page.goto(link[0])
    now = page.get_by_role("region", name="Q4 2026")
    for text in ("€24.60", "€30.00", "Limit reached"):
        expect(now).to_contain_text(text)
    # Each day costs about 1.20: the 5.40 that are left last less than a week.
    expect(now).to_contain_text(re.compile(r"Limit reached\s+1\d December 2026"))
    costliest = page.get_by_role("region", name="Costliest jobs").get_by_role("listitem")
    for n, (name, cost) in enumerate((("deep", "€2.70"), ("wide", "€1.80"), ("small", "€0.60"))):
        expect(costliest.nth(n)).to_contain_text(name)
        expect(costliest.nth(n)).to_contain_text(cost)
    expect(costliest).to_have_count(3)


def test_a_launch_beyond_the_budget_starts_by_itself_once_more_is_granted_for_the_month(
    page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    # Journey A4.
    lab = Lab(superuser, as_control)
    data = lab.host()
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/lab/budgets/new/")
        page.get_by_label("Amount", exact=True).fill("5")
        page.get_by_role("button", name="Set the budget").click()
        expect(page.get_by_role("row").filter(has_text="The whole organisation").first).to_contain_text("€5.00")
        enter(page, ENGINEER)
        page.goto(f"/t/lab/jobs/new/?dataset={data.id}")
        page.get_by_label("Name", exact=True).fill("the-deadline")
        page.get_by_label("Time limit (minutes)").fill("5")
        page.get_by_label("Time limit (minutes)").blur()
        expect(page.locator("#cost")).to_contain_text("5 min 00 s")
        worst = page.locator("#cost dt", has_text="At most").locator("+ dd").inner_text().strip()
        page.get_by_role("button", name="Launch").click()
        keep = page.get_by_role("button", name="Keep it and request more")
        keep.click()
        expect(page.get_by_label("Why do you need more?")).to_be_visible()
        expect(page.get_by_text("Write why you need more: nothing is requested yet.")).to_be_visible()
        expect(page.get_by_label("Name", exact=True)).to_have_value("the-deadline")
        assert not watched.axe()
        page.get_by_label("Why do you need more?").fill("The paper is due on Friday")
        keep.click()
        page.get_by_role("heading", level=1, name="the-deadline").wait_for()
        expect(page.get_by_text("It waits for the answer to the request for a higher budget.")).to_be_visible()
        where = page.url

        enter(page, OWNER)
        page.goto("/t/lab/approvals/")
        expect(page.locator("main")).to_contain_text(f"from €5.00 to {worst} for this month.")
        expect(page.locator("main")).to_contain_text("The paper is due on Friday")
        page.get_by_label("Reason, optional: Raise").fill("This once")
        assert not watched.axe()
        page.get_by_role("button", name="Approve: Raise").click()
        expect(page.get_by_role("status").first).to_contain_text("is approved")
        lab.work()
        with lab.control():
            assign.assign_all()
        page.goto(where)
        expect(page.locator(".x-tiles").first).to_contain_text("Running")
        page.goto("/t/lab/budgets/")
        row = page.get_by_role("row").filter(has_text="The whole organisation").first
        expect(row).to_contain_text(worst)
        page.goto("/t/lab/audit/?action=billing.budget.")
        expect(page.get_by_role("row").filter(has_text=f"from €5.00 to {worst}")).to_have_count(1)
    assert not watched.complaints
    with tenant_scope(lab.tenant.id):
        assert Job.objects.filter(name="the-deadline").count() == 1
