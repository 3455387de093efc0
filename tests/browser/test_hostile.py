"""Input of others stays text in a table and in an export; `test_pages.py` walks all pages with it."""

from __future__ import annotations

from decimal import Decimal

from playwright.sync_api import Page, expect

from compute.models import Job
from tenants.isolation.scoping import tenant_scope
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.hostile import poison
from tests.browser.world import OWNER, World


def test_hostile_texts_are_shown_and_do_nothing(page: Page, world: World) -> None:
    poison(world)
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto("/t/vision/jobs/")
        expect(page.get_by_role("table").get_by_text("<img src=x onerror=alert(1)>").first).to_be_visible()
    assert not watched.dialogs


def test_an_export_holds_no_formula(page: Page, world: World) -> None:
    with tenant_scope(world.vision.id):
        Job.objects.filter(id=world.ids["running"]).update(
            name="=HYPERLINK(1)", submitted_by_label="@sum", max_cost=Decimal(1)
        )
    enter(page, OWNER)
    page.goto("/t/vision/jobs/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    text = download.value.path().read_text()
    assert '"\'=HYPERLINK(1)"' in text
    assert '"\'@sum"' in text
    assert not [cell for line in text.splitlines() for cell in line.split(",") if cell.strip('"')[:1] in set("=+-@")]
