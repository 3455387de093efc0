"""Invoices in the console and for their tenant, in a browser: from twenty drafts to a paid invoice (journeys F0, F4, F5)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from playwright.sync_api import Page, expect

from billing.metering.metering import record_usage
from tenants import clock
from tenants.isolation.scoping import tenant_scope
from tests.browser.actions import enter, log_in
from tests.browser.chromium import watch
from tests.browser.world import OPERATOR, OWNER, set_clock
from tests.support import factories
from tests.support.factories import PASSWORD
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.browser.world import World

IN_DECEMBER = datetime(2026, 12, 3, 9, tzinfo=UTC)
HOURS = 20
DRAFTS = 20


def test_twenty_drafts_are_finalised_at_once_and_one_is_credited_paid_and_read_by_its_tenant(
    console_page: Page, page: Page, world: World, superuser: psycopg.Connection
) -> None:
    yen = factories.make_tenant("yen", currency="JPY")
    set_clock(superuser, clock.now() + timedelta(hours=HOURS))  # prices in yen began just now
    for tenant in (*(factories.make_tenant(f"lab-{n}") for n in range(2, DRAFTS)), yen, world.vision):
        project = factories.default_project_id(tenant)
        with tenant_scope(tenant.id):
            start = clock.now() - timedelta(hours=HOURS)
            record_usage([interval(project, start, HOURS * 3600, resource="device:9")])
    set_clock(superuser, IN_DECEMBER)
    log_in(console_page, OPERATOR)
    with watch(console_page) as watched:
        console_page.get_by_role("navigation").get_by_role("link", name="Invoices").click()
        expect(console_page.get_by_text("No seller is entered")).to_be_visible()
        assert not watched.axe()
        console_page.get_by_role("link", name="Enter name and address").click()
        console_page.get_by_label("Name").fill("Compute GmbH")
        console_page.get_by_label("Country").fill("d1")
        console_page.get_by_label("Address").fill("1 Main Street\n10115 Berlin")
        console_page.get_by_label("Reason").fill("The first seller")
        console_page.get_by_role("button", name="Save seller").click()
        # The log-in was days ago.
        console_page.get_by_label("Password").fill(PASSWORD)
        console_page.get_by_role("button", name="Confirm").click()
        expect(console_page.get_by_text("There is no country of this code")).to_be_visible()
        assert not watched.axe()
        console_page.get_by_label("Country").fill("DE")
        console_page.get_by_role("button", name="Save seller").click()
        expect(console_page.get_by_text("The seller is changed.")).to_be_visible()

        console_page.goto("/invoices/?month=2026-11")
        every = console_page.get_by_label("Choose all")
        every.check()
        one = console_page.get_by_label("Choose Vision, November 2026")
        one.uncheck()
        expect(every).not_to_be_checked()
        one.check()
        expect(every).to_be_checked()
        console_page.get_by_role("button", name="Finalise chosen drafts").click()
        expect(console_page.get_by_text("20 invoices are finalised: INV-000001 to INV-000020.")).to_be_visible()
        assert not watched.axe()

        # Yen have no decimals, and no decimals are credited.
        expect(console_page.get_by_role("row").filter(has_text="yen")).to_contain_text(re.compile(r"¥36(?![.\d])"))
        console_page.get_by_role("row").filter(has_text="yen").get_by_role("link").click()
        expect(console_page.get_by_role("region", name="Total")).to_contain_text(re.compile(r"Due\s+¥36(?![.\d])"))
        console_page.get_by_role("link", name="Issue a credit note").click()
        console_page.get_by_label("Credit of line 1", exact=True).fill("0.5")
        console_page.get_by_label("Reason").fill("A node failed")
        console_page.get_by_role("button", name="Issue credit note").click()
        expect(console_page.get_by_text("without decimals")).to_be_visible()
        console_page.goto("/invoices/?month=2026-11")

        console_page.get_by_role("row").filter(has_text="vision").get_by_role("link").click()
        expect(console_page.get_by_role("heading", name="What happened")).to_be_visible()
        number = console_page.get_by_role("heading", level=1).inner_text().removeprefix("Invoice ")
        assert not watched.axe()
        console_page.get_by_role("link", name="Issue a credit note").click()
        console_page.get_by_label("Credit of line 1", exact=True).fill("0.01")
        console_page.get_by_role("button", name="Issue credit note").click()
        expect(console_page.get_by_text("This field is required.")).to_be_visible()
        assert not watched.axe()
        expect(console_page.get_by_label("Credit of line 1", exact=True)).to_have_value("0.01")
        console_page.get_by_label("Reason").fill("A node failed")
        console_page.get_by_role("button", name="Issue credit note").click()
        expect(console_page.get_by_role("row").filter(has_text="CN-000001")).to_contain_text("A node failed")

        console_page.get_by_text("Record a payment").click()
        console_page.get_by_label("Reference").fill("wire 17")
        assert not watched.axe()
        console_page.get_by_role("button", name="Record payment").click()
        expect(console_page.get_by_role("row").filter(has_text="wire 17")).to_be_visible()
        expect(console_page.get_by_role("region", name="Total")).to_contain_text("Paid")
        assert not watched.axe()
    assert not watched.complaints

    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/invoice/")
        page.get_by_role("region", name="Other months").get_by_role("link", name="November 2026").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(number)
        for text in ("Compute GmbH", "CN-000001", "wire 17"):
            expect(page.get_by_text(text).first).to_be_visible()
        assert not watched.axe()
    assert not watched.complaints
