"""Stages over the API and on the page: 202 while an approver decides, a typed name for production; batch over the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.template.defaultfilters import filesizeformat
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Job
from models_app.models import DatasetVersion, ModelVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def another_version(tenant: Tenant, like: UUID, **fields: Any) -> UUID:
    """Add version 2 to the model of a version; it is registered and otherwise equal."""
    with tenant_scope(tenant.id):
        found = ModelVersion.objects.get(id=like)
        copied = {field.attname: getattr(found, field.attname) for field in ModelVersion._meta.concrete_fields}
        fresh = {"id": uuid4(), "number": 2, "job_id": uuid4(), "stage": "registered"}
        return ModelVersion.objects.create(**{**copied, **fresh, **fields}).id


@pytest.fixture
def place():
    tenant = factories.make_tenant("acme")
    ids = one_of_everything(tenant)
    return tenant, {**ids, "version_id": another_version(tenant, ids["version_id"])}


def client_of(tenant: Tenant, role: str) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, role))
    client.get("/api/v1/me/")
    return client


def post(client: Client, path: str, body: dict | None = None):
    return client.post(f"/api/v1/{path}", body or {}, content_type="application/json")


def stage_of(tenant, ids) -> str:
    with tenant_scope(tenant.id):
        return ModelVersion.objects.get(id=ids["version_id"]).stage


def test_a_request_for_production_is_accepted_and_granted_by_another(place):
    tenant, ids = place
    path = f"versions/{ids['version_id']}"
    asked = post(client_of(tenant, "engineer"), f"{path}/promote/", {"stage": "production"})
    assert (asked.status_code, asked.json()["state"], asked.json()["stage"]) == (202, "requested", "registered")
    assert asked.json()["requested_by"]
    admin = client_of(tenant, "admin")
    granted = post(admin, f"{path}/approve/")
    assert (granted.status_code, granted.json()["state"], granted.json()["stage"]) == (200, "promoted", "production")
    again = post(admin, f"{path}/approve/")
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_approve")
    assert post(admin, f"{path}/decline/").status_code == 409
    moved = post(admin, f"{path}/promote/", {"stage": "staging"})
    assert (moved.status_code, moved.json()["stage"]) == (200, "staging")


def test_a_request_for_production_is_among_the_approvals_and_answered_there(place):
    tenant, ids = place
    other = another_version(tenant, ids["version_id"], number=3)
    engineer, admin, finance = (client_of(tenant, role) for role in ("engineer", "admin", "finance"))
    wanted = [str(ids["version_id"]), str(other)]
    for version in wanted:
        post(engineer, f"versions/{version}/promote/", {"stage": "production"})

    def listed(client: Client, state: str = "") -> dict[str, bool]:
        rows = client.get(f"/api/v1/approvals/?limit=50&state={state}").json()["results"]
        assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
        return {row["id"]: row["may_answer"] for row in rows if row["kind"] == "promotion" and row["id"] in wanted}

    assert listed(admin) == listed(admin, "open") == dict.fromkeys(wanted, True)
    assert listed(engineer) == dict.fromkeys(wanted, False), "one's own"
    assert listed(finance) == {} == listed(admin, "expired")
    page = admin.get("/t/acme/approvals/").content.decode()
    assert "a model v2 in production." in page and f'href="/t/acme/models/versions/{wanted[0]}/"' in page
    assert post(engineer, f"approvals/{wanted[0]}/approve/").status_code == 403
    assert post(finance, f"approvals/{wanted[0]}/approve/").status_code == 404
    for _ in range(2):
        granted = post(admin, f"approvals/{wanted[0]}/approve/")
        assert (granted.status_code, granted.json()["state"]) == (200, "approved")
    late = post(admin, f"approvals/{wanted[0]}/decline/")
    assert (late.status_code, late.json()["code"], stage_of(tenant, ids)) == (409, "already_answered", "production")
    declined = post(admin, f"approvals/{wanted[1]}/decline/", {"reason": "Too little data."})
    assert (declined.status_code, declined.json()["state"]) == (200, "declined")
    assert (listed(admin, "approved"), listed(admin, "open")) == ({wanted[0]: False}, {})
    assert "Too little data." in text_of(engineer.get("/t/acme/notifications/"))


def test_declining_takes_a_reason_that_the_requester_sees(place):
    tenant, ids = place
    path = f"versions/{ids['version_id']}"
    engineer, admin = client_of(tenant, "engineer"), client_of(tenant, "admin")
    post(engineer, f"{path}/promote/", {"stage": "production"})
    for wrong in (3, "x" * 501):
        refused = post(admin, f"{path}/decline/", {"reason": wrong})
        assert (refused.status_code, list(refused.json()["fields"])) == (400, ["reason"])
    answer = post(admin, f"{path}/decline/", {"reason": "It was trained on too little."})
    assert (answer.status_code, answer.json()["requested_by"]) == (200, "")
    listed = text_of(engineer.get("/t/acme/notifications/"))
    assert "a model v2 was declined for production" in listed
    assert "It was trained on too little." in listed


@pytest.mark.parametrize("body", [{}, {"stage": 3}, {"stage": "gold"}, {"stage": None}])
def test_a_stage_that_does_not_exist_is_named(place, body):
    tenant, ids = place
    answer = post(client_of(tenant, "owner"), f"versions/{ids['version_id']}/promote/", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "stage" in answer.json()["fields"]


def test_production_takes_the_typed_name_on_the_page(place):
    tenant, ids = place
    client = client_of(tenant, "owner")
    path = f"/t/acme/models/versions/{ids['version_id']}/"
    assert client.post(f"{path}approve/", {"confirm": "a model v2"}).status_code == 409
    post(client_of(tenant, "engineer"), f"versions/{ids['version_id']}/promote/", {"stage": "production"})
    refused = client.post(f"{path}promote/", {"stage": "production", "confirm": "yes"})
    assert refused.status_code == 422
    assert "type “a model v2” to confirm" in text_of(refused)
    assert stage_of(tenant, ids) == "registered"
    assert client.post(f"{path}promote/", {"stage": "gold"}).status_code == 400
    assert client.post(f"{path}promote/", {"stage": "production", "confirm": " a model v2 "}).status_code == 302
    assert stage_of(tenant, ids) == "production"


def test_the_requester_has_no_approve_button_and_is_refused(place):
    tenant, ids = place
    client = client_of(tenant, "admin")
    path = f"/t/acme/models/versions/{ids['version_id']}/"
    assert post(client, f"versions/{ids['version_id']}/promote/", {"stage": "production"}).status_code == 202
    shown = text_of(client.get(path))
    assert "waits for approval" not in text_of(client.get("/t/acme/notifications/"))
    assert "You asked for it" in shown
    assert "Withdraw the request" in shown
    assert "approve/" not in shown
    assert client.post(f"{path}approve/", {"confirm": "a model v2"}).status_code == 403
    refused = post(client, f"versions/{ids['version_id']}/approve/")
    assert (refused.status_code, refused.json()["code"]) == (403, "self_approval")
    assert stage_of(tenant, ids) == "registered"


def test_the_approver_finds_what_waits_and_answers_on_the_page(place):
    tenant, ids = place
    path = f"/t/acme/models/versions/{ids['version_id']}/"
    engineer, admin = client_of(tenant, "engineer"), client_of(tenant, "admin")
    assert engineer.post(f"{path}promote/", {"stage": "production", "confirm": "a model v2"}).status_code == 302
    assert stage_of(tenant, ids) == "registered"
    assert "An owner or admin can approve it" in text_of(engineer.get(path))
    assert "Waiting for approval" not in text_of(engineer.get("/t/acme/models/"))
    assert "Waiting for approval" in text_of(admin.get("/t/acme/models/"))
    assert 'name="reason"' in text_of(admin.get(path))
    assert 'name="reason"' not in text_of(engineer.get(path))
    for act in ("decline", "approve", "promote"):  # the URL was opened directly after a refusal was shown there
        assert admin.get(f"{path}{act}/")["Location"] == path
    assert admin.post(f"{path}decline/", {"reason": "Not yet."}).status_code == 302
    assert "Not yet." in text_of(engineer.get("/t/acme/notifications/"))
    assert "Waiting for approval" not in text_of(admin.get("/t/acme/models/"))
    assert engineer.post(f"{path}promote/", {"stage": "production", "confirm": "a model v2"}).status_code == 302
    assert admin.post(f"{path}approve/", {"confirm": "a model v2"}).status_code == 302
    assert stage_of(tenant, ids) == "production"


def order(ids, **more) -> dict:
    return {
        "name": "score", "kind": "batch_predict", "model_version": str(ids["version_id"]),
        "dataset": str(ids["dataset_id"]), "device_class": "cpu", "max_seconds": 600, **more,
    }  # fmt: skip


@pytest.fixture
def fitting(place):
    """The tenant's version has the input `size`, and its dataset has that column; a device exists."""
    tenant, ids = place
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**32)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    columns = [{"name": "size", "kind": "numeric", "integer": False, "distinct": 3}]
    signature = {"inputs": [{"name": "size", "kind": "numeric"}], "classes": ["a", "b"]}
    with tenant_scope(tenant.id):
        DatasetVersion.objects.filter(dataset_id=ids["dataset_id"]).update(columns=columns)
    return tenant, {**ids, "version_id": another_version(tenant, ids["version_id"], number=3, signature=signature)}


