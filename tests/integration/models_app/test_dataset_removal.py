"""Failed uploads can be removed, by page and API; versions that were read stay, and nothing is left in the store."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress

import psycopg
import pytest
from django.db import IntegrityError, connection
from django.test import Client

from compute.models import Job
from models_app.datasets import column_choices, ingestion, operations, removal
from models_app.models import Dataset, DatasetVersion
from models_app.object_store import storage
from models_app.training import specs
from tenants.access.actor import Actor
from tenants.errors import Invalid, NotFound
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.integration.compute.test_locks import beside, wait_until_they_meet
from tests.support import factories, launch_forms
from tests.support.model_versions import make_version
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]
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
    monkeypatch.setattr(operations.wakeups, "wake_discard", lambda keys, tenant: discarded.extend(keys))
    assert operations.remove_failed(actor=actor, dataset_id=version.dataset_id) is True
    assert discarded == [version.source_key]
    with tenant_scope(actor.tenant_id):
        assert not Dataset.objects.exists()
        entry = AuditEntry.objects.get(action="models_app.dataset.removed")
        assert (entry.actor_id, entry.target_label, entry.changes) == (actor.id, "Digits", {"versions": ["v1", None]})
    with pytest.raises(NotFound):
        operations.remove_failed(actor=actor, dataset_id=version.dataset_id)


def test_a_ready_version_stays_after_failed_uploads_are_removed() -> None:
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


def test_a_restricted_upload_is_removed_only_by_those_who_see_it() -> None:
    tenant = factories.make_tenant()
    version = ingested(factories.actor_for(tenant, "engineer"), BROKEN, audience=operations.Audience(restricted=True))
    with pytest.raises(NotFound):
        operations.remove_failed(actor=factories.actor_for(tenant, "engineer"), dataset_id=version.dataset_id)


def test_the_page_offers_it_to_those_who_may_upload() -> None:
    tenant = factories.make_tenant()
    version = ingested(factories.actor_for(tenant, "engineer"), BROKEN)
    page = f"/t/{tenant.slug}/datasets/{version.dataset_id}/"
    viewer, engineer = Client(), Client()
    viewer.force_login(factories.make_member(tenant, "viewer"))
    engineer.force_login(factories.make_member(tenant, "engineer"))
    assert f"{page}remove/" not in text_of(viewer.get(page))
    assert f"{page}remove/" in text_of(engineer.get(page))
    answer = engineer.post(f"{page}remove/", follow=True)
    assert answer.redirect_chain[-1][0] == f"/t/{tenant.slug}/datasets/"
    assert "Failed upload removed." in text_of(answer)


def test_an_upload_during_a_removal_creates_the_dataset_again() -> None:
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


def waiting(superuser: psycopg.Connection) -> int:
    """Return the number of sessions of this database that wait for a lock."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    row = superuser.execute(asked, [connection.settings_dict["NAME"]]).fetchone()
    return row[0] if row else 0


def stored_keys(tenant: Tenant) -> set[str]:
    return {one.key for one in storage.listing(tenant.id)}


def test_a_version_that_was_read_is_removed_and_leaves_its_name_hash_and_counts(as_control: Control) -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant, "engineer")
    version = ingested(actor, FINE)
    model = make_version(actor, "risk", dataset_version=version)
    client = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    path = f"/api/v1/datasets/{version.dataset_id}/versions/{version.id}/"
    hangs = client.get(path).json()["hangs"]
    assert (hangs["versions"], hangs["models"]) == (1, [{"id": str(model.id), "name": "risk v1"}])
    assert len(stored_keys(tenant)) == 2
    assert client.delete(path).status_code == client.delete(path).status_code == 204
    with as_control():
        outbox.relay(outbox.deliver)
    assert stored_keys(tenant) == set()
    left = client.get(path).json()
    assert (left["state"], left["sha256"], left["rows"]) == ("removed", version.sha256, 60)
    assert left["removed_by_label"]
    with tenant_scope(tenant.id):
        row = DatasetVersion.objects.get(id=version.id)
        assert (row.profile, row.warnings, row.reading, row.data_key, row.source_key) == ({}, [], {}, "", "")
        entry = AuditEntry.objects.get(action="models_app.dataset_version.removed")
        assert (entry.target_label, entry.changes["state"]) == ("Digits v1", ["ready", "removed"])
    assert client.get(f"/api/v1/versions/{model.id}/lineage/").json()["dataset_state"] == "removed"
    assert client.get("/api/v1/datasets/").json()["results"] == []
    with pytest.raises(Invalid, match="was removed"), tenant_scope(tenant.id):
        specs.validate(actor, {"recipe": "tabular.classifier", "dataset_version": str(version.id), "target": "a"})
    again = ingested(actor, FINE)
    assert (again.id, client.get(path).json()["state"]) == (version.id, "ready"), "the same bytes bring it back"


