"""Shared parts of launch form tests: a ready dataset version, a job, and the form's default input."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs
from compute.models import Job
from models_app.models import Dataset, DatasetVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support.factories import actor_for, default_project_id, make_tenant
from tests.support.selling import provision_defaults

NEW, BATCH = "/t/lab/jobs/new/", "/t/lab/jobs/new/batch/"
NUMBERS = [{"name": name, "kind": "numeric", "distinct": 400, "integer": False, "missing": 0} for name in ("a", "b")]
WITH_CLASSES = [*NUMBERS, {"name": "t", "kind": "categorical", "distinct": 2, "integer": False, "missing": 0}]


def make_lab() -> Tenant:
    """Return a tenant `lab` with prices, and one CPU to run on."""
    made = make_tenant("lab")
    nodes.register(
        name="n1", hostname="h", boot=uuid4(), found=[Found("cpu-0", "cpu", "cpu", "CPU", 0, 2**32)], missing_layers=[]
    )
    with tenant_scope(made.id):
        provision_defaults(made.id)
    return made


def table(tenant: Tenant, *, columns: list[dict[str, Any]], target: str = "", number: int = 1) -> DatasetVersion:
    """Return a ready version of the dataset `diabetes`."""
    with tenant_scope(tenant.id):
        dataset, _ = Dataset.objects.get_or_create(name="diabetes", defaults={"created_by_label": "o@lab.example"})
        return DatasetVersion.objects.create(
            dataset=dataset, number=number, filename="d.csv", sha256=f"{number:064}", size=1, target=target, state="ready",
            source_key="s", data_key="d", data_sha256="0" * 64, data_size=1, rows=442, columns=columns,
            uploaded_by_label="o@lab.example",
        )  # fmt: skip


def submitted(tenant: Tenant, version: DatasetVersion, **spec: Any) -> Job:
    wanted = {"recipe": "tabular.classifier", "dataset_version": str(version.id), "target": "t", "params": {}}
    return jobs.submit(
        actor=actor_for(tenant),
        asked=jobs.Submission(
            name="first try",
            kind="train",
            project_id=default_project_id(tenant),
            spec=wanted | spec,
            device_class="cpu",
            tags={"team": "risk"},
        ),
    )


def entered(page: str) -> dict[str, str]:
    """Return what a form would send unchanged: hidden and text fields, choices and radio buttons."""
    form = page.partition('id="launch"')[2].partition("</form>")[0]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        said = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if said.get("type") not in ("radio", "checkbox") or " checked" in tag:
            found[said["name"]] = said.get("value", "")
    for name, options in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', form, re.DOTALL):
        chosen = re.findall(r'value="([^"]*)" selected', options) or re.findall(r'value="([^"]*)"', options)
        found[name] = chosen[0]  # the first one, as a browser does
    return found
