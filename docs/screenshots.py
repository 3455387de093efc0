"""Take the pictures of README and documents: `python docs/screenshots.py [NAME ...]` writes `docs/pictures/NAME-THEME.png`.

Everything is thrown away afterwards: services, database, browser. The tenant, its clock and the list of pages are
those of the browser tests, so no page is pictured and not checked, and a picture never goes stale unseen.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # noqa: TID251  Playwright keeps an event loop in this thread

from tests.support.environment import use_test_environment  # noqa: E402  (before anything reads the settings)

SESSION = use_test_environment()


@contextmanager
def control() -> Iterator[None]:
    """Work as the controller's role for a while."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET ROLE exchequer_control")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_app")


@contextmanager
def site() -> Iterator[tuple[str, Any]]:
    """Serve the filled tenant; yield the address and the world."""
    from waitress.server import create_server

    from config.wsgi import application
    from tests.browser.world import Builder
    from tests.support.database import provide

    name = provide(SESSION, "pictures")
    with SESSION.cluster.superuser(name) as admin:
        world = Builder(admin, control).build()
        server: Any = create_server(application, host="127.0.0.1", port=0, threads=6)
        threading.Thread(target=server.run, daemon=True).start()
        yield f"http://127.0.0.1:{server.effective_port}", world
        server.close()


def take(wanted: set[str]) -> list[Path]:
    """Take the wanted pictures (all, when none is named) in both themes; return their paths."""
    from playwright.sync_api import expect, sync_playwright

    from tenants.models import User
    from tests.browser import chromium
    from tests.browser.actions import log_in
    from tests.browser.pages import PAGES, THEMES
    from tests.browser.world import OWNER

    taken = []
    PICTURES.mkdir(exist_ok=True)
    with site() as (address, world), sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        for theme in THEMES:
            User.objects.filter(email=OWNER).update(theme=theme)
            page = browser.new_context(viewport=chromium.VIEWPORT, base_url=address, reduced_motion="reduce").new_page()
            log_in(page, OWNER)
            for spec in PAGES:
                if spec.name in wanted or (spec.pictured and not wanted):
                    page.goto(spec.url("vision", world.ids))
                    expect(page.locator("main").get_by_text(spec.shows).first).to_be_visible(timeout=20_000)
                    page.wait_for_load_state("networkidle")
                    taken.append(PICTURES / f"{spec.name}-{theme}.png")
                    page.screenshot(path=taken[-1])
        browser.close()
    return taken


def main() -> None:
    """Start, take, stop."""
    import django

    django.setup()
    try:
        for path in take(set(sys.argv[1:])):
            print(path.relative_to(ROOT))  # noqa: T201
    finally:
        SESSION.stop()


if __name__ == "__main__":
    main()
