"""Debian's Chromium under Playwright: its path, its start, and the faults of a watched page."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request

from deploy.chromium import REMEDY, find

# Without the networking flags Chromium looks up hosts of its own; as root it cannot create its own sandbox.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]
VIEWPORT = {"width": 1360, "height": 860}
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "resultTypes": ["violations"],  # of all others axe describes one element only, which is half of its work
}
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
SWAPPING = ".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added"
SLOW_S = 60
DASH = "#react-entry-point, ._dash-loading"


class ChromiumMissing(RuntimeError):
    """No Chromium is installed."""


def executable() -> str:
    """Return the path of Chromium; without one the tests fail with the command to install it."""
    found = find(os.environ)
    if found is None:
        raise ChromiumMissing(f"There is no Chromium. Type: {REMEDY}, or set CHROMIUM to the path of one.")
    return found


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window."""
    return playwright.chromium.launch(executable_path=executable(), args=FLAGS)


@dataclass
class Watched:
    """Faults of a page while it was watched."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    under_way: set[Request] = field(default_factory=set)
    framed: bool = False

    def settle(self) -> None:
        """Wait until the page is drawn, asks for nothing and replaces nothing.

        A page of Dash asks again after each answer: there only silence on the network shows it.
        """
        if self.page.locator(DASH).count():
            self.page.wait_for_load_state("networkidle")
            return
        late = time.monotonic() + SLOW_S
        self.page.evaluate(DRAWN)
        while self.under_way or self.page.locator(SWAPPING).count():
            self.page.evaluate(DRAWN)
            assert time.monotonic() < late, [one.url for one in self.under_way]

    def axe(self) -> list[str]:
        """Return axe-core's violations, one line each with the first elements concerned.

        The frame with the navigation is the same on all pages: looked at once, it is left out, as it is most of the work.
        """
        known, self.framed = self.framed, True
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(Axe().axe_script)
        within = "{exclude: [['#sidebar']]}" if known else "document"
        found = self.page.evaluate(f"(rules) => axe.run({within}, rules).then((all) => all.violations)", RULES)
        return [
            f"{one['id']} ({one['impact']}): {one['help']} @ {[node['target'] for node in one['nodes']][:4]}"
            for one in found
        ]


@contextmanager
def watch(page: Page) -> Iterator[Watched]:
    """Collect script errors, policy violations and dialogs of a page.

    A refused request's own status line is not an error.
    """
    watched = Watched(page)

    def console(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            watched.complaints.append(message.text)

    def asked(request: Request) -> None:  # Playwright takes functions of Python alone
        watched.under_way.add(request)

    def over(request: Request) -> None:
        watched.under_way.discard(request)

    page.on("console", console)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", asked)
    page.on("requestfinished", over)
    page.on("requestfailed", over)
    page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
    yield watched
