"""Input of others that contains markup, in every text of a filled tenant."""

from __future__ import annotations

from compute.models import Job, JobLog, JobMetric
from models_app.models import Dataset, DatasetVersion, Model
from tenants.isolation.scoping import tenant_scope
from tenants.models import Group, Project, Role, ServiceAccount, User
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


RECOGNISED = frozenset(
    {"breast-cancer", "cancer", "cancer-final", "Research", "Launcher", "Vision lab", "nightly-scoring"}
)
"""Names by which `PAGES` tells that a page is complete; a payload follows them."""


def hostile(name: str, number: int) -> str:
    """Return a payload, behind the name where tests look for it."""
    payload = PAYLOADS[number % len(PAYLOADS)]
    return f"{name} {payload}" if name in RECOGNISED else payload


def poison(world: World) -> None:
    """Put a payload into every text that a page of the filled tenant shows."""
    every = "".join(PAYLOADS)
    User.objects.filter(email=OWNER).update(name=PAYLOADS[2])
    with tenant_scope(world.vision.id):
        for number, row in enumerate(Job.objects.order_by("id")):
            payload = PAYLOADS[number % len(PAYLOADS)]
            Job.objects.filter(id=row.id).update(
                name=hostile(row.name, number), message=every, tags={payload[:40]: payload}, submitted_by_label=payload
            )
        for number, project in enumerate(Project.objects.order_by("id")):
            Project.objects.filter(id=project.id).update(name=hostile(project.name, number + 1))
        for model in (Role, Group, ServiceAccount):
            for number, row in enumerate(model.objects.order_by("id")):
                model.objects.filter(id=row.id).update(name=hostile(row.name, number)[:60])
        for number, dataset in enumerate(Dataset.objects.order_by("id")):
            Dataset.objects.filter(id=dataset.id).update(
                name=hostile(dataset.name, number), created_by_label=PAYLOADS[3]
            )
        for version in DatasetVersion.objects.all():
            profile = dict(version.profile)
            profile["warnings"] = list(PAYLOADS)
            for number, (column, payload) in enumerate(zip(profile["columns"], PAYLOADS * 3, strict=False)):
                column["name"] = payload
                if number % 2:
                    column.pop("histogram", None)
                    column["top"] = [{"value": payload, "count": 3}]
            DatasetVersion.objects.filter(id=version.id).update(
                profile=profile, filename=PAYLOADS[1], warnings=list(PAYLOADS), uploaded_by_label=PAYLOADS[0]
            )
        for number, model in enumerate(Model.objects.order_by("id")):
            Model.objects.filter(id=model.id).update(name=hostile(model.name, number))
        for name in ("running", "succeeded", "failed"):
            job_id = world.ids[name]
            JobLog.objects.bulk_create(
                JobLog(job_id=job_id, token=1, position=9_000_000 + n, line=payload)
                for n, payload in enumerate(PAYLOADS)
            )
            JobMetric.objects.create(
                job_id=job_id, token=1, step=100_000, values={PAYLOADS[0]: 0.5, f"loss{PAYLOADS[1]}": 0.25}
            )