def test_a_batch_prediction_is_quoted_and_launched(fitting):
    tenant, ids = fitting
    client = client_of(tenant, "engineer")
    quote = post(client, "quotes/", order(ids))
    assert quote.status_code == 201, quote.content
    assert quote.json()["typical_seconds"] >= 1
    job = post(client, "jobs/", order(ids, quote=quote.json()["id"]))
    assert job.status_code == 201, job.content
    assert job.json()["kind"] == "batch_predict"
    assert job.json()["model_version"] == str(ids["version_id"])
    assert job.json()["cost_per_1000"] is None
    none_yet = client.get(f"/api/v1/jobs/{job.json()['id']}/result/")
    assert (none_yet.status_code, none_yet.json()["code"]) == (409, "no_result")
    training = client.get(f"/api/v1/jobs/{ids['job_id']}/result/")
    assert (training.status_code, training.json()["code"]) == (409, "no_result")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_version": None}, "model_version"),
        ({"model_version": 7}, "model_version"),
        ({"dataset": "x"}, "dataset"),
        ({"params": {}}, "params"),
    ],
)
def test_a_wrong_batch_prediction_is_named_by_field_and_stores_nothing(fitting, change, field):
    tenant, ids = fitting
    client = client_of(tenant, "engineer")
    for path in ("quotes/", "jobs/"):
        answer = post(client, path, {**order(ids), **change})
        assert answer.status_code == 400, answer.content
        assert field in answer.json()["fields"]
    with tenant_scope(tenant.id):
        assert not Job.objects.filter(kind="batch_predict").exists()


def test_a_dataset_without_the_models_columns_is_refused_by_name(fitting):
    tenant, ids = fitting
    with tenant_scope(tenant.id):
        DatasetVersion.objects.filter(dataset_id=ids["dataset_id"]).update(
            columns=[{"name": "size", "kind": "text", "integer": False, "distinct": 3}]
        )
    answer = post(client_of(tenant, "engineer"), "jobs/", order(ids))
    assert "size (free text, the model needs numbers)" in answer.json()["fields"]["dataset"][0]


def test_the_versions_of_a_model_say_the_size_the_sum_and_the_format_of_their_weights(place):
    tenant, ids = place
    with tenant_scope(tenant.id):
        row = ModelVersion.objects.get(id=ids["version_id"])
    client = client_of(tenant, "viewer")
    text = text_of(client.get(f"/t/acme/models/{row.model_id}/"))
    for said in (
        "safetensors",
        row.artefact_sha256,
        filesizeformat(row.artefact_size),
        "Weights, sha256</th>",
    ):
        assert said in text, said
    listed = client.get(f"/api/v1/models/{row.model_id}/versions/").json()["results"]
    assert (row.artefact_sha256, row.artefact_size) in {(it["artefact_sha256"], it["artefact_size"]) for it in listed}
