"""Owners in a browser: invite, remove, grant, change limits, notifications."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tenants.access.actor import Actor
from tenants.identity import invitations
from tenants.isolation.scoping import tenant_scope
from tenants.models import Invitation, User
from tests.browser.actions import enter, log_in
from tests.browser.chromium import watch
from tests.browser.world import ENGINEER, OWNER, VIEWER, World

BANNER = ".x-banner[role=status]:visible"

LIGHT_BY_DAY = ("light", pytest.param("dark", marks=pytest.mark.nightly))
"""The steps do not depend on the theme; test_pages.py looks at pages and dialogs in both by day."""


def link_for(world: World, email: str) -> str:
    with tenant_scope(world.vision.id):
        row = Invitation.objects.get(email=email, revoked_at=None)
    return f"/accounts/invitation/{invitations.token_of(row.id)}/"


@pytest.mark.parametrize("theme", LIGHT_BY_DAY)
def test_someone_new_is_invited_and_joins(page: Page, world: World, theme: str) -> None:
    User.objects.filter(email=OWNER).update(theme=theme)
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/members/")
        page.get_by_label("Email address").fill("ada@vision.example")
        page.get_by_role("button", name="Invite").click()
        expect(page.get_by_role("alert")).to_contain_text("is already a member")
        assert not watched.axe()
        page.get_by_label("Email address").fill("Ines@vision.example")
        page.get_by_label("Role", exact=True).select_option("finance")
        page.get_by_role("button", name="Invite").click()
        expect(page.get_by_role("status").first).to_contain_text("ines@vision.example is invited as finance")
        link = link_for(world, "ines@vision.example")
        page.goto(link)
        expect(page.get_by_text("You are logged in as ada@vision.example")).to_be_visible()
        assert not watched.axe()
        page.context.clear_cookies()
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.goto(link)
        assert not watched.axe()
        page.get_by_label("Your name").fill("Ines Invited")
        page.get_by_label("Password").fill("short")
        page.get_by_role("button", name="Create my account").click()
        expect(page.locator("#id_password_error")).to_contain_text("too short")
        expect(page.get_by_label("Your name")).to_have_value("Ines Invited")
        assert not watched.axe()
        page.get_by_label("Password").fill("a long walk at night")
        page.get_by_role("button", name="Create my account").click()
        page.get_by_role("heading", level=1, name="Overview").wait_for()
        expect(page.locator(".x-switch-name")).to_contain_text("finance")
        page.goto(link)
        expect(page.get_by_role("heading", level=1)).to_have_text("This invitation link is no longer valid")
        assert not watched.axe()
    assert not watched.complaints


def test_someone_with_an_account_logs_in_and_joins(page: Page, world: World) -> None:
    invitations.invite(actor=owner_of(world), email="otto@audio.example", role="engineer")
    page.goto(link_for(world, "otto@audio.example"))
    page.get_by_role("link", name="Log in and join").click()
    page.get_by_label("Email address").fill("otto@audio.example")
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Join as otto@audio.example").click()
    page.get_by_role("heading", level=1, name="Overview").wait_for()
    assert "/t/vision/" in page.url


def owner_of(world: World) -> Actor:
    user = User.objects.get(email=OWNER)
    return Actor.member(tenant_id=world.vision.id, user_id=user.id, email=OWNER, role="owner")


@pytest.mark.parametrize("theme", LIGHT_BY_DAY)
def test_a_member_is_removed_only_after_confirmation(page: Page, world: World, theme: str) -> None:
    User.objects.filter(email=OWNER).update(theme=theme)
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/members/")
        page.get_by_role("link", name=f"Manage {VIEWER}").click()
        assert not watched.axe()
        page.get_by_label(f"Role of {VIEWER}", exact=True).select_option("engineer")
        page.get_by_role("button", name=f"Change the role of {VIEWER}").click()
        expect(page.locator(".x-difference")).to_have_text("Role Viewer → Engineer")
        assert not watched.axe()
        page.get_by_role("button", name="Confirm").click()
        row = page.locator("tr", has_text=VIEWER)
        expect(row).to_contain_text("Engineer")
        row.get_by_role("link", name="Manage").click()
        page.get_by_role("link", name=f"Remove {VIEWER}").click()
        asked = page.get_by_role("region", name="Remove")
        expect(asked).to_contain_text("loses access immediately")
        assert not watched.axe()
        asked.get_by_role("link", name="Keep").click()
        expect(row).to_be_visible()
        row.get_by_role("link", name="Manage").click()
        page.get_by_role("link", name=f"Remove {VIEWER}").click()
        asked.get_by_role("button", name="Remove").click()
        expect(page.locator("main table")).not_to_contain_text(VIEWER)
    assert not watched.complaints


@pytest.mark.parametrize("theme", LIGHT_BY_DAY)
def test_a_role_is_granted_to_a_group_in_one_project_and_launches_only_there(
    page: Page, world: World, theme: str
) -> None:
    User.objects.filter(email__in=(OWNER, VIEWER)).update(theme=theme)
    log_in(page, OWNER)
    with watch(page) as watched:
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Access").click()
        page.get_by_role("link", name="Roles", exact=True).click()
        page.get_by_role("link", name="Create a role").click()
        page.get_by_label("Name", exact=True).fill("Trainee")
        page.get_by_role("button", name="Create role").click()
        expect(page.locator(".x-field-error").first).to_have_text("Choose at least one permission.")
        assert not watched.axe()
        expect(page.get_by_label("Name", exact=True)).to_have_value("Trainee")
        for words in ("Launch jobs", "Pause and cancel own jobs", "Read jobs"):
            page.get_by_label(words, exact=True).check()
        page.get_by_role("button", name="Create role").click()
        expect(page.get_by_role("row", name="Trainee")).to_be_visible()

        page.get_by_role("link", name="Groups", exact=True).click()
        page.get_by_label("Name", exact=True).fill("Interns")
        page.get_by_role("button", name="Create group").click()
        expect(page.get_by_role("heading", level=1, name="Interns")).to_be_visible()
        page.get_by_label("Person", exact=True).select_option(label=VIEWER)
        page.get_by_role("button", name="Add to the group").click()
        expect(page.get_by_role("button", name=f"Remove {VIEWER}")).to_be_visible()
        assert not watched.axe()

        page.get_by_role("link", name="Give the group a role").click()
        expect(page.get_by_label("Person, group or service account").locator("option:checked")).to_have_text("Interns")
        page.locator("#grant_role").select_option(label="Trainee")
        page.get_by_label("Where", exact=True).select_option(label="Research")
        page.get_by_role("button", name="Give", exact=True).click()
        expect(page.locator(BANNER)).to_contain_text("Interns has the role Trainee in Research")
        page.get_by_label("Who may", exact=True).select_option(label="launch jobs")
        expect(page.get_by_role("row", name=VIEWER)).to_contain_text("Member of Interns")
        assert not watched.axe()

        page.context.clear_cookies()
        log_in(page, VIEWER)
        page.get_by_role("link", name="New job").first.click()
        expect(page.get_by_label("Project", exact=True).locator("option")).to_have_text(["Research"])
        assert not watched.axe()
        page.goto(f"/t/vision/jobs/{world.ids['queued']}/")
        expect(page.get_by_role("link", name="Clone")).to_have_count(0)
        page.goto("/t/vision/settings/")
        expect(page.get_by_role("region", name="Table: Your rights")).to_contain_text("Member of the group Interns")
        assert not watched.axe()
    assert not watched.complaints


@pytest.mark.parametrize("theme", LIGHT_BY_DAY)
def test_what_is_lost_is_shown_before_a_grant_a_person_or_an_account_goes(page: Page, world: World, theme: str) -> None:
    User.objects.filter(email=OWNER).update(theme=theme)
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto(f"/t/vision/access/groups/{world.ids['group']}/")
        page.get_by_role("button", name=f"Remove {ENGINEER}").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"{ENGINEER} loses in Research: Answer requests of others; manage budgets.")
        assert not watched.axe()
        dialog.get_by_role("button", name="Keep").click()
        page.get_by_role("link", name="Withdraw a grant").click()
        page.get_by_role("link", name="Withdraw finance").click()
        asked = page.get_by_role("region", name="Withdraw a grant of Vision lab?")
        expect(asked).to_contain_text(f"{ENGINEER} loses in Research: Answer requests of others; manage budgets.")
        assert not watched.axe()
        asked.get_by_role("button", name="Withdraw").click()
        expect(page.locator(BANNER)).to_contain_text("Vision lab no longer has the role finance in Research.")

        page.goto(f"/t/vision/access/roles/{world.ids['role']}/")
        page.get_by_label("Launch jobs", exact=True).uncheck()
        page.get_by_role("button", name="Save").click()
        asked = page.get_by_role("region", name="Change the role for all who hold it?")
        expect(asked).to_contain_text("nightly-scoring")
        assert not watched.axe()
        asked.get_by_role("button", name="Confirm").click()
        expect(page.locator(BANNER)).to_contain_text("Role Launcher saved")

        page.goto("/t/vision/access/service-accounts/")
        page.get_by_role("button", name="Disable nightly-scoring").click()
        expect(page.get_by_role("dialog")).to_contain_text("Its keys are revoked: scoring.")
        assert not watched.axe()
        page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        expect(page.locator("main table")).to_contain_text("Disabled")
    assert not watched.complaints


@pytest.mark.parametrize("theme", LIGHT_BY_DAY)
def test_a_quota_is_changed_against_its_difference(page: Page, world: World, theme: str) -> None:
    User.objects.filter(email=OWNER).update(theme=theme)
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/quotas/")
        page.get_by_role("link", name="Change the limit of CPU devices", exact=True).click()
        box = page.get_by_label("New limit of CPU devices")
        expect(box).to_be_focused()
        box.fill("-1")
        page.get_by_role("button", name="Next").first.click()
        expect(page.locator(".x-field-error").first).to_be_visible()
        assert not watched.axe()
        page.get_by_label("New limit of CPU devices").fill("1")
        page.get_by_role("button", name="Next").first.click()
        expect(page.locator(".x-difference")).to_have_text("Limit 4 → 1")
        expect(page.locator(".x-ask")).to_contain_text("1 queued job would wait: diabetes-waiting.")
        assert not watched.axe()
        page.get_by_role("button", name="Confirm").click()
        row = page.get_by_role("row").filter(has_text="CPU devices").first
        expect(row).to_contain_text("1 of 1")
        expect(row).to_contain_text(OWNER)
        page.goto("/t/vision/audit/?action=tenants.quota.")
        expect(page.get_by_text("limit changed from 4 to 1").first).to_be_visible()
    assert not watched.complaints


def test_four_devices_and_five_hundred_hours_are_set_for_a_project(page: Page, world: World) -> None:
    # Journey A2: the page, its previews, and the audit log with before and after.
    enter(page, OWNER)
    with watch(page) as watched:
        for resource, limit, says in (
            ("devices:cpu", "4", "Up to 4 can be held at once"),
            ("device_hours:cpu", "500", "would be left; a request for more is refused"),
        ):
            page.goto("/t/vision/quotas/")
            page.get_by_label("For", exact=True).select_option(label="Research")
            page.get_by_label("Resource", exact=True).select_option(resource)
            page.locator("#new_limit").fill(limit)
            page.locator("#set").get_by_role("button", name="Next").click()
            expect(page.locator(".x-difference")).to_have_text(f"Limit none → {limit}")
            expect(page.locator(".x-ask")).to_contain_text(says)
            assert not watched.axe()
            page.get_by_role("button", name="Confirm").click()
        row = page.get_by_role("row").filter(has_text="CPU device time").filter(has_text="Research")
        expect(row).to_contain_text("of 500")  # hours
        page.goto("/t/vision/audit/?action=tenants.quota.")
        expect(page.get_by_text("CPU device time of project Research").first).to_be_visible()
        expect(page.get_by_text("limit set to 500").first).to_be_visible()
        page.goto("/t/vision/budgets/new/")
        page.get_by_label("Budget of").select_option(label="Default")
        page.get_by_label("Amount", exact=True).fill("2000")
        page.get_by_label("Alert at (%)").fill("50, 80")
        page.get_by_label("At the limit").select_option(label="Refuse new work and pause running work")
        page.get_by_role("button", name="Set the budget").click()
        expect(page.get_by_role("row").filter(has_text="Default").first).to_contain_text("€2,000")
        page.goto("/t/vision/audit/?action=billing.budget.")
        page.get_by_text("4 differences").first.click()
        newest = page.get_by_role("region", name="Table: Audit entries").get_by_role("row").nth(1)
        expect(newest).to_contain_text("budget of Default")
        expect(newest).to_contain_text("amount set to €2,000.00")
    assert not watched.complaints


def test_a_higher_quota_is_asked_for_and_approved(page: Page, world: World) -> None:
    enter(page, ENGINEER)
    with watch(page) as watched:
        page.goto("/t/vision/approvals/")
        form = page.get_by_role("region", name="Ask for a higher quota")
        form.get_by_label("Quota", exact=True).select_option("devices:cpu@tenant")
        form.get_by_label("New limit").fill("4")
        form.get_by_label("Reason", exact=True).fill("a larger model")
        form.get_by_role("button", name="Send request").click()
        expect(form.locator(".x-field-error").first).to_contain_text("Ask for more")
        assert not watched.axe()
        form.get_by_label("New limit").fill("6")
        form.get_by_role("button", name="Send request").click()
        expect(page.get_by_text("Raise CPU devices of the organisation from 4 to 6.")).to_be_visible()
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        enter(page, OWNER)
        page.goto("/t/vision/notifications/")
        page.get_by_role("button", name="Open: Higher quota waits for an answer").click()
        page.get_by_role("button", name="Approve: Raise CPU devices").click()
        expect(page.get_by_role("status").first).to_contain_text("is approved")
        page.goto("/t/vision/quotas/")
        expect(page.get_by_role("row").filter(has_text="CPU devices").first).to_contain_text("of 6")
    assert not watched.complaints


def test_the_bell_counts_and_a_notification_leads_to_its_page(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/jobs/")
    bell = page.get_by_role("link", name="Notifications")
    count = int((bell.get_attribute("aria-label") or "").split()[1])
    bell.click()
    page.get_by_role("button", name="Open: The budget of Vision is 50 % spent").click()
    page.wait_for_url("**/dash/spend/")
    expect(page.get_by_role("link", name="Notifications")).to_have_attribute(
        "aria-label", f"Notifications, {count - 1} unread" if count > 1 else "Notifications"
    )
    page.goto("/t/vision/notifications/")
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_role("link", name="Notifications")).to_have_attribute("aria-label", "Notifications")
    page.goto("/t/vision/notifications/?show=unread")
    expect(page.get_by_role("heading", name="Nothing unread")).to_be_visible()
