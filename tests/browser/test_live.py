"""Live parts: polling that the server ends, errors that leave the page intact, expired sessions, keyboard shortcuts."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from playwright.sync_api import Page, Request, Route, expect

from compute.jobs import jobs, transitions
from compute.models import Attempt, Outcome
from models_app.models import DatasetVersion
from tenants.access.actor import Actor
from tenants.audit import operation
from tenants.isolation.scoping import tenant_scope
from tenants.models import Session, User
from tests.browser.actions import enter, log_in
from tests.browser.chromium import watch
from tests.browser.conftest import SLOW_MS
from tests.browser.world import OWNER, World
from tests.support.factories import PASSWORD


def cancel(world: World, job_id: UUID) -> None:
    user = User.objects.get(email=OWNER)
    actor = Actor.member(tenant_id=world.vision.id, user_id=user.id, email=OWNER, role="owner")
    jobs.cancel(actor=actor, job_id=job_id)


@operation(transitions.ATTEMPT_ENDED)
def stop(*, actor: Actor, job_id: UUID) -> None:
    """End the job's attempt, as its node does once the child is gone."""
    job = transitions.lock(job_id)
    attempt = Attempt.objects.exclude(state="ended").get(job_id=job_id)
    assert job is not None
    transitions.end_attempt(job, attempt, Outcome.CANCELLED, actor=actor)