def test_a_removal_keeps_the_file_that_another_version_was_read_from(as_control: Control) -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant, "engineer")
    version = ingested(actor, FINE)
    with tenant_scope(tenant.id):
        other = column_choices.choose_columns(actor=actor, version_id=version.id, choices={"a": {"type": "text"}})
    ingestion.ingest(other.id, tenant.id)
    with tenant_scope(tenant.id):
        removal.remove_version(actor=actor, dataset_id=version.dataset_id, version_id=version.id)
        rest = DatasetVersion.objects.get(id=other.id)
    with as_control():
        outbox.relay(outbox.deliver)
    assert stored_keys(tenant) == {rest.source_key, rest.data_key}


def test_choices_that_meet_the_removal_of_their_version_never_name_a_file_that_is_gone(
    as_control: Control, superuser: psycopg.Connection
) -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant, "engineer")
    version = ingested(actor, FINE)
    held, go_on = threading.Event(), threading.Event()

    def hold_the_dataset() -> None:
        with tenant_scope(tenant.id):
            Dataset.objects.select_for_update(no_key=True).get(id=version.dataset_id)
            held.set()
            assert go_on.wait(60)

    def choose() -> DatasetVersion | None:
        with tenant_scope(tenant.id), suppress(column_choices.VersionNotRead):
            return column_choices.choose_columns(actor=actor, version_id=version.id, choices={"a": {"type": "text"}})
        return None

    def remove() -> None:
        with tenant_scope(tenant.id):
            removal.remove_version(actor=actor, dataset_id=version.dataset_id, version_id=version.id)

    with ThreadPoolExecutor(3) as pool:
        holder = beside(pool, hold_the_dataset)
        assert held.wait(60)
        chosen = beside(pool, choose)
        wait_until_they_meet(lambda: waiting(superuser) == 1)
        removed = beside(pool, remove)
        wait_until_they_meet(lambda: removed.done() or waiting(superuser) == 2)
        if removed.done():  # it waited for no lock: its files go before the choices are stored
            with as_control():
                outbox.relay(outbox.deliver)
        go_on.set()
        made = chosen.result(60)
        removed.result(60)
        holder.result(60)
    with as_control():
        outbox.relay(outbox.deliver)
    assert made is None or made.source_key in stored_keys(tenant)


@pytest.mark.parametrize("whole", [False, True], ids=["a version", "the dataset"])
def test_a_removal_that_meets_a_launch_waits_for_it_and_sees_its_job(
    superuser: psycopg.Connection, whole: bool
) -> None:
    tenant = launch_forms.make_lab()
    actor = factories.actor_for(tenant, "engineer")
    version = launch_forms.table(tenant, columns=launch_forms.WITH_CLASSES)
    held, go_on = threading.Event(), threading.Event()

    def launch() -> None:
        with tenant_scope(tenant.id):
            launch_forms.submitted(tenant, version)
            held.set()
            assert go_on.wait(60)

    def remove() -> None:
        with tenant_scope(tenant.id):
            if whole:
                removal.remove_dataset(actor=actor, dataset_id=version.dataset_id)
            else:
                removal.remove_version(actor=actor, dataset_id=version.dataset_id, version_id=version.id)

    with ThreadPoolExecutor(2) as pool:
        launched = beside(pool, launch)
        assert held.wait(60)
        removed = beside(pool, remove)
        wait_until_they_meet(lambda: removed.done() or waiting(superuser) == 1)
        go_on.set()
        launched.result(60)
        with pytest.raises(removal.DatasetInUse, match="first try"):
            removed.result(60)


@pytest.mark.parametrize("whole", [False, True], ids=["a version", "the dataset"])
def test_a_launch_that_meets_a_removal_waits_for_it_and_is_refused(superuser: psycopg.Connection, whole: bool) -> None:
    tenant = launch_forms.make_lab()
    actor = factories.actor_for(tenant, "engineer")
    version = launch_forms.table(tenant, columns=launch_forms.WITH_CLASSES)
    held, go_on = threading.Event(), threading.Event()

    def remove() -> None:
        with tenant_scope(tenant.id):
            if whole:
                removal.remove_dataset(actor=actor, dataset_id=version.dataset_id)
            else:
                removal.remove_version(actor=actor, dataset_id=version.dataset_id, version_id=version.id)
            held.set()
            assert go_on.wait(60)

    def launch() -> None:
        with tenant_scope(tenant.id):
            launch_forms.submitted(tenant, version)

    with ThreadPoolExecutor(2) as pool:
        removed = beside(pool, remove)
        assert held.wait(60)
        launched = beside(pool, launch)
        wait_until_they_meet(lambda: launched.done() or waiting(superuser) == 1)
        go_on.set()
        removed.result(60)
        with pytest.raises(Invalid, match="was removed"):
            launched.result(60)


