"""Take the screenshots of README and documents: `python scripts/screenshots.py [NAME ...]`.

They are `docs/pictures/NAME-THEME.png`. Services, database and browser are temporary. The screenshots show the demo of
a first `make up`, under a fixed clock; the list of pages is that of the browser tests, so no screenshot shows an
untested page or becomes stale unnoticed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
NOW = datetime(2026, 11, 21, 15, 10, tzinfo=UTC)
ORGANISATIONS, DAYS, SEED = 3, 60, 7
CALM_MS = 4_000
SHOWN = "harbour"
#: Pages better shown with another organisation: its budget is nearly spent, its newest version waits for approval.
SHOWN_OF = dict.fromkeys(("overview", "model-version", "model", "budgets", "budget", "audit", "launch"), "riverside")
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # noqa: TID251  Playwright keeps an event loop in this thread

from tests.support.servers.environment import use_test_environment  # noqa: E402  (before anything reads the settings)

SESSION = use_test_environment()


@contextmanager
def control() -> Iterator[None]:
    """Use the controller's role for a while."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET ROLE exchequer_control")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_app")


@contextmanager
def site() -> Iterator[str]:
    """Serve the demo; yield the URL."""
    from django.conf import settings
    from waitress.server import create_server

    from config.demo import loading
    from config.wsgi import application
    from models_app.object_store import storage
    from tests.support.servers.database import provide

    name = provide(SESSION, "pictures")
    store = SESSION.start_s3("pictures")
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(
        update={
            "s3_endpoint_url": store.endpoint_url,
            "s3_bucket": store.bucket,
            "aws_access_key_id": store.access_key,
            "aws_secret_access_key": store.secret_key,
            "database_owner_url": SESSION.cluster.url("exchequer_owner", name),
        }
    )
    storage.ensure_bucket()
    with control():
        loading.load(number=ORGANISATIONS, days=DAYS, seed=SEED, until=NOW, say=_tell)
    with SESSION.cluster.superuser(name) as admin:
        admin.execute("INSERT INTO demo_clock (shift) VALUES (%s - clock_timestamp())", [NOW])
        admin.execute("UPDATE compute_node SET accepting = true, last_seen_at = exchequer_now() + interval '1 hour'")
    server: Any = create_server(application, host="127.0.0.1", port=0, threads=6)
    threading.Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.close()


def ids(slug: str) -> dict[str, Any]:
    """Return the ids in page paths of one organisation."""
    from billing.models import Budget
    from billing.queries import draft_invoice, invoice_lines
    from compute.models import Job
    from models_app.models import DatasetVersion, Endpoint, ModelVersion
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Tenant

    with control():
        tenant_id = Tenant.objects.get(slug=slug).id
    with tenant_scope(tenant_id):
        data = DatasetVersion.objects.order_by("id")[0]
        version = ModelVersion.objects.order_by("-id")[0]
        invoice = draft_invoice()
        serving = [line.n for line in invoice_lines(invoice.id) if line.meter == "inference_requests"]
        failed = Job.objects.filter(state="failed").order_by("-id").first()
        return {
            "dataset": data.dataset_id,
            "dataset_version": data.id,
            "model": version.model_id,
            "version": version.id,
            "succeeded": version.job_id,
            "failed": failed.id if failed else None,
            "batch": Job.objects.get(kind="batch_predict").id,
            "endpoint": Endpoint.objects.get().id,
            "budget": Budget.objects.order_by("id")[0].id,
            "invoice": invoice.id,
            "serving_line": serving[0] if serving else None,
        }


def take(wanted: set[str]) -> list[Path]:
    """Take the selected screenshots (default: all) in both themes; return their paths.

    A page of something missing from the demo, such as a running job, is skipped.
    """
    from playwright.sync_api import expect, sync_playwright

    from config.demo.organisations import PASSWORD
    from tenants.models import User
    from tests.browser import chromium
    from tests.browser.actions import log_in
    from tests.browser.pages import PAGES, THEMES

    taken: list[Path] = []
    broken: list[str] = []
    PICTURES.mkdir(exist_ok=True)
    with site() as address, sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        found = {slug: ids(slug) for slug in {SHOWN, *SHOWN_OF.values()}}
        specs = [spec for spec in PAGES if spec.name in wanted or (spec.pictured and not wanted)]
        for theme in THEMES:
            User.objects.update(theme=theme)
            pages = {}
            for slug in found:
                context = browser.new_context(viewport=chromium.VIEWPORT, base_url=address, reduced_motion="reduce")
                pages[slug] = context.new_page()
                pages[slug].on("response", lambda answer: answer.status < 500 or broken.append(answer.url))
                log_in(pages[slug], f"owner@{slug}.example", PASSWORD)
            for spec in specs:
                slug = SHOWN_OF.get(spec.name, SHOWN)
                if any(f"{{{name}}}" in spec.path and not found[slug].get(name) for name in _names(spec.path)):
                    continue
                page = pages[slug]
                page.goto(spec.url(slug, found[slug]))
                expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=20_000)
                page.wait_for_load_state("networkidle")
                if spec.path.startswith("dash/"):  # a chart draws after its data has arrived
                    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60_000)
                    page.wait_for_timeout(CALM_MS)
                if broken:
                    raise RuntimeError(f"{spec.name}: {broken[0]} is broken, so nothing is pictured")
                taken.append(PICTURES / f"{spec.name}-{theme}.png")
                page.screenshot(path=taken[-1])
        browser.close()
    return taken


def _names(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def main() -> None:
    """Start, take, stop."""
    import django

    django.setup()
    try:
        for path in take(set(sys.argv[1:])):
            _tell(str(path.relative_to(ROOT)))
    finally:
        SESSION.stop()


if __name__ == "__main__":
    main()
