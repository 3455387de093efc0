"""The REST API of datasets: upload, state, profile, recipes, and the same 404 for foreign and missing."""

from __future__ import annotations

import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from models_app.datasets import ingestion
from models_app.datasets.uploads import most_bytes
from models_app.object_store import storage
from tests.support.datasets import TARGET, csv_bytes
from tests.support.factories import make_api_key, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _store(s3):
    storage.ensure_bucket()


class Api:
    """A client with one tenant's key."""

    def __init__(self, tenant, scopes=None) -> None:
        self.tenant = tenant
        self.headers = {"Authorization": f"Bearer {make_api_key(tenant, scopes)}"}
        self.client = Client()

    def get(self, path):
        return self.client.get(f"/api/v1{path}", headers=self.headers)

    def upload(self, data, **fields):
        sent = {"name": "Cancer", "target": TARGET, **fields, "file": SimpleUploadedFile("cancer.csv", data)}
        return self.client.post("/api/v1/datasets/", sent, headers=self.headers)

    def send(self, method, path, body=None):
        return getattr(self.client, method)(
            f"/api/v1{path}", body or {}, content_type="application/json", headers=self.headers
        )


@pytest.fixture
def api():
    return Api(make_tenant())


def ingested(api, **fields):
    answer = api.upload(csv_bytes("breast_cancer"), **fields)
    assert answer.status_code == 201, answer.content
    ingestion.ingest(uuid.UUID(answer.json()["version"]["id"]), api.tenant.id)
    return answer.json()


def test_an_upload_is_answered_at_once_and_ready_after_ingest(api):
    sent = ingested(api)
    assert (sent["state"], sent["version"]["number"], sent["target"]) == ("ingesting", 1, TARGET)
    found = api.get(f"/datasets/{sent['id']}/").json()
    assert found["state"] == "ready"
    assert found["version"]["rows"] == 569
    assert found["version"]["columns"][0] == {
        "name": "mean_radius",
        "kind": "numeric",
        "distinct": 456,
        "tasks": ["regression"],
    }
    profile = api.get(f"/datasets/{sent['id']}/profile/").json()
    assert profile["task"] == "classification"
    assert profile["version"]["number"] == 1
    assert {"missing", "histogram", "quantiles", "power"} <= profile["columns"][0].keys()
    listed = api.get("/datasets/").json()
    assert [row["id"] for row in listed["results"]] == [sent["id"]]
    assert listed["next"] is None


def test_the_same_upload_twice_is_the_same_version(api):
    assert ingested(api)["version"]["id"] == api.upload(csv_bytes("breast_cancer")).json()["version"]["id"]


def test_lists_go_on_by_cursor(api):
    for at in range(3):
        api.upload(b"a,b\n1,%d\n" % at, name=f"d{at}", target="")
    first = api.get("/datasets/?limit=2").json()
    second = api.client.get(first["next"], headers=api.headers).json()
    assert [row["name"] for row in first["results"] + second["results"]] == ["d2", "d1", "d0"]


def test_a_file_over_the_cap_is_a_413_and_stores_nothing(api):
    answer = api.upload(b"a,b\n" + b"1,2\n" * (most_bytes() // 4))
    assert answer.status_code == 413
    assert answer.json()["code"] == "file_too_large"
    assert list(storage.listing(api.tenant.id)) == []


@pytest.mark.parametrize(
    "fields", [{"name": ""}, {"name": "x" * 121}, {"name": "a\nb"}, {"target": "t" * 201}, {"restricted": "perhaps"}]
)
def test_wrong_fields_are_named(api, fields):
    answer = api.upload(csv_bytes("diabetes"), **fields)
    assert answer.status_code == 400
    assert next(iter(fields)) in answer.json()["fields"]


def test_an_upload_without_a_file_or_as_json_is_refused(api):
    bare = api.client.post("/api/v1/datasets/", {"name": "x"}, headers=api.headers)
    assert (bare.status_code, list(bare.json()["fields"])) == (400, ["file"])
    assert api.send("post", "/datasets/", {"name": "x"}).status_code == 415


def test_a_store_that_is_away_is_a_503_and_nothing_is_kept(api, monkeypatch):
    def away(*_, **__):
        raise storage.StorageUnavailable

    monkeypatch.setattr(storage, "put", away)
    answer = api.upload(csv_bytes("diabetes"))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert api.get("/datasets/").json()["results"] == []


def test_foreign_and_missing_are_the_same_404(api):
    sent = ingested(api)
    stranger = Api(make_tenant())
    missing = uuid.uuid4()
    for route in (
        "/datasets/{}/",
        "/datasets/{}/profile/",
        "/models/{}/versions/",
        "/versions/{}/lineage/",
        "/versions/{}/download/",
    ):
        foreign, absent = (stranger.get(route.format(which)) for which in (sent["id"], missing))
        assert foreign.status_code == absent.status_code == 404
        assert {**foreign.json(), "request_id": "", "instance": ""} == {
            **absent.json(),
            "request_id": "",
            "instance": "",
        }
    for method, path, body in (
        ("patch", "/datasets/{}/", {"restricted": True}),
        ("post", "/datasets/{}/shares/", {"user": str(missing)}),
    ):
        assert stranger.send(method, path.format(sent["id"]), body).status_code == 404


def test_a_restricted_dataset_is_hidden_from_a_key_without_that_scope(api):
    sent = ingested(api)
    narrow = Api(api.tenant, ["datasets.view", "models.view"])
    assert narrow.get(f"/datasets/{sent['id']}/").status_code == 200
    assert api.send("patch", f"/datasets/{sent['id']}/", {"restricted": True}).json()["restricted"] is True
    assert narrow.get(f"/datasets/{sent['id']}/").status_code == 404
    assert narrow.get("/datasets/").json()["results"] == []
    assert narrow.upload(b"a,b\n1,2\n").status_code == 403


def test_recipes_come_with_card_and_schema(api):
    recipes = {row["id"]: row for row in api.get("/recipes/").json()["results"]}
    assert set(recipes) == {"tabular.classifier", "tabular.regressor"}
    classifier = recipes["tabular.classifier"]
    assert classifier["card"].keys() == {"summary", "when", "limits"}
    assert classifier["schema"]["properties"]["epochs"] | {"description": ""} == {
        "default": 150, "description": "", "maximum": 1000, "minimum": 1, "title": "Epochs", "type": "integer",
    }  # fmt: skip


def test_models_are_empty_at_first(api):
    assert api.get("/models/").json() == {"results": [], "next": None}
