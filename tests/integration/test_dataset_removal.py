"""Failed uploads can be taken away, by page and API; what was read stays, and nothing is left in the store."""

from __future__ import annotations

import io
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection
from django.test import Client

from models_app import ingestion, operations, storage
from models_app.models import Dataset, DatasetVersion
from tenants.actor import Actor
from tenants.audit.models import AuditEntry
from tenants.errors import NotFound
from tenants.scoping import tenant_scope
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
BROKEN, FINE = b"a,b\n1,2\n1,2,3\n", b"a,b\n" + b"1,2\n3,4\n" * 30


@pytest.fixture(autouse=True)
def _store(s3) -> None:  # type: ignore[no-untyped-def]
    storage.ensure_bucket()


def ingested(actor: Actor, data: bytes, name: str = "Digits", **more: bool) -> DatasetVersion:
    version = operations.upload(actor=actor, name=name, file=io.BytesIO(data), filename="d.csv", **more)
    ingestion.ingest(version.id, actor.tenant_id)
    return version


def test_a_failed_upload_goes_with_its_dataset_and_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = factories.actor_for(factories.make_tenant(), "engineer")
    version = ingested(actor, BROKEN)
    discarded: list[str] = []
    monkeypatch.setattr(operations.doorbells, "ring_discard", lambda keys, tenant: discarded.extend(keys))
    assert operations.remove_failed(actor=actor, dataset_id=version.dataset_id) is True
    assert discarded == [version.source_key]
    with tenant_scope(actor.tenant_id):
        assert not Dataset.objects.exists()
        entry = AuditEntry.objects.get(action="models_app.dataset.removed")
        assert (entry.actor_id, entry.target_label, entry.changes) == (actor.id, "Digits", {"versions": ["v1", None]})
    with pytest.raises(NotFound):
        operations.remove_failed(actor=actor, dataset_id=version.dataset_id)


def test_what_was_read_stays() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant, "engineer")
    good, bad = ingested(actor, FINE), ingested(actor, BROKEN)
    assert good.dataset_id == bad.dataset_id
    client = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    path = f"/api/v1/datasets/{good.dataset_id}/"
    assert client.get(path).json()["state"] == "failed"
    assert client.delete(path).status_code == 204
    assert client.get(path).json()["state"] == "ready"
    answer = client.delete(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_in_use")
    assert client.delete(f"/api/v1/datasets/{uuid.uuid4()}/").status_code == 404


def test_a_restricted_upload_is_removed_by_nobody_who_may_not_see_it() -> None:
    tenant = factories.make_tenant()
    version = ingested(factories.actor_for(tenant, "engineer"), BROKEN, restricted=True)
    with pytest.raises(NotFound):
        operations.remove_failed(actor=factories.actor_for(tenant, "engineer"), dataset_id=version.dataset_id)


def test_the_page_offers_it_to_those_who_may_upload() -> None:
    tenant = factories.make_tenant()
    version = ingested(factories.actor_for(tenant, "engineer"), BROKEN)
    page = f"/t/{tenant.slug}/datasets/{version.dataset_id}/"
    viewer, engineer = Client(), Client()
    viewer.force_login(factories.make_member(tenant, "viewer"))
    engineer.force_login(factories.make_member(tenant, "engineer"))
    assert f"{page}remove/" not in viewer.get(page).content.decode()
    assert f"{page}remove/" in engineer.get(page).content.decode()
    answer = engineer.post(f"{page}remove/", follow=True)
    assert answer.redirect_chain[-1][0] == f"/t/{tenant.slug}/datasets/"
    assert "The failed upload is removed." in answer.content.decode()


def test_an_upload_that_meets_a_removal_makes_the_dataset_anew() -> None:
    actor = factories.actor_for(factories.make_tenant(), "engineer")
    for number in range(8):
        version = ingested(actor, BROKEN, f"set {number}")

        def again(name: str = f"set {number}") -> DatasetVersion:
            try:
                return operations.upload(actor=actor, name=name, file=io.BytesIO(FINE), filename="d.csv")
            finally:
                connection.close()

        def remove(dataset_id: uuid.UUID = version.dataset_id) -> bool:
            try:
                return operations.remove_failed(actor=actor, dataset_id=dataset_id)
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            removed, uploaded = pool.submit(remove), pool.submit(again)
            removed.result(60)
            made = uploaded.result(60)
        with tenant_scope(actor.tenant_id):
            assert [row.id for row in DatasetVersion.objects.filter(dataset__name=f"set {number}")] == [made.id]


def test_the_database_keeps_what_was_read() -> None:
    actor = factories.actor_for(factories.make_tenant(), "engineer")
    version = ingested(actor, FINE)
    with pytest.raises(IntegrityError, match="only a failed"), tenant_scope(actor.tenant_id):
        DatasetVersion.objects.filter(id=version.id).delete()
