"""Input survives a session that ends before the form is sent; nothing secret does, and nothing of another person."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tenants.models import Session
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.world import NEWCOMER, OWNER, World
from tests.support.factories import PASSWORD

NOTICE = "We kept your input"


def come_back(page: Page, email: str = OWNER) -> None:
    """Log in on the page of the redirect."""
    page.get_by_role("heading", level=1, name="Log in").wait_for()
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def fill_launch(page: Page, world: World) -> None:
    """Fill the form with a recipe, a dataset and settings other than the defaults."""
    page.goto("/t/vision/jobs/new/")
    page.get_by_label("Dataset").select_option(str(world.ids["dataset_version"]))
    expect(page.get_by_label("Target column", exact=True)).to_have_value("target")
    page.get_by_role("radio", name="Table regressor").check()
    page.get_by_label("Target column", exact=True).select_option("mean_radius")
    page.get_by_label("Name", exact=True).fill("typed-with-care")
    page.get_by_label("Epochs").fill("77")
    page.get_by_text("More settings").click()
    page.get_by_label("Dropout").fill("0.25")
    page.get_by_label("Time limit (minutes)").fill("7")
    page.get_by_label("Cost limit").fill("1.5")
    page.get_by_label("Cost limit").blur()
    expect(page.locator("#cost")).to_contain_text("7 min 00 s")


def expect_launch(page: Page, world: World) -> None:
    """Wait until the form shows the input of `fill_launch`, and its price."""
    expect(page.get_by_text(NOTICE)).to_be_visible()
    expect(page.get_by_label("Dataset")).to_have_value(str(world.ids["dataset_version"]))
    expect(page.get_by_role("radio", name="Table regressor")).to_be_checked()
    expect(page.get_by_label("Target column", exact=True)).to_have_value("mean_radius")
    expect(page.get_by_label("Name", exact=True)).to_have_value("typed-with-care")
    expect(page.get_by_label("Epochs")).to_have_value("77")
    expect(page.get_by_label("Dropout")).to_have_value("0.25")
    expect(page.get_by_label("Time limit (minutes)")).to_have_value("7")
    expect(page.get_by_label("Cost limit")).to_have_value("1.5")
    expect(page.locator("#cost")).to_contain_text("7 min 00 s")


@pytest.mark.parametrize("ends", ["cookie", "at a change of a field"])
def test_a_launch_whose_session_ended_is_typed_once(page: Page, world: World, ends: str) -> None:
    with watch(page) as watched:
        enter(page, OWNER)
        fill_launch(page, world)
        if ends == "cookie":
            page.context.clear_cookies(name="exchequer")
            page.get_by_role("button", name="Launch").click()
        else:
            Session.objects.all().delete()
            page.get_by_label("Cost limit").dispatch_event("change")
        come_back(page)
        expect_launch(page, world)
        assert not watched.axe()
        page.get_by_role("button", name="Launch").click()
        page.get_by_role("heading", level=1, name="typed-with-care").wait_for()
        assert page.evaluate("Object.keys(sessionStorage).length") == 0
        page.goto("/t/vision/jobs/new/")
        expect(page.get_by_label("Name", exact=True)).to_have_value("")
        expect(page.get_by_text(NOTICE)).to_be_hidden()
    assert not watched.complaints


def test_a_form_whose_token_is_stale_is_typed_once(page: Page, world: World) -> None:
    enter(page, OWNER)
    fill_launch(page, world)
    page.context.clear_cookies(name="csrftoken")
    page.get_by_role("button", name="Launch").click()
    page.get_by_role("link", name="Back to the form").click()
    expect_launch(page, world)


def test_nothing_secret_is_kept_and_nothing_for_another_person(page: Page, world: World) -> None:
    enter(page, OWNER)
    fill_launch(page, world)
    key = page.locator("input[name=key]").input_value()
    token = page.locator("#launch input[name=csrfmiddlewaretoken]").input_value()
    page.context.clear_cookies(name="exchequer")
    page.get_by_role("button", name="Launch").click()
    page.get_by_role("heading", level=1, name="Log in").wait_for()
    kept = page.evaluate("JSON.stringify(sessionStorage)")
    assert "typed-with-care" in kept
    assert key not in kept and token not in kept and "csrf" not in json.dumps(json.loads(kept))
    page.get_by_label("Password").fill("wrong, and nobody's business")
    page.get_by_label("Email address").fill(OWNER)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("is wrong")
    kept = page.evaluate("JSON.stringify(sessionStorage)")
    assert "typed-with-care" in kept and "business" not in kept
    come_back(page, NEWCOMER)
    page.get_by_role("heading", level=1).filter(has_not_text="Log in").wait_for()
    page.goto("/accounts/password/change/")
    page.goto("/t/audio/")
    assert page.evaluate("Object.keys(sessionStorage).length") == 0


def test_what_was_sent_or_left_or_logged_out_of_is_not_kept(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/settings/")
    page.locator("#id_name").fill("Olga")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_text(NOTICE).locator("visible=true")).to_have_count(0)
    fill_launch(page, world)
    page.get_by_role("link", name="Datasets").first.click()
    page.get_by_role("heading", level=1, name="Datasets").wait_for()
    assert page.evaluate("Object.keys(sessionStorage).length") == 0
    fill_launch(page, world)
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", level=1).filter(has_not_text="New job").wait_for()
    page.goto("/accounts/login/")
    assert "typed-with-care" not in page.evaluate("JSON.stringify(sessionStorage)")
