"""User flows in a browser on a running installation, and faults that must not occur."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

from playwright.sync_api import Browser, Page, Response, expect

from tests.browser.chromium import VIEWPORT, watch
from tests.scenarios.stack import Stack
from tests.support.datasets import TARGET
from tests.support.waiting import wait_until

SLOW_MS = 60_000
"""For steps of another process: the machine may be loaded."""
WAIT_S = SLOW_MS // 1000
TRAINING_MS = 300_000


@contextmanager
def walking(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A person's own browser; fails at the end if a script, the content policy or the server failed meanwhile."""
    context = browser.new_context(base_url=stack.url, viewport=VIEWPORT, accept_downloads=True)
    context.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    page = context.new_page()
    broken: list[str] = []

    def look(answer: Response) -> None:
        if answer.status >= 500:
            broken.append(f"{answer.status} {answer.request.method} {answer.url}")

    page.on("response", look)
    try:
        with watch(page) as watched:
            yield page
        assert not broken
        assert not watched.complaints
    finally:
        expect.set_options(timeout=None)
        context.close()


def log_in(page: Page, email: str, password: str, slug: str) -> None:
    """Log in by the form."""
    page.goto("/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(rf"/t/{slug}/$"))


def upload(page: Page, path: Path, slug: str) -> None:
    """Upload a table whose last column is the target, and wait until it has been read."""
    page.goto(f"/t/{slug}/datasets/upload/")
    page.locator("#id_name").fill(path.stem)
    page.locator("#id_file").set_input_files(path)
    page.locator("#id_target").fill(TARGET)
    page.locator("main").get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(path.stem)
    expect(page.locator("main")).to_contain_text("Ready")
    expect(page.locator("main")).to_contain_text("target")


def launch(page: Page, dataset: str, recipe: str, slug: str) -> str:
    """Launch a training by the form, after it has shown the cost; return the job's id."""
    page.goto(f"/t/{slug}/jobs/new/")
    page.locator("#id_name").fill(f"{dataset}-baseline")
    page.locator(f"input[name=recipe][value='{recipe}']").check()
    choose(page, "#id_dataset", dataset)
    expect(page.locator("#cost")).to_contain_text("€")
    page.get_by_role("button", name="Launch").click()
    return job_id(page)


def choose(page: Page, field: str, begins: str) -> None:
    """Choose the option of a field that starts with this text."""
    option = page.locator(field).locator("option", has_text=re.compile(rf"^\s*{re.escape(begins)}")).first
    option.wait_for(state="attached")
    page.locator(field).select_option(option.get_attribute("value"))


def job_id(page: Page) -> str:
    """Return the id of the job whose page opens."""
    expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}/"))
    return page.url.partition("/jobs/")[2][:36]


def succeeded(page: Page) -> None:
    """Wait until the job of the open page has succeeded; the page updates automatically."""
    expect(page.locator("main")).to_contain_text("Succeeded", timeout=TRAINING_MS)


def join(page: Page, stack: Stack, email: str, role: str, slug: str) -> None:
    """Follow the link of an invitation email and create an account."""
    stack.post("invitations/", json={"email": email, "role": role})

    def link() -> str:
        for file in (stack.home / "mail").glob("*.eml"):
            letter = message_from_bytes(file.read_bytes(), policy=policy.default)
            found = re.search(r"http\S+/accounts/invitation/\S+", letter.get_content())  # type: ignore[attr-defined]
            if letter["To"] == email and found:
                return found[0]
        return ""

    page.goto(wait_until(link, f"the letter to {email}", WAIT_S))
    page.get_by_label("Your name").fill(email.partition("@")[0].title())
    page.get_by_label("Password").fill(stack.password)
    page.get_by_role("button", name="Create my account").click()
    expect(page).to_have_url(re.compile(rf"/t/{slug}/$"))


def promote(engineer: Page, admin: Page, version_id: str, slug: str) -> str:
    """Take a version to staging, request production, and approve it; return the version's name."""
    page = f"/t/{slug}/models/versions/{version_id}/"
    engineer.goto(page)
    engineer.get_by_role("button", name="Move to staging").click()
    expect(engineer.get_by_role("status").first).to_contain_text("is in stage staging")
    name = engineer.get_by_role("heading", level=1).inner_text().replace("\n", " ")
    engineer.get_by_role("button", name="Ask for production").click()
    dialog = engineer.get_by_role("dialog")
    dialog.get_by_role("button", name="Ask", exact=True).click()
    expect(engineer.get_by_role("status").first).to_contain_text("is waiting for approval")
    expect(engineer.get_by_role("button", name="Approve")).to_have_count(0)

    admin.goto(f"/t/{slug}/models/")
    admin.get_by_role("region", name="Table: Waiting for approval").get_by_role("link").first.click()
    admin.get_by_role("button", name="Approve").click()
    dialog = admin.get_by_role("dialog")
    dialog.get_by_label("Type").fill("something else")
    dialog.get_by_role("button", name="Approve").click()
    expect(admin.get_by_role("alert")).to_contain_text("Nothing was changed")
    admin.get_by_role("button", name="Approve").click()
    dialog.get_by_label("Type").fill(name)
    dialog.get_by_role("button", name="Approve").click()
    expect(admin.get_by_text(f"{name} is in stage production.")).to_be_visible()
    expect(admin.locator("main")).to_contain_text("Approved")
    return name
