"""Journeys F4, F7 and F8: files of an invoice, the month as FOCUS, and what the month leads to, as finance sees them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

from billing.budgets import budgets
from billing.metering.metering import record_usage
from tenants.isolation.scoping import tenant_scope
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.integration.billing.exports.scene import closed, credited, view
from tests.integration.billing.wallets.scene import grant
from tests.support import factories, selling
from tests.support.billing import focus_rules
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

FINANCE = "fay@lab.example"
IN_MARCH = datetime(2027, 3, 20, 12, tzinfo=UTC)


def test_a_finalised_month_is_taken_as_pdf_csv_and_focus_and_they_agree(page: Page, demo_clock: DemoClock) -> None:
    # Journeys F4 and F7.
    tenant, invoice = closed(demo_clock)
    credited(tenant, invoice, "0.33")
    factories.make_member(tenant, "finance", FINANCE)
    stands = view(tenant, invoice)
    assert stands.credited is not None
    enter(page, FINANCE)
    with watch(page) as watched:
        page.goto(f"/t/{tenant.slug}/invoices/{invoice}/")
        expect(page.get_by_role("heading", level=1)).to_contain_text(stands.number)
        # Nothing of it can be changed here: it is read, disputed and paid.
        assert page.locator("main form").count() == 0
        files = {}
        for link in ("Download PDF", "Export CSV"):
            with page.expect_download() as download:
                page.get_by_role("link", name=link).first.click()
            files[link] = download.value.path().read_bytes()
        assert files["Download PDF"].startswith(b"%PDF-")
        assert files["Export CSV"].count(b"\n") > stands.line_count

        page.goto(f"/t/{tenant.slug}/cost-exports/")
        page.get_by_label("First month").fill("2027-03")
        assert not watched.axe()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        file = download.value.path().read_text()
        assert focus_rules.faults(file) == []
        rows = list(csv.DictReader(io.StringIO(file)))
        billed = sum(Decimal(row["BilledCost"]) for row in rows if row["InvoiceId"] == stands.number)
        assert billed == stands.total.amount
        assert sum(Decimal(row["BilledCost"]) for row in rows) == stands.total.amount - stands.credited.amount
    assert not watched.complaints


def test_forecast_commitment_and_credit_that_expires_are_seen(page: Page, demo_clock: DemoClock) -> None:
    # Journey F8.
    demo_clock.move_to(IN_MARCH - timedelta(days=45))
    tenant = factories.make_tenant("lab", contract=False)
    plan = {"key": "steady", "per": "month", "amount": "10.00", "percent": "20"}
    selling.open_contract(tenant, terms={"savings_plans": [plan]})
    factories.make_member(tenant, "finance", FINANCE)
    demo_clock.move_to(IN_MARCH)
    grant(tenant, "25.00", expires_on=date(2027, 4, 10))
    grant(tenant, "9.00", expires_on=date(2027, 6, 30))
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        # Two hours a day, which cost 3.60: 68.40 in March so far.
        record_usage([interval(project, IN_MARCH - timedelta(days=day), 7200) for day in range(1, 34)])
    budget = budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(90), at_limit="notify").id
    enter(page, FINANCE)
    with watch(page) as watched:
        page.goto(f"/t/{tenant.slug}/budgets/")
        row = page.get_by_role("row").filter(has_text="The whole organisation").first
        expect(row).to_contain_text("€68.40")
        expect(row).to_contain_text("above budget")
        page.goto(f"/t/{tenant.slug}/budgets/{budget}/")
        now = page.get_by_role("region", name="March 2027")
        for said in ("Likely range", "Limit reached", "March 2027"):
            expect(now).to_contain_text(said)
        assert not watched.axe()
        page.goto(f"/t/{tenant.slug}/commitments/")
        row = page.get_by_role("row").filter(has_text="steady")
        # 10.00 pay for 12.50 of 68.40.
        for said in ("20 % off", "€10.00", "100.0 %", "18.3 %"):
            expect(row).to_contain_text(said)
        assert not watched.axe()
        page.goto(f"/t/{tenant.slug}/wallet/")
        expect(page.get_by_text("€25.00 of credit expires on 10 April 2027.")).to_be_visible()
        expect(page.get_by_text("of credit expires on")).to_have_count(1)
        assert not watched.axe()
    assert not watched.complaints
