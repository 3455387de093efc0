"""Forms: bad input is kept and explained; refusals name cheaper alternatives; a form takes effect once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from playwright.sync_api import Page, Route, expect

from billing import queries as billing_queries
from billing.budgets import budgets
from compute.models import Job
from tenants import quotas
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Session, User
from tests.browser.actions import enter, log_in
from tests.browser.chromium import watch
from tests.browser.world import OWNER, World, second_price
from tests.support.factories import PASSWORD

DASH_CALLBACK = "**/_dash-update-component*"


@pytest.fixture
def owner(world: World) -> Actor:
    """Return the owner of the filled tenant as an actor."""
    user = User.objects.get(email=OWNER)
    return Actor.member(tenant_id=world.vision.id, user_id=user.id, email=OWNER, role="owner")


def open_launch(page: Page, world: World, arrive: Callable[[Page, str], None] = enter) -> None:
    arrive(page, OWNER)
    page.goto(f"/t/vision/jobs/new/?dataset={world.ids['dataset_version']}")
    expect(page.locator("#cost").get_by_text("of device time")).to_be_visible()


def jobs_named(world: World, name: str) -> int:
    with tenant_scope(world.vision.id):
        return Job.objects.filter(name=name).count()


def test_a_wrong_password_keeps_the_address_and_says_what_is_wrong(page: Page, world: World) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email address").fill(OWNER)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("is wrong")
    expect(page.get_by_label("Email address")).to_have_value(OWNER)


def test_the_launch_form_keeps_what_was_typed_and_marks_what_is_wrong(page: Page, world: World) -> None:
    with watch(page) as watched:
        open_launch(page, world)
        page.get_by_label("Epochs").fill("5000")
        page.get_by_label("Learning rate").fill("0.01")
        page.get_by_text("More settings").click()
        page.get_by_label("Dropout").fill("3")
        page.get_by_role("button", name="Launch").click()
        expect(page.get_by_role("alert")).to_contain_text("everything you typed is still here")
        expect(page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("Epochs")).to_have_value("5000")
        expect(page.locator("#id_p-epochs_error")).to_contain_text("less than or equal to 1000")
        expect(page.get_by_label("Learning rate")).to_have_value("0.01")
        expect(page.get_by_label("Dropout")).to_be_visible()
        expect(page.get_by_label("Dropout")).to_have_value("3")
        assert not watched.axe()
    assert not watched.complaints


def test_the_cost_follows_every_change_and_ctrl_enter_launches(page: Page, world: World) -> None:
    open_launch(page, world)
    expect(page.locator("#cost .x-cost-total")).to_have_text(re.compile(r"^\s*€[\d.]+ to €[\d.]+\s*$"))
    expect(page.locator("#cost")).to_contain_text(re.compile(r"typically, for \d+\ss to \d+\ss of device time"))
    before = page.locator("#cost").inner_text()
    page.get_by_label("Time limit (minutes)").fill("5")
    page.get_by_label("Time limit (minutes)").blur()
    expect(page.locator("#cost")).not_to_have_text(before, use_inner_text=True)
    expect(page.locator("#cost")).to_contain_text("5 min 00 s")
    expect(page.locator("#cost")).to_contain_text("€0.0005")
    for devices, shown in (("9", "No host has more than 4 devices"), ("2", "€0.001")):
        page.locator("#id_devices").fill(devices)
        page.locator("#id_devices").blur()
        expect(page.locator("#cost")).to_contain_text(shown)
    page.get_by_label("Name", exact=True).fill("by-keyboard")
    page.get_by_label("Name", exact=True).press("Control+Enter")
    page.get_by_role("heading", level=1, name="by-keyboard").wait_for()
    expect(page.locator("main")).to_contain_text("2 × CPU")
    assert jobs_named(world, "by-keyboard") == 1


def test_the_last_change_is_quoted_however_slow_the_answers_are(page: Page, world: World) -> None:
    open_launch(page, world)
    limit_field, held = page.get_by_label("Time limit (minutes)"), []
    page.route("**/jobs/new/quote/", lambda route: held.insert(0, route), times=1)
    for minutes in ("5", "6", "7"):
        limit_field.fill(minutes)
        limit_field.blur()
        page.wait_for_timeout(400)  # the form waits for 250 ms without a change
    held.pop().continue_()
    expect(page.locator("#cost")).to_contain_text("7 min 00 s")


def test_another_recipe_brings_its_own_targets(page: Page, world: World) -> None:
    open_launch(page, world)
    fitting = page.get_by_label("Target column").locator("option:not([disabled])")
    expect(fitting).to_have_count(2)
    refused = page.get_by_label("Target column").locator("option[disabled]", has_text="mean_radius")
    expect(refused).to_have_text("mean_radius: has 456 different values: a classifier supports at most 100 classes")
    page.get_by_role("radio", name="Table regressor").check()
    expect(fitting.filter(has_text="mean_radius")).to_have_count(1)
    expect(page.get_by_label("Balance classes")).to_have_count(0)


def limit(world: World, owner: Actor, project: UUID, at_limit: str) -> None:
    """Give a project the money of four thousand seconds, whatever budget it had."""
    with tenant_scope(world.vision.id):
        had = [one.id for one in billing_queries.budgets() if one.project_id == project]
    for budget_id in had:
        budgets.close_budget(actor=owner, budget_id=budget_id)
    budgets.create_budget(actor=owner, amount=second_price(world.vision) * 4000, at_limit=at_limit, project_id=project)


def test_a_launch_beyond_the_budget_is_refused_with_the_cheaper_ways(page: Page, world: World, owner: Actor) -> None:
    with tenant_scope(world.vision.id):
        project = Job.objects.get(id=world.ids["running"]).project_id
    limit(world, owner, project, "block_new")
    open_launch(page, world)
    page.get_by_label("Project").select_option(str(project))
    page.get_by_label("Time limit (minutes)").fill("60")
    page.get_by_label("Name", exact=True).fill("too-dear")
    page.get_by_label("Name", exact=True).blur()
    expect(page.locator("#cost")).to_contain_text("Does not fit the budget")
    page.get_by_role("button", name="Launch").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The budget has no headroom for this")
    expect(alert).to_contain_text("Lower the time limit")
    expect(page.get_by_label("Name", exact=True)).to_have_value("too-dear")
    assert jobs_named(world, "too-dear") == 0
    page.get_by_label("Time limit (minutes)").fill("1")
    page.get_by_role("button", name="Launch").click()
    page.get_by_role("heading", level=1, name="too-dear").wait_for()
    assert jobs_named(world, "too-dear") == 1


def test_a_launch_beyond_the_quota_is_refused_and_stores_nothing(page: Page, world: World, owner: Actor) -> None:
    quotas.set_limit(actor=owner, resource="device_hours:cpu", limit=0)
    before = _usage(world)
    open_launch(page, world)
    page.get_by_label("Name", exact=True).fill("one-too-many")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("alert")).to_contain_text("The quota is used up")
    assert jobs_named(world, "one-too-many") == 0
    assert _usage(world) == before


def test_a_form_that_is_sent_twice_launches_once(page: Page, world: World) -> None:
    """As by a browser that goes back to the page it has kept; which pages a browser keeps is its own affair."""
    open_launch(page, world, log_in)
    page.get_by_label("Name", exact=True).fill("only-once")
    with page.expect_request(lambda request: request.method == "POST" and "/jobs/new/" in request.url) as found:
        page.get_by_role("button", name="Launch").click()
    page.get_by_role("heading", level=1, name="only-once").wait_for()
    sent = found.value
    again = page.request.post(
        sent.url, data=sent.post_data_buffer, headers={"Content-Type": sent.headers["content-type"]}
    )
    assert (again.status, again.url) == (200, page.url)
    assert jobs_named(world, "only-once") == 1


def test_an_upload_without_a_file_keeps_the_name(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/datasets/upload/")
    page.get_by_label("Name", exact=True).fill("my table")
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#id_file_error")).to_contain_text("Choose a CSV or Parquet file")
    expect(page.get_by_label("Name", exact=True)).to_have_value("my table")


def test_settings_change_the_theme(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/settings/")
    page.get_by_label("Theme").select_option("dark")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_a_key_is_made_for_a_preset_and_shown_once(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/api-keys/")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Choose at least one preset")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("reporting")
    page.get_by_label("Read projects, usage, spend, budgets and quotas").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("shown only once")).to_be_visible()
    secret = page.locator("#secret").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    answer = page.request.get("/api/v1/me/", headers={"Authorization": f"Bearer {secret}"}).json()
    assert "spend.view" in answer["scopes"]
    assert "jobs.launch" not in answer["scopes"]
    page.goto("/t/vision/api-keys/")
    expect(page.get_by_role("cell", name="reporting").first).to_be_visible()
    expect(page.get_by_text("shown only once")).to_have_count(0)
    page.get_by_role("button", name="Revoke reporting").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Key revoked. Programs")).to_be_visible()
    assert page.request.get("/api/v1/me/", headers={"Authorization": f"Bearer {secret}"}).status == 401


def test_a_filter_that_matches_nothing_says_so_and_can_be_cleared(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/jobs/?search=nothing-like-it&state=failed")
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()
    expect(page.locator(".x-empty")).to_contain_text("nothing-like-it")
    page.locator(".x-empty").get_by_role("link", name="Clear filters").click()
    expect(page.get_by_role("link", name="cancer-final")).to_be_visible()


def _usage(world: World) -> list[quotas.QuotaUse]:
    with tenant_scope(world.vision.id):
        return list(quotas.usage())


def test_limits_below_the_estimate_are_warned_of_and_a_mistake_is_named(page: Page, world: World) -> None:
    open_launch(page, world)
    page.get_by_label("Cost limit").fill("0.000001")
    page.get_by_label("Cost limit").blur()
    expect(page.locator("#cost")).to_contain_text("Typically this costs")
    expect(page.locator("#cost")).to_contain_text("more than the €0.000001 it may cost")
    page.get_by_label("Name", exact=True).fill("named")
    page.get_by_label("Epochs").fill("5000")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("alert")).to_contain_text("Correct Epochs, marked below")


def test_a_dataset_chosen_by_hand_brings_its_target(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/jobs/new/")
    page.get_by_label("Dataset").select_option(str(world.ids["dataset_version"]))
    expect(page.get_by_label("Target column", exact=True)).to_have_value("target")


def test_a_file_beyond_the_limit_is_one_error(page: Page, world: World, tmp_path: Path) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/datasets/upload/")
    page.get_by_label("Name", exact=True).fill("too big")
    big = tmp_path / "big.csv"
    with big.open("wb") as file:
        file.truncate(60 * 2**20)
    page.locator("#id_file").set_input_files(big)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#id_file_error li")).to_have_count(1)
    expect(page.locator("#id_file_error")).to_contain_text("larger than 50 MiB")


def test_a_theme_can_follow_the_system_and_does_so_at_log_in(page: Page, world: World) -> None:
    User.objects.filter(email=OWNER).update(theme="light")
    page.emulate_media(color_scheme="dark")
    log_in(page, OWNER)
    page.goto("/t/vision/settings/")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.get_by_label("Theme").select_option("auto")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.context.clear_cookies()
    page.emulate_media(color_scheme="dark")
    page.goto("/accounts/login/")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_a_form_of_a_session_that_ended_leads_over_the_log_in_page_back_to_the_form(page: Page, world: World) -> None:
    open_launch(page, world)
    page.get_by_label("Name", exact=True).fill("too-late")
    Session.objects.all().delete()
    page.get_by_role("button", name="Launch").click()
    page.get_by_role("heading", level=1, name="Log in").wait_for()
    page.get_by_label("Email address").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", level=1, name="New job").wait_for()
    assert jobs_named(world, "too-late") == 0
    page.get_by_label("Name", exact=True).fill("stale")
    page.context.clear_cookies(name="csrftoken")
    page.get_by_role("button", name="Launch").click()
    page.get_by_role("link", name="Back to the form").click()
    page.get_by_role("heading", level=1, name="New job").wait_for()


def test_the_budget_of_a_project_is_shown_where_spend_is(page: Page, world: World, owner: Actor) -> None:
    with tenant_scope(world.vision.id):
        project = Job.objects.get(id=world.ids["running"]).project_id
    limit(world, owner, project, "notify")
    log_in(page, OWNER)
    expect(page.locator(".x-tiles")).to_contain_text("Tightest project budget: Research, ")
    page.goto("/t/vision/dash/spend/")
    page.get_by_text("All device time held").wait_for()
    rows = page.get_by_role("region", name=re.compile("Table: Budgets of")).get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.last).to_contain_text("Research")
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.get_by_label("Time range").select_option("7d")
    page.wait_for_url("**/accounts/login/?next=*spend*")  # and not the old figures below the new range
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    page.goto("/accounts/login/?next=/t/vision/")
    expect(page.get_by_text("Your session has ended.")).to_have_count(0)


def test_a_typed_name_is_kept_when_switching_the_kind_of_job(page: Page, world: World) -> None:
    open_launch(page, world)
    page.get_by_label("Name", exact=True).fill("november")
    page.get_by_role("link", name="Batch prediction").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("november")
    page.get_by_role("link", name="Training").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("november")


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", ["spend", "health"])
def test_filters_wait_until_the_address_has_set_them(page: Page, name: str) -> None:
    enter(page, OWNER)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(DASH_CALLBACK, hold)
    with page.expect_request(DASH_CALLBACK):
        page.goto(f"/t/vision/dash/{name}/")
    expect(page.get_by_label("Time range")).to_be_disabled()  # a choice made now would be overwritten
    page.route(DASH_CALLBACK, lambda route: route.continue_())
    for route in held:
        route.continue_()
    expect(page.get_by_label("Time range")).to_be_enabled()
