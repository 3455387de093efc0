"""Debian's Chromium under Playwright: its path, its start, and the faults of a watched page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

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
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


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

    def axe(self) -> list[str]:
        """Return axe-core's violations, one line each with the first elements concerned."""
        found = Axe().run(self.page, options=RULES).response["violations"]
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

    page.on("console", console)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
    yield watched
