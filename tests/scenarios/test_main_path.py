"""The main path as its user walks it: `make up`, a browser, three real tables, the bill, the log, the dashboard."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import VIEWPORT, watch
from tests.datasets import TARGET, write_csv
from tests.scenarios.stack import Stack, running_stack

#: dataset: (recipe, held-out metric, what it must reach)
WANTED = {
    "breast_cancer": ("tabular.classifier", "accuracy", 0.9),
    "digits": ("tabular.classifier", "accuracy", 0.9),
    "diabetes": ("tabular.regressor", "r2", 0.4),
}
TRAINING_MS = 180_000


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack() as running:
        yield running


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    context = browser.new_context(base_url=stack.url, viewport=VIEWPORT)
    yield context.new_page()
    context.close()


def log_in(page: Page, stack: Stack) -> None:
    page.goto("/")
    page.get_by_label("Email").fill(stack.email)
    page.get_by_label("Password").fill(stack.password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/t/lab/$"))


def upload(page: Page, path: Path) -> None:
    page.goto("/t/lab/datasets/upload/")
    page.locator("#id_name").fill(path.stem)
    page.locator("#id_file").set_input_files(path)
    page.locator("#id_target").fill(TARGET)
    page.locator("main").get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(path.stem)
    expect(page.locator("main")).to_contain_text("Ready", timeout=60_000)
    expect(page.locator("main")).to_contain_text("target")


def train(page: Page, name: str, recipe: str) -> str:
    page.goto("/t/lab/jobs/new/")
    page.locator("#id_name").fill(f"{name}-baseline")
    page.locator(f"input[name=recipe][value='{recipe}']").check()
    dataset = page.locator("#id_dataset")
    dataset.select_option(
        label=next(text for text in dataset.locator("option").all_inner_texts() if text.startswith(name))
    )
    expect(page.locator("#cost")).to_contain_text("EUR", timeout=10_000)
    page.get_by_role("button", name="Launch").click()
    expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}/"))
    job_id = re.search(r"/jobs/([0-9a-f-]{36})/", page.url)
    assert job_id is not None
    main = page.locator("main")
    expect(main).to_contain_text("Running", timeout=30_000)
    expect(main).to_contain_text(re.compile("epoch", re.IGNORECASE), timeout=60_000)
    expect(main).to_contain_text("Succeeded", timeout=TRAINING_MS)
    return job_id.group(1)


def test_a_newcomer_trains_three_models_and_finds_every_second_on_the_bill(
    page: Page, stack: Stack, tmp_path: Path
) -> None:
    with watch(page) as watched:
        log_in(page, stack)
        jobs = {}
        for name, (recipe, metric, wanted) in WANTED.items():
            upload(page, write_csv(name, tmp_path))
            jobs[name] = stack.job(train(page, name, recipe))
            reached = jobs[name]["metrics"][metric]
            assert reached > wanted, f"{name}: {metric} {reached}"

        billed = sum(Decimal(job["billed_seconds"]) for job in jobs.values())
        invoice = stack.get("invoices/")["results"][0]
        (line,) = stack.get(f"invoices/{invoice['id']}/lines/")["results"]
        assert invoice["state"] == "draft"
        assert Decimal(line["quantity"]) == billed
        exact = billed * Decimal(line["unit_amount"]["amount"])
        assert Decimal(line["exact"]["amount"]) == exact
        assert abs(Decimal(line["amount"]["amount"]) - exact) <= Decimal("0.005")
        assert Decimal(invoice["total"]["amount"]) == Decimal(line["amount"]["amount"]) > 0

        page.goto("/t/lab/invoice/")
        expect(page.locator("main")).to_contain_text("Device time")
        page.goto(f"/t/lab/invoices/{invoice['id']}/lines/1/")
        for job in jobs.values():
            expect(page.locator(f"main a[href$='/jobs/{job['id']}/']").first).to_be_visible()

        page.goto("/t/lab/audit/")
        for action in ("models_app.dataset.", "compute.job.submitted", "tenants.tenant.created"):
            expect(page.locator("main")).to_contain_text(action)
        assert stack.get("audit/verify/")["ok"] is True

        page.goto("/t/lab/dash/spend/")
        expect(page.locator("main")).to_contain_text("breast_cancer-baseline", timeout=20_000)
        expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=20_000)
    assert watched.complaints == []
    assert "Traceback" not in stack.log("web")


def test_the_books_agree_and_commands_say_so(stack: Stack) -> None:
    for command in ("verify_audit", "verify_ledger", "reconcile", "doctor"):
        done = stack.manage(command)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
