"""Actions of a person on many pages."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.support.factories import PASSWORD


def log_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Log in by the form, as a person does."""
    page.goto("/accounts/login/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", level=1).filter(has_not_text="Log in").wait_for()