def waiting_job(tenant: Tenant, version: DatasetVersion) -> Job:
    """Make a training job on a version that has not ended."""
    with tenant_scope(tenant.id):
        return Job.objects.create(
            name="nightly", kind="train", project_id=factories.default_project_id(tenant), device_class="cpu",
            spec={"dataset_version": str(version.id)}, tier="on_demand", max_seconds=60, submitted_by_label="o",
            unit_amount=1, currency="EUR",
        )  # fmt: skip


def test_work_that_has_not_ended_keeps_its_data_and_is_named() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant, "engineer")
    version = ingested(actor, FINE)
    job = waiting_job(tenant, version)
    engineer = Client()
    engineer.force_login(factories.make_member(tenant, "engineer"))
    page = f"/t/{tenant.slug}/datasets/{version.dataset_id}/"
    assert "Unfinished work uses it:" in text_of(engineer.get(page))
    answer = engineer.post(f"{page}versions/{version.id}/remove/", {"confirm": "Digits v1"})
    assert answer.status_code == 409
    assert "nightly" in text_of(answer)
    with tenant_scope(tenant.id):
        Job.objects.filter(id=job.id).update(state="cancelled")
    said = text_of(engineer.get(page))
    assert "1 training job" in said
    assert "Nothing was removed" in text_of(engineer.post(f"{page}versions/{version.id}/remove/"))
    answer = engineer.post(f"{page}versions/{version.id}/remove/", {"confirm": "Digits v1"}, follow=True)
    assert "The data of this version was removed" in text_of(answer)


def test_work_that_is_hidden_is_counted_and_still_keeps_its_data() -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant, "owner")
    version, secret = ingested(owner, FINE), make_version(owner, "secret", restricted=True)
    with tenant_scope(tenant.id):
        job = Job.objects.create(
            name="hush-run", kind="batch_predict", project_id=factories.default_project_id(tenant), device_class="cpu",
            spec={"dataset_version": str(version.id), "model_version": str(secret.id)}, tier="on_demand", max_seconds=60,
            submitted_by_label="o", unit_amount=1, currency="EUR",
        )  # fmt: skip
    said = {}
    for role in ("engineer", "owner"):
        person = Client()
        person.force_login(factories.make_member(tenant, role))
        person.get(f"/t/{tenant.slug}/")
        path = f"/api/v1/datasets/{version.dataset_id}/versions/{version.id}/"
        refused = person.delete(path)
        hangs = person.get(path).json()["hangs"]
        page = text_of(person.get(f"/t/{tenant.slug}/datasets/{version.dataset_id}/"))
        assert refused.status_code == 409, refused.content
        said[role] = (hangs["waiting"], hangs["waiting_hidden"])
        words = text_of(refused) + page
        assert ("hush-run" in words, str(job.id) in words) == ((role == "owner"),) * 2
        assert (words.count("1 job that is not shared with you") == 3) == (role == "engineer")
    assert said == {"engineer": ([], 1), "owner": ([{"id": str(job.id), "name": "hush-run"}], 0)}


def test_a_dataset_is_restricted_and_shared_on_its_page() -> None:
    tenant = factories.make_tenant()
    version = ingested(factories.actor_for(tenant, "owner"), FINE)
    owner, guest, viewer = Client(), Client(), Client()
    person = factories.make_member(tenant, "engineer")
    owner.force_login(factories.make_member(tenant, "owner"))
    guest.force_login(person)
    viewer.force_login(factories.make_member(tenant, "viewer"))
    page = f"/t/{tenant.slug}/datasets/{version.dataset_id}/"
    assert "Restrict it to choose" not in text_of(viewer.get(page))
    assert "Restricted:" in text_of(owner.post(f"{page}restrict/", {"restricted": "on"}, follow=True))
    assert guest.get(page).status_code == 404
    sharing = f"/t/{tenant.slug}/shares/dataset/{version.dataset_id}/"
    assert owner.post(sharing, {"holder": "nobody"}).status_code == 400
    said = text_of(owner.post(sharing, {"holder": f"user:{person.pk}"}, follow=True))
    assert f"Stop sharing with {person.email}" in said
    assert guest.get(page).status_code == 200
    owner.post(f"{sharing}{person.pk}/end/")
    assert guest.get(page).status_code == 404
    assert "All members of" in text_of(owner.post(f"{page}restrict/", follow=True))
    assert guest.get(page).status_code == 200
