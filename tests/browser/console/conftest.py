"""The operators' console as a process of its own, and a tab at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from django.contrib.auth.hashers import make_password
from django.test import override_settings
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser import chromium
from tests.browser.conftest import SLOW_MS
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.browser.world import World

ROOT = Path(__file__).resolve().parents[3]
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def console_site(
    world: World, as_control: Control, process_environment: Callable[..., dict[str, str]]
) -> Iterator[str]:
    """The URL of the console, served by the shipped web server with the operators' role."""
    from tenants.models import User
    from tests.browser.world import OPERATOR
    from tests.support.factories import PASSWORD

    # A process of its own knows the product's hasher alone, not the fast one of the tests.
    with as_control(), override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.Argon2PasswordHasher"]):
        User.objects.filter(email=OPERATOR).update(password=make_password(PASSWORD))
    port = free_port()
    environment = process_environment("operator", EXCHEQUER_DEMO="1")
    del environment["SECRET_KEY"]
    command = [sys.executable, "-m", "deploy.server.web", "--port", str(port), "--processes", "1"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            with urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 (a fixed loopback address)
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(ready, "the console")
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def console_page(browser: Browser, console_site: str) -> Iterator[Page]:
    """A tab in a browser profile of its own, at the console."""
    fresh: BrowserContext = browser.new_context(
        viewport=chromium.VIEWPORT, base_url=console_site, reduced_motion="reduce", accept_downloads=True
    )
    fresh.set_default_timeout(SLOW_MS)
    yield fresh.new_page()
    fresh.close()
