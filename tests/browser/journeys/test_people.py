"""Journeys A1 and A8: people come, strangers see nothing, a leaver goes and leaves work and log behind."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from compute.models import Job
from models_app.endpoints import endpoint_keys
from models_app.models import EndpointKey
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Invitation, User
from tests.browser import chromium
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.conftest import SLOW_MS
from tests.browser.pages import PAGES
from tests.browser.world import ENGINEER, NEWCOMER, OWNER, World

INVITED = {"ines@vision.example": "finance", "noor@vision.example": "engineer", "theo@vision.example": "auditor"}


def test_three_are_invited_with_their_roles_and_a_stranger_sees_no_page(page: Page, world: World) -> None:
    # Journey A1.
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/members/")
        for email, role in INVITED.items():
            page.get_by_label("Email address").fill(email)
            page.get_by_label("Role", exact=True).select_option(role)
            page.get_by_role("button", name="Invite").click()
            expect(page.get_by_role("status").first).to_contain_text(f"{email} is invited as {role}")
        table = page.get_by_role("region", name="Invitations")
        for email, role in INVITED.items():
            expect(table.get_by_role("listitem").filter(has_text=email)).to_contain_text(role.capitalize())
        assert not watched.axe()
    assert not watched.complaints
    with tenant_scope(world.vision.id):
        assert dict(Invitation.objects.filter(email__in=INVITED).values_list("email", "role")) == INVITED
    enter(page, NEWCOMER)
    asked, ids = page.context.request, world.ids
    pages = [spec.url("vision", ids) for spec in PAGES]
    objects = [
        f"jobs/{ids['running']}",
        f"datasets/{ids['dataset']}",
        f"endpoints/{ids['endpoint']}",
        f"models/{ids['model']}/versions",
        f"versions/{ids['version']}/lineage",
        f"invoices/{ids['invoice']}",
        f"budgets/{ids['budget']}",
    ]
    paths = [*pages, *(f"/api/v1/{path}/" for path in objects)]
    answers = {path: asked.get(path, max_redirects=0).status for path in paths}
    assert {path: status for path, status in answers.items() if status != 404} == {}
    other = asked.get("/api/v1/me/", headers={"X-Exchequer-Tenant": "vision"})
    assert other.status == 401, "with its own session it is nobody there"


def test_a_leaver_goes_at_once_and_work_and_log_stay(page: Page, browser: Browser, site: str, world: World) -> None:
    # Journey A8.
    leaver = User.objects.get(email=ENGINEER)
    actor = Actor.member(tenant_id=world.vision.id, user_id=leaver.id, email=ENGINEER, role="engineer")
    with tenant_scope(world.vision.id):
        Job.objects.filter(id=world.ids["queued"]).update(submitted_by=leaver.id, submitted_by_label=ENGINEER)
        key = endpoint_keys.create(actor=actor, endpoint_id=world.ids["endpoint"], name="from the laptop")
    theirs = browser.new_context(viewport=chromium.VIEWPORT, base_url=site)
    theirs.set_default_timeout(SLOW_MS)
    tab = theirs.new_page()
    enter(tab, ENGINEER)
    tab.goto("/t/vision/jobs/")
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/members/")
        page.get_by_role("link", name=f"Manage {ENGINEER}").click()
        page.get_by_role("link", name=f"Remove {ENGINEER}").click()
        asked = page.get_by_role("region", name="Remove")
        expect(asked).to_contain_text("from the laptop")
        asked.get_by_label("of emil@vision.example").last.select_option(label=f"Hand them over to {OWNER}")
        assert not watched.axe()
        asked.get_by_role("button", name="Remove").click()
        expect(page.locator("main table").first).not_to_contain_text(ENGINEER)
        tab.reload()
        expect(tab.get_by_role("heading", level=1, name="Jobs")).to_have_count(0)
        with tenant_scope(world.vision.id):
            assert EndpointKey.objects.get(id=key.id).revoked_at is not None
            assert Job.objects.get(id=world.ids["queued"]).submitted_by == User.objects.get(email=OWNER).id
        page.goto(f"/t/vision/jobs/{world.ids['queued']}/")
        expect(page.locator("main")).to_contain_text(OWNER)
        page.goto("/t/vision/audit/")
        expect(page.get_by_text("Chain verified")).to_be_visible()
        expect(page.get_by_role("region", name="Table: Audit entries")).to_contain_text("Member removed")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export CSV").click()
        exported = download.value.path().read_text()
        assert "tenants.member.removed" in exported
    assert not watched.complaints
    theirs.close()
