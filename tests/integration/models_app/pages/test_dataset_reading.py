"""A dataset's pages: format choices at upload and later; and removal of the whole dataset."""

from __future__ import annotations

import io
import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from compute.models import Job
from models_app.datasets import ingestion, operations
from models_app.models import Dataset, DatasetVersion, IngestState
from models_app.object_store import storage
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.integration.models_app.test_dataset_removal import BROKEN, FINE, ingested, waiting_job
from tests.support.factories import actor_for, make_api_key, make_member, make_tenant
from tests.support.model_versions import make_version
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
CYRILLIC = "имя:y\n" + "".join(f"Пётр:{'ab'[at % 2]}\n" for at in range(60))


@pytest.fixture(autouse=True)
def _store(s3) -> None:  # type: ignore[no-untyped-def]
    storage.ensure_bucket()


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("lab")


@pytest.fixture
def client(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(make_member(tenant, "engineer"))
    return client


def newest(tenant: Tenant) -> DatasetVersion:
    with tenant_scope(tenant.id):
        return DatasetVersion.objects.select_related("dataset").order_by("-number")[0]


def test_encoding_and_delimiter_are_chosen_on_the_pages(tenant: Tenant, client: Client) -> None:
    form = {"name": "names", "target": "y", "encoding": "cp866", "delimiter": ":"}
    file = SimpleUploadedFile("names.txt", CYRILLIC.encode("cp866"))
    assert client.post("/t/lab/datasets/upload/", form | {"file": file}).status_code == 302
    version = newest(tenant)
    ingestion.ingest(version.id, tenant.id)
    page = f"/t/lab/datasets/{version.dataset_id}/"
    said = text_of(client.get(page))
    assert "Text, DOS 866 (set by a member), colon (set by a member)" in said
    assert '<option value="cp866" selected>DOS 866</option>' in said
    act = f"{page}versions/{version.id}/columns/"
    shown = {"encoding": "cp866", "delimiter": ":"}
    assert "No changes to apply" in text_of(client.post(act, shown))
    answer = client.post(act, {"encoding": "cp1251", "delimiter": ":"})
    made = newest(tenant)
    assert (answer["Location"], made.number) == (f"{page}?version={made.id}", 2)
    assert made.writing == {"encoding": "cp1251", "delimiter": ":"}
    assert client.post(act, {"encoding": "", "delimiter": ""}).status_code == 302
    assert newest(tenant).writing == {}
    file.seek(0)
    refused = client.post("/t/lab/datasets/upload/", form | {"file": file, "encoding": "ebcdic"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["encoding"])


def test_a_whole_dataset_is_removed_once_its_name_is_typed(tenant: Tenant, client: Client) -> None:
    actor = actor_for(tenant, "engineer")
    first = ingested(actor, FINE)
    ingested(actor, FINE + b"5,6\n")
    ingested(actor, BROKEN)
    model = make_version(actor, "risk", dataset_version=first)
    page = f"/t/lab/datasets/{first.dataset_id}/"
    said = " ".join(text_of(client.get(page)).split())
    dialog = said.partition('id="remove-dataset"')[2].partition("</dialog>")[0]
    assert "The files, tables and profiles of all its versions are removed permanently" in dialog
    assert "1 model version, which stay" in dialog
    assert str(model) in dialog
    assert client.post(f"{page}remove-all/", {"confirm": "digits"}).status_code == 422
    answer = client.post(f"{page}remove-all/", {"confirm": "Digits"}, follow=True)
    assert answer.redirect_chain == [("/t/lab/datasets/", 302)]
    assert "The data of Digits is removed." in text_of(answer)
    with tenant_scope(tenant.id):
        rows = DatasetVersion.objects.order_by("number").values_list("number", "state", "source_key", "data_key")
        assert list(rows) == [(1, "removed", "", ""), (2, "removed", "", "")]
        acts = AuditEntry.objects.filter(action__endswith=".removed").values_list("action", "changes")
        assert [name for name, _ in acts].count("models_app.dataset_version.removed") == 2
        assert dict(acts)["models_app.dataset.removed"] == {"versions": ["v1, v2, v3", None]}
    viewer = Client()
    viewer.force_login(make_member(tenant, "viewer"))
    assert "remove-all" not in text_of(viewer.get(page))
    back = operations.upload(actor=actor, name="Digits", file=io.BytesIO(FINE), filename="d.csv")
    assert (back.dataset_id, back.number) == (first.dataset_id, 1)


def test_the_api_lists_what_depends_on_a_dataset_and_removes_it_when_nothing_waits(tenant: Tenant) -> None:
    actor = actor_for(tenant, "engineer")
    version = ingested(actor, FINE)
    client = Client(headers={"Authorization": f"Bearer {make_api_key(tenant)}"})
    path = f"/api/v1/datasets/{version.dataset_id}/"
    job = waiting_job(tenant, version)
    hangs = client.get(f"{path}hangs/").json()
    assert [one["id"] for one in hangs["waiting"]] == [str(job.id)]
    refused = client.delete(f"{path}?all=true")
    assert (refused.status_code, refused.json()["code"], refused.json()["jobs"]) == (
        409,
        "dataset_in_use",
        [str(job.id)],
    )
    assert "uses this dataset" in refused.json()["title"]
    assert client.delete(f"{path}?all=perhaps").status_code == 400
    with tenant_scope(tenant.id):
        assert DatasetVersion.objects.get().state == IngestState.READY
    other = operations.upload(actor=actor, name="Other", file=io.BytesIO(FINE), filename="d.csv")
    waiting = client.delete(f"/api/v1/datasets/{other.dataset_id}/?all=true")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "dataset_ingesting")
    ingestion.ingest(other.id, tenant.id)
    for _ in range(2):
        assert client.delete(f"/api/v1/datasets/{other.dataset_id}/?all=true").status_code == 204
    assert "Other" not in [one["name"] for one in client.get("/api/v1/datasets/").json()["results"]]
    assert client.delete(f"/api/v1/datasets/{uuid.uuid4()}/?all=true").status_code == 404
    stranger = actor_for(tenant, "engineer")
    hidden = ingested(stranger, FINE, "Hidden", audience=operations.Audience(restricted=True))
    engineer = Client(headers={"Authorization": f"Bearer {make_api_key(tenant, ['datasets.view', 'datasets.create'])}"})
    for call in (engineer.get, engineer.delete):
        assert call(f"/api/v1/datasets/{hidden.dataset_id}/hangs/" if call == engineer.get else f"/api/v1/datasets/{hidden.dataset_id}/?all=true").status_code == 404  # fmt: skip


def test_a_dataset_of_failed_uploads_alone_goes_wholly(tenant: Tenant) -> None:
    version = ingested(actor_for(tenant, "engineer"), BROKEN)
    client = Client(headers={"Authorization": f"Bearer {make_api_key(tenant)}"})
    assert client.delete(f"/api/v1/datasets/{version.dataset_id}/?all=true").status_code == 204
    with tenant_scope(tenant.id):
        assert not Dataset.objects.exists()


def test_a_batch_reports_once_on_its_page_and_in_its_result_how_its_file_was_read(
    tenant: Tenant, client: Client
) -> None:
    actor = actor_for(tenant, "engineer")
    version = ingested(actor, FINE)
    model = make_version(actor, "risk", dataset_version=version)
    said = ["Column a: 2 cells are not of the model's type and read as missing."]
    files = {form: {"key": form, "sha256": "0" * 64, "size": 4} for form in ("parquet", "csv")}
    job = waiting_job(tenant, version)
    with tenant_scope(tenant.id):
        spec = {"model_version": str(model.id), "dataset": str(version.dataset_id), "dataset_version": str(version.id)}
        result = {"rows": 60, "read": said, "files": files}
        Job.objects.filter(id=job.id).update(kind="batch_predict", state="succeeded", spec=spec, result=result)
    page = text_of(client.get(f"/t/lab/jobs/{job.id}/"))
    assert page.count("2 cells are not of the model&#x27;s type") == 1
    key = {"Authorization": f"Bearer {make_api_key(tenant)}"}
    assert client.get(f"/api/v1/jobs/{job.id}/result/", headers=key).json()["read"] == said
    with tenant_scope(tenant.id):
        Job.objects.filter(id=job.id).update(result={"rows": 60, "files": files})
    assert client.get(f"/api/v1/jobs/{job.id}/result/", headers=key).json()["read"] == [], "of before it was told"