def polls(page: Page, part: str) -> list[Request]:
    """Collect the page's future requests with this path suffix."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request) if request.url.partition("?")[0].endswith(part) else None)
    return seen


def wait_for(page: Page, ready: Callable[[], object]) -> None:
    """Keep the page running until something has happened, which the caller asserts."""
    give_up = time.monotonic() + SLOW_MS / 1000
    while not ready() and time.monotonic() < give_up:
        page.wait_for_timeout(100)


def test_only_rows_under_way_poll_and_the_last_answer_ends_it(page: Page, world: World) -> None:
    enter(page, OWNER)
    asked = polls(page, "/row/")
    page.goto("/t/vision/jobs/")
    wanted = {f"/jobs/{world.ids[name]}/row/" for name in ("running", "queued")}
    wait_for(page, lambda: len({request.url for request in asked}) >= len(wanted))
    page.wait_for_timeout(3600)
    assert {request.url.partition("/vision")[2] for request in asked} == wanted
    for name in ("running", "queued"):
        cancel(world, world.ids[name])
    expect(page.get_by_role("table").get_by_text("Cancelled")).to_have_count(3)
    asked.clear()
    page.wait_for_timeout(3600)
    assert not asked


def test_the_page_of_a_job_ends_its_polling_with_the_job(page: Page, world: World) -> None:
    enter(page, OWNER)
    asked = polls(page, "/live/")
    page.goto(f"/t/vision/jobs/{world.ids['running']}/")
    wait_for(page, lambda: asked)
    assert asked
    cancel(world, world.ids["running"])
    expect(page.get_by_role("status").get_by_text("The job has ended: cancelled.")).to_have_count(1)
    expect(page.get_by_role("button", name="Cancel job")).to_have_count(0)
    expect(page.get_by_text("no checkpoint yet")).to_have_count(0)
    expect(page.get_by_text("Cost so far")).to_have_count(1)
    asked.clear()
    wait_for(page, lambda: asked)
    assert asked, "its last seconds are not billed yet"
    stop(actor=Actor.system(world.vision.id, "node"), job_id=world.ids["running"])
    expect(page.get_by_text("Cost so far")).to_have_count(0)
    asked.clear()
    page.wait_for_timeout(2600)
    assert not asked


def test_one_503_leaves_the_page_as_it_is_and_polling_goes_on(page: Page, world: World) -> None:
    enter(page, OWNER)
    with watch(page) as watched:
        page.goto(f"/t/vision/jobs/{world.ids['running']}/")
        refused: list[Route] = []

        def away(route: Route) -> None:
            route.fulfill(status=503, body="<h1>away</h1>")
            refused.append(route)

        page.route("**/live/?*", away)
        wait_for(page, lambda: refused)
        assert refused
        page.wait_for_timeout(600)
        expect(page.get_by_text("Cost so far")).to_be_visible()
        expect(page.get_by_text("away")).to_have_count(0)
        expect(page.locator("#toasts")).to_be_empty()
        page.unroute("**/live/?*")
        asked = polls(page, "/live/")
        wait_for(page, lambda: asked)
        assert asked
    assert not watched.complaints


def test_a_failed_request_shows_a_toast(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto(f"/t/vision/jobs/new/?dataset={world.ids['dataset_version']}")
    expect(page.locator("#cost").get_by_text("of device time")).to_be_visible()
    page.route("**/quote/", lambda route: route.fulfill(status=500, body="<h1>broken</h1>"))
    page.get_by_label("Epochs").fill("10")
    page.get_by_label("Epochs").blur()
    expect(page.locator("#toasts")).to_contain_text("Request failed")
    expect(page.get_by_text("broken")).to_have_count(0)


def test_a_dead_session_leads_to_the_log_in_page(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto(f"/t/vision/jobs/{world.ids['running']}/")
    Session.objects.all().delete()
    expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible()
    page.get_by_label("Email address").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", level=1, name="cancer-nightly").wait_for()
    assert page.url.endswith(f"/t/vision/jobs/{world.ids['running']}/")


def test_keys_lead_around_and_stay_out_of_fields(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.get_by_role("heading", level=1, name="Jobs").wait_for()
    page.wait_for_load_state("load")  # from then on key presses arrive
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.selected")).to_contain_text("cancer-nightly")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("c?gj")
    expect(page.get_by_label("Search")).to_have_value("c?gj")
    page.goto("/t/vision/jobs/")
    page.keyboard.press("c")
    page.get_by_role("heading", level=1, name="New job").wait_for()


def test_ctrl_k_finds_pages_and_things_by_the_keyboard_alone(page: Page, world: World) -> None:
    log_in(page, OWNER)
    page.goto("/t/vision/jobs/")
    page.keyboard.press("Control+k")
    found = page.locator("#palette-found")
    expect(found.get_by_role("link", name="Budgets")).to_be_visible()
    page.keyboard.type("cancer-sc")
    expect(found.get_by_role("link")).to_have_count(1)
    expect(found).to_contain_text("Endpoint")
    page.keyboard.press("ArrowDown")
    expect(found.get_by_role("link")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Control+k")
    page.keyboard.type("no such thing")
    expect(found.get_by_role("link")).to_have_count(0)
    page.keyboard.press("Control+k")
    page.keyboard.type("budg")
    expect(found.get_by_role("link")).to_have_count(1)
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Budgets").wait_for()


def test_keys_pressed_as_the_page_becomes_ready_are_not_lost(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => document.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'k', ctrlKey: true})))"
    )
    page.goto("/t/vision/jobs/")
    expect(page.locator("#palette-found").get_by_role("link", name="Budgets")).to_be_visible()


def test_a_job_is_paused_and_resumed_from_its_page(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto(f"/t/vision/jobs/{world.ids['queued']}/")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused. Nothing is charged while it is paused.")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Resumed. It waits for a device")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_cancel_asks_first_and_leads_back(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto(f"/t/vision/jobs/{world.ids['running']}/")
    page.get_by_role("button", name="Cancel job").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("not needed any more")
    page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
    expect(page.get_by_text("Cancelled. You pay for the seconds until it stops")).to_be_visible()
    page.goto(f"/t/vision/jobs/{world.ids['running']}/?tab=events")
    expect(page.get_by_text("compute.job.cancelled")).to_be_visible()


def test_a_dataset_shows_its_profile_once_it_has_been_read(page: Page, world: World) -> None:
    with tenant_scope(world.vision.id):
        DatasetVersion.objects.filter(id=world.ids["dataset_version"]).update(state="ingesting")
    enter(page, OWNER)
    page.goto(f"/t/vision/datasets/{world.ids['dataset']}/")
    expect(page.get_by_text("Reading the file.")).to_be_visible()
    expect(page.get_by_text("Predictive power:")).to_have_count(0)
    with tenant_scope(world.vision.id):
        DatasetVersion.objects.filter(id=world.ids["dataset_version"]).update(state="ready")
    expect(page.get_by_text("Predictive power:")).to_be_visible()
    expect(page.get_by_text("Reading the file.")).to_have_count(0)


def test_each_line_of_a_log_stands_on_its_own(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto(f"/t/vision/jobs/{world.ids['succeeded']}/?tab=logs")
    lines = page.get_by_role("log").locator(":scope > div")
    assert lines.count() > 1
    tops = [lines.nth(number).bounding_box()["y"] for number in range(lines.count())]  # type: ignore[index]
    assert sorted(set(tops)) == tops, "each begins below the one before"
