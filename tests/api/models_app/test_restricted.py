"""Objects made from a restricted dataset, requested in every way.

The requests come from people who may see the dataset and from people who may not.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver

from billing.metering.metering import record_usage
from compute import kinds
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs as work
from compute.kinds import JobView
from compute.models import Job, JobLog, JobMetric
from models_app.access import ModelNameTaken
from models_app.datasets import operations
from models_app.endpoints import deployments
from models_app.models import Dataset, DatasetVersion, HealthAlert, Model, ModelVersion
from models_app.training.training import TrainKind
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant, User
from tenants.sharing import shares
from tests.api.objects import one_of_everything
from tests.api.reading import body_of, client_of, fill, read, routes
from tests.support import factories
from tests.support.usage import interval

pytestmark = pytest.mark.django_db

Lab = tuple[Tenant, dict[str, Any], dict[str, User]]
SPEC = {"recipe": "tabular.classifier", "params": {}, "model": "", "target": "t"}
HASH = "abcd" * 16
WORDS = ("hush-run", "hush-data", "hush-line", "hush-tag", "a model v1", "an-endpoint", HASH, "0.8125")


@pytest.fixture
def lab() -> Lab:
    tenant = factories.make_tenant("lab")
    ids = one_of_everything(tenant)
    people = {role: factories.make_member(tenant, role) for role in ("admin", "finance", "viewer")}
    people |= {name: factories.make_member(tenant, "engineer") for name in ("creator", "shared", "other")}
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        Job.objects.update(name="hush-run", tags={"team": "hush-tag"}, submitted_by=people["creator"].id)
        Dataset.objects.update(name="hush-data", created_by=people["creator"].id)
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
            dims={"device_class": "cpu", "tier": "on_demand", "tag:team": "hush-tag", "tag:hush-run": "x"},
        )
        record_usage([usage])
        work.note_log_download(actor=owner, job_id=ids["job_id"])
        operations.restrict(actor=owner, dataset_id=ids["dataset_id"], restricted=True)
        shares.share(actor=owner, kind="dataset", object_id=ids["dataset_id"], user_id=people["shared"].id)
    return tenant, ids | {"tenant_id": tenant.id}, people


@pytest.mark.parametrize("who", ["other", pytest.param("viewer", marks=pytest.mark.nightly), "finance"])
def test_a_hidden_dataset_hides_all_that_was_made_with_it(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids, WORDS)
    assert {path: words for path, (_, words) in found.items() if words} == {}
    assert {status for status, _ in found.values()} <= {200, 302, 400, 403, 404, 405, 422}
    assert [status for status, _ in found.values()].count(200) > 20, "lists are there, without it"
    assert [found[f"/api/v1/jobs/{ids['job_id']}/{part}"][0] for part in ("", "logs/", "metrics/")] == [404] * 3


@pytest.mark.parametrize("who", ["creator", "shared", pytest.param("admin", marks=pytest.mark.nightly)])
def test_those_who_see_a_dataset_see_all_that_was_made_with_it(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids, WORDS)
    everything = {word for _, words in found.values() for word in words}
    assert everything >= set(WORDS)
    assert found[f"/api/v1/jobs/{ids['job_id']}/"][0] == 200


def open_version(lab: Lab) -> ModelVersion:
    """Return a version in production of a model that everybody sees."""
    _, ids, _ = lab
    hidden = ModelVersion.objects.select_related("dataset_version__dataset").get(id=ids["version_id"])
    data, model = hidden.dataset_version, Model.objects.create(name="an open model")
    data.dataset.pk, data.dataset.name, data.dataset.restricted = uuid.uuid4(), "open-data", False
    data.dataset.save(force_insert=True)
    data.pk, data.dataset, data.sha256 = uuid.uuid4(), data.dataset, "2" * 64
    data.save(force_insert=True)
    hidden.pk, hidden.dataset_version, hidden.model, hidden.job_id = uuid.uuid4(), data, model, uuid.uuid4()
    hidden.save(force_insert=True)
    return hidden


@pytest.mark.parametrize("who", ["finance", pytest.param("other", marks=pytest.mark.nightly), "admin"])
def test_an_endpoint_that_left_a_hidden_model_says_nothing_of_it(lab: Lab, who: str) -> None:
    tenant, ids, people = lab
    with tenant_scope(tenant.id):
        HealthAlert.objects.create(
            endpoint_id=ids["endpoint_id"], version_id=ids["version_id"], kind="drift", subject="hush-line", value=1,
            threshold=0.2, message="hush-line has drifted", resolved_at=now(),
        )  # fmt: skip
        deployments.deploy(
            actor=factories.actor_for(tenant), name="an-endpoint", version_id=open_version(lab).id, replace=True
        )
    found = read(people[who], ids, WORDS)
    words = {word for _, said in found.values() for word in said}
    assert found[f"/api/v1/endpoints/{ids['endpoint_id']}/"][0] == 200
    assert words == ({"an-endpoint"} if who != "admin" else set(WORDS))


def test_a_name_that_a_hidden_job_trains_is_taken_before_and_after(lab: Lab) -> None:
    tenant, ids, people = lab
    other, creator = (
        Actor.member(tenant_id=tenant.id, user_id=people[name].id, email=name, role="engineer")
        for name in ("other", "creator")
    )
    with tenant_scope(tenant.id):
        job = Job.objects.get(id=ids["job_id"])
        job.pk, job.state, job.cause, job.spec = uuid.uuid4(), "queued", "", SPEC | {"dataset": str(ids["dataset_id"])}
        job.save(force_insert=True)
        for name, model in (("hush-run", ""), ("x", "hush-run")):
            with pytest.raises(Invalid, match="This name is taken"):
                kinds.admit(other, "train", name, {"model": model})
            kinds.admit(creator, "train", name, {"model": model})
        kinds.admit(other, "train", "x", {"model": "y"})
        version = open_version(lab)
        view = JobView(
            id=uuid.uuid4(), tenant_id=tenant.id, project_id=version.project_id, name="a model", kind="train",
            spec={**SPEC, "dataset_version": str(version.dataset_version_id)}, tags={}, device_class="cpu",
            submitted_by=people["other"].id, checkpoint={}, result={},
        )  # fmt: skip
        file = {"key": "k", "sha256": "0" * 64, "size": 1, "encrypted": True}
        left = {
            "signature": {}, "digest": "0" * 64, "metrics": {}, "training": {}, "weights": file, "signature_file": file
        }  # fmt: skip
        with pytest.raises(ModelNameTaken):
            TrainKind().complete(view, left)
        # The launcher of the next version of a hidden model had access then, and may have left since.
        job.pk, job.submitted_at, job.submitted_by = uuid.uuid4(), now(), uuid.uuid4()
        job.save(force_insert=True)
        gone = replace(view, id=job.pk, submitted_by=job.submitted_by)
        assert TrainKind().complete(gone, left)["model"] == str(ids["model_id"])
        assert TrainKind().complete(replace(view, submitted_by=people["creator"].id), left)["model"] == str(
            ids["model_id"]
        )


def test_the_job_of_a_removed_member_adds_its_version_to_the_model_of_its_dataset(
    lab: Lab,
) -> None:
    tenant, ids, _ = lab
    with tenant_scope(tenant.id):
        made = ModelVersion.objects.get(id=ids["version_id"])
        view = JobView(
            id=uuid.uuid4(), tenant_id=tenant.id, project_id=made.project_id, name="a model", kind="train",
            spec={**SPEC, "dataset_version": str(made.dataset_version_id)}, tags={}, device_class="cpu",
            submitted_by=uuid.uuid4(), checkpoint={}, result={},
        )  # fmt: skip
        file = {"key": "k", "sha256": "0" * 64, "size": 1, "encrypted": True}
        left = {
            "signature": {}, "digest": "0" * 64, "metrics": {}, "training": {}, "weights": file, "signature_file": file
        }  # fmt: skip
        assert TrainKind().complete(view, left)["model"] == str(ids["model_id"])
        # Another dataset reveals nothing about this one.
        elsewhere = {**SPEC, "dataset_version": str(open_version(lab).dataset_version_id)}
        with pytest.raises(ModelNameTaken):
            TrainKind().complete(replace(view, id=uuid.uuid4(), spec=elsewhere), left)


def test_those_who_see_every_dataset_see_removed_ones_in_the_log(lab: Lab) -> None:
    tenant, _, people = lab
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        gone = Dataset.objects.create(name="hush-gone", created_by_label="x")
        DatasetVersion.objects.create(
            dataset=gone,
            number=1,
            filename="g.csv",
            source_key="",
            data_key="",
            state="failed",
            code="unreadable",
            sha256="3" * 64,
            size=1,
        )
        assert operations.remove_failed(actor=owner, dataset_id=gone.id)
    for who in ("admin", "finance"):
        answer = client_of(people[who]).get("/api/v1/audit/?limit=200", headers={"X-Exchequer-Tenant": "lab"})
        assert ("hush-gone" in body_of(answer)) == (who == "admin"), who


ONCE = re.compile(r'nonce="[^"]*"|"[A-Za-z0-9]{64}"')
"""Parts that differ per response: a nonce, a form token."""

HIDDEN = (
    "object_id",
    "job_id",
    "dataset_id",
    "data_version_id",
    "version_id",
    "model_id",
    "endpoint_id",
    "endpoint_key_id",
)
BODIES = {
    "/api/v1/quotes/": (
        {"name": "x", "kind": "train", "recipe": "tabular.classifier", "dataset": "{dataset_id}", "target": "t"},
        {"name": "x", "kind": "train", "recipe": "tabular.classifier", "dataset_version": "{data_version_id}"},
        {"name": "x", "kind": "batch_predict", "dataset": "{dataset_id}", "model_version": "{version_id}"},
    ),
    "/api/v1/endpoints/": ({"name": "new", "version": "{version_id}"},),
}


def test_a_hidden_object_is_a_404_like_a_missing_one_for_every_method(lab: Lab) -> None:
    _, ids, people = lab
    client = client_of(people["other"])
    found: dict[tuple[str, str], list[str]] = {}
    for known in (ids, ids | {name: uuid.uuid4() for name in HIDDEN}):
        names = {
            "tenant": "lab",
            "n": 1,
            "form": "csv",
            "format": "csv",
            "number": 1,
            "slug": "spend",
            "kind": "dataset",
            **known,
        }
        named = [
            (method, route, fill(route, names), {})
            for route in routes("", get_resolver())
            for method in ("get", "head", "post", "put", "patch", "delete")
            if any(f":{name}>" in route for name in HIDDEN) and route.startswith(("api/v1/", "t/<"))
        ]
        told = [
            ("post", f"{path} {number}", path[1:], {field: text.format(**known) for field, text in body.items()})
            for path, bodies in BODIES.items()
            for number, body in enumerate(bodies)
        ]
        for method, route, path, body in [*named, *told]:
            if not path:
                continue
            sent = (
                {"data": json.dumps(body), "content_type": "application/json"} if method not in ("get", "head") else {}
            )
            headers = {"X-Exchequer-Tenant": "lab", "X-Request-Id": "one"}
            answer = getattr(client, method)(f"/{path}", headers=headers, **sent)
            text = ONCE.sub("", body_of(answer))
            for one in known.values():
                text = text.replace(str(one), "ID")
            found.setdefault((method, route), []).append(f"{answer.status_code} {text}")
    different = {
        what: [pair for pair in zip(*(text.splitlines() for text in both), strict=False) if pair[0] != pair[1]][:2]
        for what, both in found.items()
        if both[0] != both[1]
    }
    assert different == {}
    assert len(found) > 100


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
