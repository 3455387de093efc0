"""Actions of a person on many pages."""

from __future__ import annotations

from django.test import Client
from playwright.sync_api import Page

from tests.support.factories import PASSWORD


def enter(page: Page, email: str, password: str = PASSWORD) -> None:
    """Log in beside the browser, and give it the cookies: what is tested begins on another page."""
    client = Client()
    client.get("/accounts/login/")
    assert client.post("/accounts/login/", {"login": email, "password": password}).status_code == 302
    page.context.add_cookies(
        [
            {"name": name, "value": cookie.value, "domain": "127.0.0.1", "path": "/"}
            for name, cookie in client.cookies.items()
        ]
    )


def log_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Log in as a person does, and wait for the page that it leads to."""
    page.goto("/accounts/login/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", level=1).filter(has_not_text="Log in").wait_for()
