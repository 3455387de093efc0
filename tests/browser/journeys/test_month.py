"""Journeys F0 to F3, F5 and A6: one month of one organisation, walked by the seller's finance and by its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
from django.test import Client
from playwright.sync_api import Page, expect

from tests.browser.actions import enter, log_in
from tests.browser.chromium import Watched, watch
from tests.browser.journeys.lab import (
    DECEMBER,
    ENGINEER,
    FINANCE,
    IN_DECEMBER,
    IN_JANUARY,
    IN_NOVEMBER,
    JANUARY,
    NOVEMBER,
    Lab,
)
from tests.browser.world import OPERATOR, Control, World
from tests.integration.billing.invoicing.scene import name_the_seller
from tests.support import factories

MONTH = "/invoices/months/2026-12/"
#: Ten per cent off all usage, and 19 % tax: 4.20 of usage are 3.78 before and 4.50 with tax.
AGREED: dict[str, Any] = {"terms": {"discounts": [{"key": "friend", "percent": "10"}]}, "tax_rate": Decimal(19)}


@contextmanager
def both(console: Page, page: Page) -> Iterator[tuple[Watched, Watched]]:
    """Watch the console's tab and the organisation's; neither may have a fault."""
    with watch(console) as seller, watch(page) as tenant:
        yield seller, tenant
    assert [*seller.complaints, *tenant.complaints] == []


def report_late(lab: Lab, seconds: int) -> None:
    """Let an outside service report usage of the middle of December."""
    event = {
        "specversion": "1.0", "id": uuid4().hex, "source": "gateway", "type": "device.seconds", "subject": "partner:1",
        "time": IN_DECEMBER.isoformat(), "data": {"quantity": str(seconds), "device_class": "cpu"},
    }  # fmt: skip
    answer = Client().post(
        "/api/v1/events/", json.dumps(event), content_type="application/cloudevents+json",
        headers={"Authorization": f"Bearer {factories.make_api_key(lab.tenant)}"},
    )  # fmt: skip
    assert answer.status_code == 204, answer.content


def amounts(text: str) -> list[Decimal]:
    """Return the amounts in a text, whatever number of decimals it shows."""
    return [Decimal(one) for one in re.findall(r"€([\d.]+\d)", text)]


def total(page: Page) -> Any:
    """Return the card with an invoice's total."""
    return page.get_by_role("region", name="Total", exact=True)


