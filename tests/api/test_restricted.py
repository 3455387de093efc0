"""What was made with a restricted dataset, asked for in every way by people who may see the dataset and by people who may not."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLResolver, get_resolver

from billing.metering import record_usage
from compute import jobs as work
from compute import nodes
from compute.devices.base import Found
from compute.models import Job, JobLog, JobMetric
from models_app import operations
from models_app.models import Dataset, DatasetVersion
from tenants.clock import now
from tenants.models import Tenant, User
from tenants.scoping import tenant_scope
from tests import factories
from tests.api.objects import one_of_everything
from tests.billing_usage import interval

pytestmark = pytest.mark.django_db

Lab = tuple[Tenant, dict[str, Any], dict[str, User]]
HASH = "abcd" * 16
WORDS = ("hush-run", "hush-data", "hush-line", "hush-tag", "a model v1", "an-endpoint", HASH, "0.8125")
ASKED = (
    "/api/v1/jobs/?name=hush", "/api/v1/usage/?group_by=job", "/api/v1/usage/?group_by=resource",
    "/api/v1/spend/?group_by=job", "/api/v1/spend/?group_by=resource", "/api/v1/audit/?limit=200",
    "/api/v1/audit/?target_id={job_id}", "/api/v1/audit/?target_id={dataset_id}", "/t/lab/jobs/?export=csv",
    "/t/lab/jobs/?q=hush", "/t/lab/jobs/{job_id}/?tab=logs", "/t/lab/jobs/{job_id}/?tab=events", "/t/lab/audit/?export=csv",
    "/t/lab/audit/?target={job_id}", "/t/lab/audit/?action=models_app", "/t/lab/jobs/new/?clone={job_id}",
    "/t/lab/jobs/new/batch/?version={version_id}", "/t/lab/endpoints/new/?version={version_id}",
)  # fmt: skip
ELSEWHERE = re.compile(r"/download/|/weights/|/result/|/verify/")
"""What needs the object store, or reads the whole chain."""


def paths(ids: dict[str, Any]) -> list[str]:
    """Return every address of the API and of a tenant's pages, with these ids, and some questions."""
    names = {"tenant": "lab", "n": 1, "form": "csv", "format": "csv", "number": 1, "slug": "spend", **ids}
    found = [fill(route, names) for route in routes("", get_resolver()) if route.startswith(("api/v1/", "t/<"))]
    return sorted({f"/{path}" for path in found if path and not ELSEWHERE.search(path)}) + [
        path.format(**ids) for path in ASKED
    ]


def routes(before: str, resolver: URLResolver) -> Iterator[str]:
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from routes(f"{before}{one.pattern}", one)
        else:
            yield f"{before}{one.pattern}"


def fill(route: str, names: dict[str, Any]) -> str:
    """Return a route with its parameters filled in; nothing when one has no value here."""
    wanted = re.findall(r"<(?:\w+:)?(\w+)>", route)
    if not set(wanted) <= set(names):
        return ""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(names[match[1]]), route)


@pytest.fixture
def lab() -> Lab:
    tenant = factories.make_tenant("lab")
    ids = one_of_everything(tenant)
    people = {role: factories.make_member(tenant, role) for role in ("admin", "finance", "viewer")}
    people |= {name: factories.make_member(tenant, "engineer") for name in ("maker", "shared", "other")}
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        Job.objects.update(name="hush-run", tags={"team": "hush-tag"}, submitted_by=people["maker"].id)
        Dataset.objects.update(name="hush-data", created_by=people["maker"].id)
        DatasetVersion.objects.update(sha256=HASH)
        JobLog.objects.create(job_id=ids["job_id"], position=1, token=1, line="hush-line")
        JobMetric.objects.create(job_id=ids["job_id"], step=1, token=1, values={"accuracy": 0.8125})
        Job.objects.update(state="failed", cause="user_error")
        usage = interval(
            factories.default_project_id(tenant),
            now() - timedelta(seconds=60),
            30,
            resource=f"job:{ids['job_id']}",
            job_id=ids["job_id"],
        )
        record_usage([usage])
        work.note_log_download(actor=owner, job_id=ids["job_id"])
        operations.restrict(actor=owner, dataset_id=ids["dataset_id"], restricted=True)
        operations.share(actor=owner, dataset_id=ids["dataset_id"], user_id=people["shared"].id)
    return tenant, ids | {"tenant_id": tenant.id}, people


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def body_of(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(content.decode())


def read(person: User, ids: dict[str, Any]) -> dict[str, tuple[int, list[str]]]:
    """Return for every address how it answered a person, and which of the words stood there."""
    client = Client()
    client.force_login(person)
    found = {}
    for path in paths(ids):
        answer = client.get(path, headers={"X-Exchequer-Tenant": "lab"})
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        found[path] = answer.status_code, [word for word in WORDS if word in content.decode("utf-8", "replace")]
    return found


@pytest.mark.parametrize("who", ["other", "viewer", "finance"])
def test_who_may_not_see_a_dataset_reads_nothing_that_was_made_with_it(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids)
    assert {path: words for path, (_, words) in found.items() if words} == {}
    assert {status for status, _ in found.values()} <= {200, 302, 400, 403, 404, 405, 422}
    assert [status for status, _ in found.values()].count(200) > 20, "lists are there, without it"
    assert [found[f"/api/v1/jobs/{ids['job_id']}/{part}"][0] for part in ("", "logs/", "metrics/")] == [404] * 3


@pytest.mark.parametrize("who", ["maker", "shared", "admin"])
def test_who_may_see_the_dataset_reads_it_all(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids)
    everything = {word for _, words in found.values() for word in words}
    assert everything >= set(WORDS)
    assert found[f"/api/v1/jobs/{ids['job_id']}/"][0] == 200


def test_nothing_can_be_done_to_a_hidden_job_nor_trained_into_a_hidden_model(lab: Lab) -> None:
    _, ids, people = lab
    client = Client(headers={"X-Exchequer-Tenant": "lab"})
    client.force_login(people["other"])
    for act in ("cancel", "pause", "resume", "clone"):
        assert client.post(f"/api/v1/jobs/{ids['job_id']}/{act}/").status_code == 404, act
    with tenant_scope(ids["tenant_id"]):
        open_one = Dataset.objects.create(name="open", created_by_label="x")
        columns = [{"name": name, "kind": "numeric", "distinct": 9, "integer": True} for name in ("a", "t")]
        DatasetVersion.objects.create(
            dataset=open_one, number=1, filename="o.csv", source_key="s", data_key="d", rows=99, state="ready",
            sha256="1" * 64, size=1, columns=columns, target="t",
        )  # fmt: skip
        found = [Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 2**30)]
        nodes.register(name="n1", hostname="h", boot=uuid.uuid4(), found=found, missing_layers=[])
        project = str(factories.default_project_id(lab[0]))
    for name, model in (("a job", "a model"), ("a model", ""), ("a job", "another")):
        spec = {"recipe": "tabular.regressor", "dataset": str(open_one.id), "target": "t", "model": model}
        body = {"name": name, "kind": "train", "project": project, "device_class": "cpu", **spec}
        answer = client.post("/api/v1/quotes/", json.dumps(body), content_type="application/json")
        if model == "another":
            assert answer.status_code == 201, answer.content
        else:
            assert answer.json()["fields"] == {"model": ["This name is taken. Choose another one."]}, answer.content
