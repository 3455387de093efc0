"""The operators' console in a browser, as a process of its own beside the tenants' site (journey A0)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Invitation, Tenant, User
from tests.browser.accounts.test_passkeys import add_key, enter_password, give_authenticator, use_key
from tests.browser.actions import log_in
from tests.browser.chromium import watch
from tests.browser.pages import CONSOLE_PAGES
from tests.browser.test_pages import look
from tests.browser.world import OPERATOR
from tests.support import factories

if TYPE_CHECKING:
    from tests.browser.world import World

Control = Callable[[], AbstractContextManager[None]]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.nightly)])
def test_every_page_of_the_console_is_complete_accessible_and_within_the_policy(
    console_page: Page, world: World, as_control: Control, theme: str
) -> None:
    with as_control():
        User.objects.filter(email=OPERATOR).update(theme=theme)
    log_in(console_page, OPERATOR)
    with watch(console_page) as watched:
        faults = [fault for spec in CONSOLE_PAGES for fault in look(watched, spec, spec.url("", world.ids), spec.shows)]
    assert not faults, "\n".join(faults)


def test_an_operator_adds_a_passkey_and_is_asked_for_it(console_page: Page, console_site: str, world: World) -> None:
    home = console_site.replace("127.0.0.1", "localhost")
    give_authenticator(console_page)
    enter_password(console_page, home, OPERATOR)
    expect(console_page.get_by_role("heading", name="Needs attention")).to_be_visible()
    with watch(console_page) as watched:
        console_page.goto(f"{home}/accounts/2fa/")
        add_key(console_page, watched)
        console_page.context.clear_cookies()
        enter_password(console_page, home, OPERATOR)
        use_key(console_page, watched)
        expect(console_page.get_by_role("heading", name="Needs attention")).to_be_visible()
    assert not watched.complaints


def test_an_operator_creates_limits_suspends_and_resumes_a_tenant(
    console_page: Page, page: Page, world: World, as_control: Control
) -> None:
    log_in(console_page, OPERATOR)
    with watch(console_page) as watched:
        expect(console_page.get_by_role("heading", name="Needs attention")).to_be_visible()
        console_page.get_by_role("navigation").get_by_role("link", name="Organisations", exact=True).first.click()
        console_page.get_by_role("link", name="New organisation").click()
        console_page.get_by_label("Name", exact=True).fill("Robotics")
        console_page.get_by_label("Short name").fill("Robo tics")
        console_page.get_by_label("Owner").fill("ada@robotics.example")
        console_page.get_by_label("Price book").select_option(index=1)
        console_page.get_by_label("Days to pay").fill("14")
        console_page.get_by_role("button", name="Create and invite").click()
        expect(console_page.get_by_text("small letters, digits and dashes; begin")).to_be_visible()
        assert not watched.axe()
        console_page.get_by_label("Short name").fill("robotics")
        console_page.get_by_role("button", name="Create and invite").click()
        expect(console_page.get_by_role("heading", name="Robotics", level=1)).to_be_visible()
        with as_control():
            made = Tenant.objects.get(slug="robotics")
            outbox.drain(made.id)
        console_page.reload()
        expect(console_page.get_by_role("region", name="Open invitations")).to_contain_text("ada@robotics.example")
        with tenant_scope(made.id):
            assert Invitation.objects.get().email == "ada@robotics.example"

        ceiling = console_page.get_by_role("region", name="Set a ceiling")
        ceiling.get_by_label("Resource").select_option("devices:cpu")
        ceiling.get_by_label("At most").fill("8")
        ceiling.get_by_label("Reason").fill("as agreed")
        ceiling.get_by_role("button", name="Set ceiling").click()
        expect(console_page.get_by_text("The ceiling is set.")).to_be_visible()
        assert not watched.axe()

        owner = factories.make_member(made, "owner", "bo@robotics.example")
        console_page.get_by_text("Suspend", exact=True).click()
        console_page.get_by_label("Reason").first.fill("Invoice of October is open")
        console_page.get_by_role("button", name="Suspend Robotics").click()
        expect(console_page.get_by_text("is suspended. It can read")).to_be_visible()
        expect(console_page.get_by_text("Invoice of October is open").first).to_be_visible()
        assert not watched.axe()

        log_in(page, owner.email)
        page.goto("/t/robotics/jobs/")
        expect(page.get_by_text("This organisation is suspended")).to_be_visible()
        expect(page.get_by_role("link", name="New job")).to_have_count(0)
        page.goto("/t/robotics/jobs/new/")
        expect(page.get_by_text("This organisation is suspended").first).to_be_visible()

        console_page.get_by_text("Resume", exact=True).click()
        console_page.get_by_label("Reason").first.fill("Paid")
        console_page.get_by_role("button", name="Resume Robotics").click()
        expect(console_page.get_by_text("works again")).to_be_visible()
        page.goto("/t/robotics/jobs/")
        expect(page.get_by_role("link", name="New job").first).to_be_visible()
        console_page.goto("/log/")
        for number, reason in ((1, "Paid"), (2, "Invoice of October is open"), (3, "as agreed")):
            expect(console_page.get_by_role("row").nth(number)).to_contain_text(reason)
    assert not watched.complaints
    page.goto("/t/robotics/prices/")
    expect(page.locator("dt", has_text="Days to pay").locator("+ dd")).to_have_text("14")
    page.goto("/t/robotics/audit/")
    for reason in ("Paid", "Invoice of October is open", "as agreed"):
        expect(page.get_by_text(reason).first).to_be_visible()


def test_an_operator_takes_a_device_out_of_work_and_back(console_page: Page, world: World) -> None:
    log_in(console_page, OPERATOR)
    with watch(console_page) as watched:
        console_page.get_by_role("link", name="Fleet").click()
        row = console_page.get_by_role("row").filter(has_text="CPU 3 of host atlas")
        row.get_by_text("Cordon").first.click()
        row.get_by_label("Reason").fill("x   ")
        row.get_by_role("button", name="Cordon").click()
        assert not watched.axe()
        row.get_by_label("Reason").fill("Throttles under load")
        row.get_by_role("button", name="Cordon").click()
        expect(row).to_contain_text("Cordoned")
        expect(row).to_contain_text("Throttles under load")
        row.get_by_text("Uncordon").first.click()
        row.get_by_label("Reason").fill("New fan")
        row.get_by_role("button", name="Uncordon").click()
        expect(row).to_contain_text("Ready")
        console_page.get_by_role("link", name="Operator log").click()
        expect(console_page.get_by_role("row").nth(1)).to_contain_text("New fan")
        console_page.goto("/tenants/?q=nothing")
        expect(console_page.get_by_role("heading", name="Nothing matches")).to_be_visible()
        assert not watched.axe()
    assert not watched.complaints
