"""Input of others stays text: names, log lines, metrics, messages and columns that contain markup."""

from __future__ import annotations

from decimal import Decimal

from playwright.sync_api import Page, expect

from compute.models import Job, JobLog, JobMetric
from models_app.models import Dataset, DatasetVersion, Model
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, User
from tests.browser.actions import log_in
from tests.browser.chromium import watch
from tests.browser.pages import PAGES
from tests.browser.world import OWNER, World

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
    "{{constructor.constructor('alert(1)')()}}",
    "<a href=javascript:alert(1)>x</a>",
    "</textarea><script>alert(1)</script>",
    "<div hx-get=/x hx-trigger=load>",
    "<b onmouseover=alert(1) style=position:fixed;inset:0>",
    "\u2028<iframe srcdoc='<script>parent.alert(1)</script>'>",
)


def poison(world: World) -> None:
    """Put a payload into every text that a page of the filled tenant shows."""
    every = "".join(PAYLOADS)
    User.objects.filter(email=OWNER).update(name=PAYLOADS[2])
    with tenant_scope(world.vision.id):
        for number, row in enumerate(Job.objects.order_by("id")):
            payload = PAYLOADS[number % len(PAYLOADS)]
            Job.objects.filter(id=row.id).update(
                name=payload, message=every, tags={payload[:40]: payload}, submitted_by_label=payload
            )
        for number, project in enumerate(Project.objects.order_by("id")):
            Project.objects.filter(id=project.id).update(name=PAYLOADS[(number + 1) % len(PAYLOADS)])
        for number, dataset in enumerate(Dataset.objects.order_by("id")):
            Dataset.objects.filter(id=dataset.id).update(name=PAYLOADS[number], created_by_label=PAYLOADS[3])
        for version in DatasetVersion.objects.all():
            profile = dict(version.profile)
            profile["warnings"] = list(PAYLOADS)
            for column, payload in zip(profile["columns"], PAYLOADS * 3, strict=False):
                column["name"] = payload
                column.pop("histogram", None)
                column["top"] = [{"value": payload, "count": 3}]
            DatasetVersion.objects.filter(id=version.id).update(
                profile=profile, filename=PAYLOADS[1], warnings=list(PAYLOADS), uploaded_by_label=PAYLOADS[0]
            )
        for number, model in enumerate(Model.objects.order_by("id")):
            Model.objects.filter(id=model.id).update(name=PAYLOADS[number])
        for name in ("running", "succeeded", "failed"):
            job_id = world.ids[name]
            JobLog.objects.bulk_create(
                JobLog(job_id=job_id, token=1, position=9_000_000 + n, line=payload)
                for n, payload in enumerate(PAYLOADS)
            )
            JobMetric.objects.create(
                job_id=job_id, token=1, step=100_000, values={PAYLOADS[0]: 0.5, f"loss{PAYLOADS[1]}": 0.25}
            )


def test_hostile_texts_are_shown_and_do_nothing(page: Page, world: World) -> None:
    poison(world)
    log_in(page, OWNER)
    with watch(page) as watched:
        for spec in PAGES:
            page.goto(spec.url("vision", world.ids))
            expect(page.locator("h1")).to_have_count(1)
            page.wait_for_load_state("networkidle")
            assert not watched.dialogs, spec.name
            assert not watched.complaints, (spec.name, watched.complaints)
            assert (
                page.locator(
                    "main [onerror], main [onload], main [onmouseover], main iframe, main script, main a[href^='javascript']"
                ).count()
                == 0
            ), spec.name
    page.goto("/t/vision/jobs/")
    expect(page.get_by_role("table").get_by_text("<img src=x onerror=alert(1)>").first).to_be_visible()


def test_an_export_holds_no_formula(page: Page, world: World) -> None:
    with tenant_scope(world.vision.id):
        Job.objects.filter(id=world.ids["running"]).update(
            name="=HYPERLINK(1)", submitted_by_label="@sum", max_cost=Decimal(1)
        )
    log_in(page, OWNER)
    page.goto("/t/vision/jobs/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    text = download.value.path().read_text()
    assert '"\'=HYPERLINK(1)"' in text
    assert '"\'@sum"' in text
    assert not [cell for line in text.splitlines() for cell in line.split(",") if cell.strip('"')[:1] in set("=+-@")]
