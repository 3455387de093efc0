"""On a version's page: approve it with its typed name, and launch a batch prediction with it."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from compute.models import Job
from models_app.models import ModelVersion
from tenants.isolation.scoping import tenant_scope
from tests.browser.actions import enter
from tests.browser.chromium import watch
from tests.browser.world import ENGINEER, OWNER, World


def test_from_the_version_to_a_quoted_batch_prediction_in_the_queue(page: Page, world: World) -> None:
    with watch(page) as watched:
        enter(page, ENGINEER)
        page.goto(f"/t/vision/models/versions/{world.ids['version']}/")
        page.get_by_role("link", name="Batch prediction").click()
        expect(page.get_by_role("heading", name="New job")).to_be_visible()
        expect(page.get_by_label("Model version")).to_have_value(str(world.ids["version"]))
        expect(page.get_by_label("Name", exact=True)).to_have_value(re.compile(r"^cancer v\d+ batch$"))
        expect(page.locator("#cost")).to_contain_text("Choose a version and a dataset")
        page.get_by_label("Dataset").select_option(label=_label(page, "diabetes"))
        expect(page.locator("#cost")).to_contain_text("The model needs columns that the dataset does not have")
        page.get_by_role("button", name="Launch").click()
        expect(page.locator("#id_dataset_error")).to_contain_text("'mean_radius'")
        page.get_by_label("Dataset").select_option(label=_label(page, "breast-cancer"))
        expect(page.locator("#cost .x-cost-total")).to_have_text(re.compile(r"^\s*€[\d.]+ to €[\d.]+\s*$"))
        assert not watched.axe()
        page.get_by_role("button", name="Launch").click()
        expect(page.locator("#job-live")).to_contain_text("Queued")
        expect(page.get_by_text("Loss", exact=True)).to_have_count(0)
    assert not watched.complaints
    with tenant_scope(world.vision.id):
        job = Job.objects.get(kind="batch_predict", state="queued")
        assert job.spec["model_version"] == str(world.ids["version"])
        assert job.hold_id is not None


def test_a_clone_of_a_batch_prediction_opens_its_own_form(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto(f"/t/vision/jobs/{world.ids['batch']}/")
    expect(page.get_by_role("link", name="Download CSV")).to_be_visible()
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("cancer-november")
    expect(page.get_by_label("Dataset")).to_have_value(str(world.ids["dataset_version"]))
    expect(page.locator("#cost")).to_contain_text("of device time")


def test_the_approver_types_the_name_and_the_version_is_in_production(page: Page, world: World) -> None:
    enter(page, OWNER)
    page.goto("/t/vision/models/")
    page.get_by_role("region", name="Table: Waiting for approval").get_by_role("link").click()
    expect(page.get_by_text("Waiting for approval.")).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Type").fill("cancer")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("to confirm")
    with tenant_scope(world.vision.id):
        version = ModelVersion.objects.select_related("model").get(id=world.ids["version"])
        assert version.stage == "registered"
        name = str(version)
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Type").fill(name)
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_text(f"{name} is in stage production.")).to_be_visible()
    expect(page.locator("main")).to_contain_text(re.compile(rf"Approved\s*{re.escape(OWNER)}"))
    with tenant_scope(world.vision.id):
        assert ModelVersion.objects.get(id=version.id).approved_by_label == OWNER


def _label(page: Page, dataset: str) -> str:
    """Return the full text of a dataset's option."""
    options = page.get_by_label("Dataset").locator("option")
    return next(text for text in options.all_inner_texts() if text.startswith(dataset))