def test_a_month_is_run_and_questioned_grows_in_its_grace_and_then_stands(
    console_page: Page, page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    # Journeys F0 to F3.
    name_the_seller()
    lab = Lab(superuser, as_control, grace_days=5, **AGREED)
    lab.use(100, IN_NOVEMBER - timedelta(hours=1))
    lab.move_to(IN_DECEMBER)
    job = lab.run("cancer-odd", 140)
    lab.move_to(IN_JANUARY)
    lab.finalise(NOVEMBER)
    invoice = lab.invoice(DECEMBER)
    log_in(console_page, OPERATOR)
    enter(page, FINANCE)
    with both(console_page, page) as (seller, tenant):
        # F0, F1: the month is run for all; a month to come is refused.
        console_page.goto("/invoices/months/2027-02/")
        console_page.get_by_role("button", name="Run the month").click()
        expect(console_page.get_by_text("This month has not begun.")).to_be_visible()
        console_page.goto(MONTH)
        console_page.get_by_role("button", name="Run the month").click()
        expect(console_page.get_by_text("A run is ordered")).to_be_visible()
        lab.work()
        console_page.reload()
        console_page.get_by_role("button", name="Compare all figures").click()
        expect(console_page.get_by_text("The comparison is ordered.")).to_be_visible()
        lab.work()
        console_page.reload()
        row = console_page.get_by_role("row").filter(has_text="lab")
        for text in ("€2.70 the month before, now €3.78", "€4.50", "€3.21", "40 %", "Agree"):
            expect(row).to_contain_text(text)
        expect(row).not_to_contain_text("negative")
        assert not seller.axe()

        # F2: from the odd line to the job, in the organisation's own pages; then a dispute, and its answer.
        page.goto(f"/t/lab/invoices/{invoice}/")
        expect(page.get_by_text("Reconciled")).to_be_visible()
        expect(page.locator("main")).to_contain_text("usage 140 s = invoiced 140 s")
        page.get_by_role("region", name="Table: Invoice lines").get_by_role("link", name="Device time").click()
        expect(page.get_by_role("heading", level=1, name="Default: Device time")).to_be_visible()
        for tile in ("140 s", "€0.03", "€1.40", "€5.60", "€4.20"):
            expect(page.locator(".x-tiles")).to_contain_text(tile)
        assert not tenant.axe()
        page.get_by_role("region", name="Jobs and attempts", exact=True).get_by_role("link", name="cancer-odd").click()
        expect(page.get_by_role("heading", level=1, name="cancer-odd")).to_be_visible()
        expect(page.locator(".x-tiles").first).to_contain_text("€4.20")
        page.goto(f"/t/lab/invoices/{invoice}/")
        page.get_by_role("link", name="Dispute a line").click()
        page.get_by_label("Line", exact=True).select_option(index=0)
        page.get_by_label("What is wrong").fill("   ")
        page.get_by_role("button", name="Dispute this line").click()
        expect(page.get_by_text("This field is required.")).to_be_visible()
        page.get_by_label("What is wrong").fill("It ran twice")
        page.get_by_role("button", name="Dispute this line").click()
        expect(page.get_by_text("The line is disputed.")).to_be_visible()
        console_page.goto("/disputes/")
        console_page.get_by_role("row").filter(has_text="lab").get_by_role("link").first.click()
        expect(console_page.locator("main")).to_contain_text("It ran twice")
        expect(console_page.locator("main")).to_contain_text("€4.20")
        console_page.get_by_role("button", name="Decline").click()
        expect(console_page.get_by_text("This field is required.")).to_be_visible()
        console_page.get_by_role("textbox", name="Message").fill("One attempt of 140 seconds: see its job")
        console_page.get_by_role("button", name="Decline").click()
        expect(console_page.locator("main")).to_contain_text("Declined")
        page.reload()
        expect(page.locator("main")).to_contain_text("One attempt of 140 seconds")

        # F3: late usage joins the draft, an early finalising asks why, and later usage corrects the next draft.
        report_late(lab, 50)
        console_page.goto(f"/invoices/{invoice}/")
        # 5.70 of usage, 0.57 off, 0.97 of tax.
        expect(total(console_page)).to_contain_text("€6.10")
        console_page.get_by_text("Finalise", exact=True).click()
        console_page.get_by_label("Reason, for the operator log").fill("     ")
        console_page.get_by_role("button", name="Finalise December 2026").click()
        expect(console_page.get_by_role("alert").first).to_have_text("Say why, in 3 to 400 characters.")
        assert not seller.axe()
        console_page.get_by_label("Reason, for the operator log").fill("They need it today")
        console_page.get_by_role("button", name="Finalise December 2026").click()
        expect(console_page.get_by_text("INV-000002 is finalised.")).to_be_visible()
        report_late(lab, 20)
        console_page.reload()
        expect(total(console_page)).to_contain_text("€6.10")
        page.goto(f"/t/lab/invoices/{lab.invoice(JANUARY)}/")
        row = page.get_by_role("row").filter(has_text="corrects December 2026")
        expect(row).to_contain_text("€0.60")
        assert not tenant.axe()
    assert job.id


def test_a_line_is_credited_into_the_wallet_and_the_logs_say_by_whom_and_why(
    console_page: Page, page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    # Journey F5, of a paid invoice: what was paid goes into the wallet.
    name_the_seller()
    lab = Lab(superuser, as_control, **AGREED)
    lab.use(140, IN_NOVEMBER - timedelta(hours=1))
    lab.move_to(IN_DECEMBER)
    assert lab.finalise(NOVEMBER) == "INV-000001"
    invoice = lab.invoice(NOVEMBER)
    log_in(console_page, OPERATOR)
    enter(page, FINANCE)
    with both(console_page, page) as (seller, tenant):
        console_page.goto(f"/invoices/{invoice}/")
        console_page.get_by_text("Record a payment").click()
        expect(console_page.get_by_label("Amount")).to_have_value("4.50")
        console_page.get_by_label("Amount").fill("45")
        console_page.get_by_label("Reference").fill("wire 17")
        console_page.get_by_role("button", name="Record payment").click()
        expect(console_page.locator(".x-field-error").first).to_contain_text("4.50")
        expect(console_page.get_by_label("Reference")).to_have_value("wire 17")
        console_page.get_by_label("Amount").fill("4.50")
        console_page.get_by_role("button", name="Record payment").click()
        expect(total(console_page)).to_contain_text("Paid")
        console_page.get_by_role("link", name="Issue a credit note").click()
        field = console_page.get_by_label("Credit of line 1", exact=True)
        field.fill("4.21")
        console_page.get_by_label("What was paid already").select_option("wallet")
        console_page.get_by_label("Reason, which").fill("Node atlas failed")
        console_page.get_by_role("button", name="Issue credit note").click()
        expect(console_page.locator(".x-field-error, [role=alert]").first).to_be_visible()
        expect(field).to_have_value("4.21")
        expect(console_page.get_by_label("Reason, which")).to_have_value("Node atlas failed")
        expect(console_page.get_by_label("What was paid already")).to_have_value("wallet")
        assert not seller.axe()
        # 1.20 and its tax of 0.23.
        field.fill("1.20")
        console_page.get_by_role("button", name="Issue credit note").click()
        row = console_page.get_by_role("row").filter(has_text="CN-000001")
        for text in ("Node atlas failed", "€1.20", "€0.23", "€1.43 to the wallet"):
            expect(row).to_contain_text(text)
        console_page.goto("/log/")
        expect(console_page.get_by_role("row").nth(1)).to_contain_text("Node atlas failed")
        expect(console_page.get_by_role("row").nth(1)).to_contain_text(OPERATOR)

        page.goto("/t/lab/wallet/")
        expect(page.get_by_role("region", name="Available")).to_contain_text("€1.43")
        row = page.get_by_role("region", name="Credit", exact=True).get_by_role("row").nth(1)
        expect(row).to_contain_text("€1.43")
        assert not tenant.axe()
        page.goto(f"/t/lab/invoices/{invoice}/")
        expect(page.get_by_role("row").filter(has_text="CN-000001")).to_contain_text("Node atlas failed")
        page.goto("/t/lab/audit/?action=billing.invoice.")
        entry = page.get_by_role("row").filter(has_text="Credit note issued")
        expect(entry).to_contain_text("Node atlas failed")


def test_new_prices_from_the_first_change_no_invoice_and_no_quote_that_was_given(
    console_page: Page, page: Page, world: World, superuser: psycopg.Connection, as_control: Control
) -> None:
    # Journey A6.
    name_the_seller()
    lab = Lab(superuser, as_control, **AGREED)
    lab.use(140, IN_NOVEMBER - timedelta(hours=1))
    lab.move_to(datetime(2026, 12, 31, 23, 45, tzinfo=UTC))
    lab.finalise(NOVEMBER)
    invoice, data = lab.invoice(NOVEMBER), lab.host()
    log_in(console_page, OPERATOR)
    enter(page, ENGINEER)
    with both(console_page, page) as (seller, tenant):
        page.goto(f"/t/lab/jobs/new/?dataset={data.id}")
        page.get_by_label("Name", exact=True).fill("before-the-first")
        page.get_by_label("Time limit (minutes)").fill("5")
        page.get_by_label("Time limit (minutes)").blur()
        expect(page.locator("#cost")).to_contain_text("5 min 00 s")
        expect(page.locator("#cost")).to_contain_text("€0.03 / s")
        quoted = amounts(page.locator("#cost .x-cost-total").inner_text())

        console_page.goto(f"/price-books/{lab.book.pk}/")
        console_page.get_by_role("link", name="New version").click()
        price = console_page.get_by_label("Price of Device time, all else")
        price.fill("0.06.1")
        console_page.get_by_label("In force from").fill("2026-12-01T00:00")
        console_page.get_by_label("Reason").fill("Dearer power")
        console_page.get_by_role("button", name="Preview what changes").click()
        expect(console_page.get_by_text("A version must start at least 5 minutes after")).to_be_visible()
        expect(price).to_have_value("0.06.1")
        expect(console_page.get_by_label("Reason")).to_have_value("Dearer power")
        assert not seller.axe()
        price.fill("0.06")
        console_page.get_by_label("In force from").fill("2027-01-01T00:00")
        console_page.get_by_role("button", name="Preview what changes").click()
        changes = console_page.get_by_role("status", name="What changes")
        for text in ("0.03", "0.06", "Higher by 100"):
            expect(changes).to_contain_text(text)
        row = console_page.get_by_role("row").filter(has_text="Lab").filter(has_text="€4.20")
        expect(row).to_contain_text("€8.40")
        assert not seller.axe()
        console_page.get_by_role("button", name="Publish").click()
        expect(console_page.get_by_text("Version published.")).to_be_visible()

        lab.move_to(datetime(2026, 12, 31, 23, 58, tzinfo=UTC))
        page.get_by_role("button", name="Launch").click()
        page.get_by_role("heading", level=1, name="before-the-first").wait_for()
        lab.move_to(datetime(2027, 1, 1, 0, 5, tzinfo=UTC))
        page.reload()
        assert amounts(page.locator(".x-tiles").first.inner_text().partition("quoted")[2]) == quoted
        page.goto(f"/t/lab/jobs/new/?dataset={data.id}")
        expect(page.locator("#cost")).to_contain_text("€0.06 / s")
        enter(page, FINANCE)
        page.goto(f"/t/lab/invoices/{invoice}/")
        expect(total(page)).to_contain_text("€4.50")
        expect(page.get_by_role("region", name="Table: Invoice lines")).to_contain_text("€0.03")
        page.goto("/t/lab/prices/")
        expect(page.locator("main")).to_contain_text("Dearer power")
        assert not tenant.axe()
