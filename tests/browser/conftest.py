"""A real server in a thread, the operators' console as a process of its own, and a real browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Lock, Thread, get_ident
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import psycopg
import pytest
from django.contrib.auth.hashers import make_password
from django.db import connections
from django.test import override_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect
from waitress import wasyncore
from waitress.server import create_server

from tests.browser import chromium
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from tests.browser.world import World

Control = Callable[[], AbstractContextManager[None]]
ROOT = Path(__file__).resolve().parents[2]

SLOW_MS = 60_000
"""For any page to finish: a loaded machine is slow, not wrong."""


class _Site:
    """The product in this process, and the requests that it is answering."""

    def __init__(self, application: Any) -> None:
        self._application, self._lock = application, Lock()
        self._connections: dict[int, BaseDatabaseWrapper] = {}
        self.under_way = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with self._lock:
            self.under_way += 1
            self._connections[get_ident()] = connections["default"]
        try:
            answer = self._application(environ, start_response)
            body = b"".join(answer)
            if hasattr(answer, "close"):
                answer.close()
            return [body]
        finally:
            with self._lock:
                self.under_way -= 1

    def close(self) -> None:
        """End the connections of all threads; Django lets each thread close its own alone."""
        for wrapper in self._connections.values():
            if wrapper.connection is not None:
                wrapper.connection.close()


@pytest.fixture(scope="session")
def _server(django_db_setup: None) -> Iterator[tuple[Any, _Site]]:
    """The shipped web server in a thread. All tests of a worker share it, since its connections know their tables by then."""
    from config.wsgi import application

    served = _Site(application)
    server: Any = create_server(served, host="127.0.0.1", port=0, threads=6, clear_untrusted_proxy_headers=True)
    over = Event()

    def run() -> None:
        while not over.is_set():
            wasyncore.loop(timeout=0.2, map=server._map, count=1)

    thread = Thread(target=run, daemon=True)
    thread.start()
    yield server, served
    # In this order: worker threads wake the loop by a pipe, and the loop reads sockets; both must outlive them.
    server.task_dispatcher.shutdown()
    over.set()
    thread.join(5)
    for channel in list(server.active_channels.values()):
        channel.handle_close()  # also closes its unsent data
    wasyncore.close_all(server._map, ignore_all=True)
    served.close()


@pytest.fixture
def site(transactional_db: None, _server: tuple[Any, _Site]) -> Iterator[str]:
    """The URL of the product on this worker's database; no request of the test outlives it."""
    server, served = _server
    yield f"http://127.0.0.1:{server.effective_port}"
    wait_until(lambda: not served.under_way and not server.active_channels, "the end of the last request")


@pytest.fixture
def world(once_made: Callable[..., World], superuser: psycopg.Connection, as_control: Control) -> Iterator[World]:
    """A filled and an empty tenant as on the first day; the clock is reset afterwards."""
    from tests.browser.world import NOW, Builder, set_clock

    found = once_made("world", Builder(superuser, as_control).build)
    set_clock(superuser, NOW)
    yield found
    superuser.execute("DELETE FROM demo_clock")


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    """A new browser profile with the site's URL."""
    fresh = browser.new_context(
        viewport=chromium.VIEWPORT, base_url=site, reduced_motion="reduce", accept_downloads=True
    )
    fresh.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    yield fresh
    expect.set_options(timeout=None)
    fresh.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab."""
    return context.new_page()


@pytest.fixture(scope="session")
def console_process(process_environment: Callable[..., dict[str, str]]) -> Iterator[str]:
    """The URL of the console, served by the shipped web server with the operators' role.

    One process for all tests of a worker: its start takes longer than most of them.
    """
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
def console_site(world: World, console_process: str, as_control: Control) -> str:
    """The URL of the console, where the world's operator can log in."""
    from tenants.models import User
    from tests.browser.world import OPERATOR
    from tests.support.factories import PASSWORD

    # A process of its own knows the product's hasher alone, not the fast one of the tests.
    with as_control(), override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.Argon2PasswordHasher"]):
        User.objects.filter(email=OPERATOR).update(password=make_password(PASSWORD))
    return console_process


@pytest.fixture
def console_page(browser: Browser, console_site: str) -> Iterator[Page]:
    """A tab in a browser profile of its own, at the console."""
    fresh: BrowserContext = browser.new_context(
        viewport=chromium.VIEWPORT, base_url=console_site, reduced_motion="reduce", accept_downloads=True
    )
    fresh.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    yield fresh.new_page()
    expect.set_options(timeout=None)
    fresh.close()
