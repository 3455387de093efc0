"""Every page, filled and empty, light and dark: complete, without axe findings, policy violations and script errors.

The texts of the filled pages contain markup by day, and stay texts.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tenants.models import User
from tests.browser import chromium
from tests.browser.actions import enter, log_in
from tests.browser.chromium import Watched, watch
from tests.browser.hostile import poison
from tests.browser.pages import PAGES, THEMES, PageSpec
from tests.browser.world import NEWCOMER, OWNER, VIEWER, World

WIDTHS = (390, 600, 900, 1024, chromium.VIEWPORT["width"])
"""A phone, two tablets, the narrowest screen with the side bar, and back: tables must follow each change."""
REDRAWS = 200
READABLE, LARGEST = 9, 15
LETTERS = """Array.from(document.querySelectorAll("svg.x-chart text"), (text) => {
  const svg = text.ownerSVGElement;
  return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}).sort((a, b) => a - b)"""
SIDEWAYS = """Array.from(document.querySelectorAll("main .x-table-wrap"))
  .filter((wrap) => wrap.scrollWidth > wrap.clientWidth + 1 && !wrap.matches(".more:has(> table[data-grid])"))
  .map((wrap) => wrap.getAttribute("aria-label"))"""
NAMELESS = """Array.from(document.querySelectorAll("main .stacked > :is(tbody, tfoot) > tr")).flatMap((row) => {
  const without = Array.from(row.cells).filter((cell) => cell.dataset.label && getComputedStyle(cell, "::before").display === "none");
  const buttons = Array.from(row.cells).filter((cell) => cell.dataset.label === "Actions");
  return [...without.slice(1), ...buttons].map((cell) => cell.dataset.label);
})"""
ASKEW = """Array.from(document.querySelectorAll("main table")).filter((table) => table.tHead).flatMap((table) => {
  const wide = (row) => Array.from(row.cells).reduce((sum, cell) => sum + cell.colSpan, 0);
  return Array.from(table.rows).filter((row) => wide(row) !== wide(table.tHead.rows[0]))
    .map((row) => `${row.cells.length} cells beneath ${table.tHead.rows[0].cells.length} headings: ${row.innerText.slice(0, 40)}`);
})"""
INJECTED = "main [onerror], main [onload], main [onmouseover], main iframe, main script, main a[href^='javascript']"
SHARES = 4  # of the pages, so that no worker gets all of them


def look(watched: Watched, spec: PageSpec, url: str, words: str) -> list[str]:
    """Open a page, wait for its words, and return all its faults."""
    watched.page.goto(url)
    try:
        expect(watched.page.locator("main").get_by_text(words).first).to_be_visible()
        watched.settle()
    except AssertionError:
        return [f"{spec.name}: {words!r} is not there"]
    faults = [f"{spec.name}: {line}" for line in (*watched.complaints, *watched.axe())]
    faults += [f"{spec.name}: a text ran: {said}" for said in watched.dialogs]
    watched.complaints.clear()
    watched.dialogs.clear()
    if count := watched.page.locator(INJECTED).count():
        faults.append(f"{spec.name}: {count} elements from texts")
    if watched.page.locator("h1").count() != 1:
        faults.append(f"{spec.name}: not exactly one h1")
    faults += [f"{spec.name}: {line}" for line in watched.page.evaluate(ASKEW)]
    faults += [f"{spec.name}: {line}" for line in narrowed(watched.page)]
    return faults


def narrowed(page: Page) -> list[str]:
    """Return the faults at each width: sideways scrolling of page or table, values without a name, unreadable chart text.

    A table that scrolls because it is a grid must fade at its edge.
    """
    faults = []
    for screen in WIDTHS:
        page.set_viewport_size({"width": screen, "height": chromium.VIEWPORT["height"]})
        for _ in range(REDRAWS):  # Dash charts and tables follow their frame a moment later
            width, letters, sideways, nameless = page.evaluate(
                f"[document.scrollingElement.scrollWidth, {LETTERS}, {SIDEWAYS}, {NAMELESS}]"
            )
            if width <= screen and not sideways and not nameless:
                break
            page.wait_for_timeout(50)
        faults += [f"{width} px wide on a screen of {screen}"] if width > screen else []
        faults += [f"letters of {size:.1f} px in a chart at {screen} px" for size in letters[:1] if size < READABLE]
        faults += [f"letters of {size:.1f} px in a chart at {screen} px" for size in letters[-1:] if size > LARGEST]
        faults += [f"scrolls sideways at {screen} px: {name}" for name in sideways]
        faults += [f"a column's name is missing or needless at {screen} px: {name}" for name in nameless[:1]]
    return faults


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize(
    ("theme", "texts"), [("light", "hostile"), pytest.param("dark", "plain", marks=pytest.mark.nightly)]
)
def test_every_filled_page_is_complete_accessible_and_within_the_policy(
    page: Page, world: World, theme: str, texts: str, share: int
) -> None:
    if texts == "hostile":
        poison(world)
    User.objects.filter(email=OWNER).update(theme=theme)
    enter(page, OWNER)
    with watch(page) as watched:
        faults = [
            fault
            for spec in PAGES[share::SHARES]
            for fault in look(watched, spec, spec.url("vision", world.ids), spec.shows)
        ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.nightly), "dark"])
def test_every_empty_page_says_what_it_is_for_and_what_to_do(page: Page, world: World, theme: str) -> None:
    User.objects.filter(email=NEWCOMER).update(theme=theme)
    enter(page, NEWCOMER)
    with watch(page) as watched:
        faults = [
            fault
            for spec in PAGES
            if spec.empty
            for fault in look(watched, spec, spec.url("audio", world.ids), spec.empty)
        ]
    assert not faults, "\n".join(faults)


def test_a_viewer_sees_no_button_and_no_entry_that_the_role_may_not_use(page: Page, world: World) -> None:
    enter(page, VIEWER)
    with watch(page) as watched:
        page.goto("/t/vision/jobs/")
        expect(page.get_by_role("link", name="New job")).to_have_count(0)
        expect(page.get_by_role("navigation", name="Main").get_by_role("link")).to_have_text(
            [
                "Overview",
                "Jobs",
                "Pipelines",
                "Schedules",
                "Datasets",
                "Models",
                "Endpoints",
                "Model health",
                "Spend",
                "Budgets",
                "Members",
                "Access",
                "Projects",
                "Quotas",
                "Approvals",
                "Settings",
            ]
        )
        for path in ("jobs/new/", "audit/", "invoice/", "datasets/upload/", "api-keys/"):
            answer = page.goto(f"/t/vision/{path}")
            assert answer is not None
            assert answer.status == 403, path
            assert not watched.axe(), path


@pytest.mark.parametrize("theme", THEMES)
def test_log_in_pages_and_dialogs_are_accessible(page: Page, world: World, theme: str) -> None:
    User.objects.filter(email=OWNER).update(theme=theme)
    with watch(page) as watched:
        page.goto("/accounts/login/")
        assert not watched.axe()
        page.goto("/accounts/password/reset/")
        assert not watched.axe()
        log_in(page, OWNER)
        for path in ("/t/vision/nothing/", "/t/nowhere/", "/accounts/logout/", "/accounts/password/change/"):
            page.goto(path)
            assert not watched.axe(), path
        page.goto("/t/vision/jobs/")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        assert not watched.axe()
        page.goto(f"/t/vision/jobs/{world.ids['running']}/")
        page.get_by_role("button", name="Cancel job").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert not watched.axe()
    assert not watched.complaints


def test_log_in_pages_use_the_products_words_and_the_api_page_keeps_the_policy(page: Page, world: World) -> None:
    with watch(page) as watched:
        page.goto("/accounts/login/")
        expect(page.locator("label")).to_have_text(["Email address", "Password", re.compile("Stay logged in")])
        page.goto("/accounts/password/reset/")
        expect(page.locator("label")).to_have_text("Email address")
        log_in(page, OWNER)
        page.goto("/accounts/password/change/")
        expect(page.locator("label")).to_have_text(["Current password", "New password", "Repeat the new password"])
        page.goto("/api/docs/")
        expect(page.get_by_role("heading", name="Exchequer").first).to_be_visible()
        watched.settle()
    assert not watched.complaints
