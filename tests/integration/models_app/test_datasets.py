"""A file becomes a ready dataset version: through the object store, the sandbox and the database."""

from __future__ import annotations

import errno
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from compute.sandbox import workdirs
from models_app import queries, tasks
from models_app.datasets import ingestion, operations, removal
from models_app.files import orphans
from models_app.models import Dataset, DatasetVersion
from models_app.object_store import storage
from tenants import quotas
from tenants.access.actor import Actor
from tenants.audit.verify import verify
from tenants.errors import NotFound
from tenants.events import outbox
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tenants.sharing import shares
from tests.support.datasets import TARGET, csv_bytes
from tests.support.factories import actor_for, make_api_key, make_member, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
RESTRICTED = operations.Audience(restricted=True)


@pytest.fixture(autouse=True)
def _store(s3):
    storage.ensure_bucket()


def upload(actor, data=None, name="Digits", target=TARGET, **more):
    return operations.upload(
        actor=actor,
        name=name,
        file=io.BytesIO(data or csv_bytes("digits")),
        filename="digits.csv",
        target=target,
        **more,
    )


def ready(actor, **more):
    version = upload(actor, **more)
    ingestion.ingest(version.id, actor.tenant_id)
    return version


def test_an_uploaded_file_becomes_a_ready_version_with_its_profile():
    actor = actor_for(make_tenant(), "engineer")
    version = ready(actor)
    with tenant_scope(actor.tenant_id):
        detail = queries.dataset_detail(actor, version.dataset_id)
        profile = queries.profile(actor, version.dataset_id)
        (choice,) = queries.launchable(actor)
        actions = list(AuditEntry.objects.order_by("seq").values_list("action", flat=True))
        assert verify().ok
    assert detail.latest.state == "ready", detail.latest.message
    assert detail.latest.rows == 1797
    assert len(detail.latest.columns) == 65
    assert profile["task"] == "classification"
    assert max(column["power"] or 0 for column in profile["columns"]) > 0.15
    assert choice.tasks == ("classification", "regression")
    assert choice.label == "Digits v1, 1,797 rows"
    assert actions[-2:] == ["models_app.dataset.uploaded", "models_app.dataset_version.ready"]


def test_a_broken_file_fails_with_a_code_and_a_sentence():
    actor = actor_for(make_tenant())
    version = ready(actor, data=b"a,b\n1,2\n1,2,3\n", target="")
    with tenant_scope(actor.tenant_id):
        latest = queries.dataset_detail(actor, version.dataset_id).latest
    assert (latest.state, latest.code) == ("failed", "ragged_rows")
    assert "3 values" in latest.message


def test_the_same_bytes_answer_the_same_version_and_other_bytes_make_the_next():
    actor = actor_for(make_tenant())
    first = ready(actor)
    assert upload(actor).id == first.id
    other = upload(actor, data=csv_bytes("digits") + b"\n")
    assert (other.dataset_id, other.number) == (first.dataset_id, 2)
    assert upload(actor, target="pixel_0_1").number == 3


def test_a_second_wake_up_for_a_version_does_nothing():
    actor = actor_for(make_tenant())
    version = ready(actor)
    ingestion.ingest(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).token == 1


def test_a_worker_that_was_overtaken_changes_nothing(tmp_path):
    actor = actor_for(make_tenant())
    version = upload(actor)
    slow = ingestion.claim(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        DatasetVersion.objects.filter(id=version.id).update(claimed_at=None)
    ingestion.ingest(version.id, actor.tenant_id)
    ingestion.fail(actor=actor, mine=slow, code="late", message="late")
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).state == "ready"


def test_the_sweep_sends_another_wake_up_for_an_unread_upload(as_control, demo_clock):
    actor = actor_for(make_tenant())
    version = upload(actor)
    rung = []
    with as_control():
        assert ingestion.requeue_stale(wake=lambda *ids: rung.append(ids)) == 0
        demo_clock.advance(timedelta(minutes=1))
        assert ingestion.requeue_stale(wake=lambda *ids: rung.append(ids)) == 1
    assert rung == [(version.id, actor.tenant_id)]


def test_a_store_that_is_away_leaves_the_version_waiting_for_the_next_try(settings, monkeypatch):
    actor = actor_for(make_tenant())
    version = upload(actor)

    def away(*_):
        raise storage.StorageUnavailable

    monkeypatch.setattr(storage, "fetch", away)
    for token in range(1, ingestion.MAX_TRIES + 3):
        ingestion.ingest(version.id, actor.tenant_id)
        with tenant_scope(actor.tenant_id):
            row = DatasetVersion.objects.get(id=version.id)
        assert (row.state, row.token, row.tries) == ("ingesting", token, 0)
    monkeypatch.undo()
    ingestion.ingest(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).state == "ready"


def test_a_full_disk_counts_as_no_try(monkeypatch):
    actor = actor_for(make_tenant())
    version = upload(actor)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workdirs, "make", full)
    ingestion.ingest(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        row = DatasetVersion.objects.get(id=version.id)
    assert (row.state, row.tries) == ("ingesting", 0)
    monkeypatch.undo()
    ingestion.ingest(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).state == "ready"


def test_a_stored_file_that_is_damaged_is_given_up_and_can_be_uploaded_again(monkeypatch):
    actor = actor_for(make_tenant())
    version = upload(actor)

    def damaged(*_):
        raise storage.ChecksumMismatch

    monkeypatch.setattr(storage, "fetch", damaged)
    with tenant_scope(actor.tenant_id):
        DatasetVersion.objects.filter(id=version.id).update(tries=ingestion.MAX_TRIES - 1)
    ingestion.ingest(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).code == "ingest_failed"
    monkeypatch.undo()
    assert ready(actor).id == version.id
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).state == "ready"


def test_a_file_that_crashes_the_worker_repeatedly_fails():
    actor = actor_for(make_tenant())
    version = upload(actor)
    for _ in range(ingestion.MAX_TRIES):
        assert ingestion.claim(version.id, actor.tenant_id) is not None
        with tenant_scope(actor.tenant_id):
            DatasetVersion.objects.filter(id=version.id).update(claimed_at=None)
    ingestion.ingest(version.id, actor.tenant_id)
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.get(id=version.id).code == "ingest_failed"


def test_a_restricted_dataset_is_visible_to_its_creator_admins_and_shares():
    tenant = make_tenant()
    creator, colleague, admin = actor_for(tenant, "engineer"), actor_for(tenant, "engineer"), actor_for(tenant, "admin")
    dataset_id = ready(creator, audience=RESTRICTED).dataset_id
    with tenant_scope(tenant.id):
        assert queries.dataset_list(creator)
        assert queries.dataset_list(admin)
        assert not queries.dataset_list(colleague)
        with pytest.raises(NotFound):
            queries.dataset_detail(colleague, dataset_id)
    with pytest.raises(NotFound):
        shares.share(actor=colleague, kind="dataset", object_id=dataset_id, user_id=colleague.id)
    with pytest.raises(operations.DatasetNameTaken):
        upload(colleague)
    shares.share(actor=creator, kind="dataset", object_id=dataset_id, user_id=colleague.id)
    with tenant_scope(tenant.id):
        assert queries.dataset_detail(colleague, dataset_id).id == dataset_id
        assert [row.name for row in shares.shares_of("dataset", dataset_id)] == [colleague.label]
    shares.unshare(actor=creator, kind="dataset", object_id=dataset_id, holder_id=colleague.id)
    with tenant_scope(tenant.id):
        assert not queries.dataset_list(colleague)
    operations.restrict(actor=creator, dataset_id=dataset_id, restricted=False)
    with tenant_scope(tenant.id):
        assert queries.dataset_list(colleague)


def test_a_dataset_is_not_shared_with_a_person_of_another_tenant():
    creator = actor_for(make_tenant(), "engineer")
    stranger = make_member(make_tenant(), "engineer")
    version = upload(creator, audience=RESTRICTED)
    with pytest.raises(NotFound):
        shares.share(actor=creator, kind="dataset", object_id=version.dataset_id, user_id=stranger.id)


def test_another_tenants_dataset_is_missing():
    actor, stranger = actor_for(make_tenant()), actor_for(make_tenant())
    version = ready(actor)
    with tenant_scope(stranger.tenant_id):
        assert not queries.dataset_list(stranger)
        assert not queries.launchable(stranger)
        for ask in (
            lambda: queries.dataset_detail(stranger, version.dataset_id),
            lambda: queries.profile(stranger, version.dataset_id),
        ):
            with pytest.raises(NotFound):
                ask()
        assert not Dataset.objects.filter(id=version.dataset_id).exists()


def test_stored_files_lie_under_the_tenants_prefix(tmp_path: Path):
    actor = actor_for(make_tenant())
    version = ready(actor)
    with tenant_scope(actor.tenant_id):
        row = DatasetVersion.objects.get(id=version.id)
    keys = {item.key for item in storage.listing(actor.tenant_id)}
    assert {row.source_key, row.data_key} == keys
    assert all(key.startswith(f"t/{actor.tenant_id}/") for key in keys)


def test_files_that_nothing_points_at_are_removed_once_they_are_old(s3):
    actor = actor_for(make_tenant())
    version = ready(actor)
    stray = storage.put(actor.tenant_id, storage.new_key(actor.tenant_id, "u"), io.BytesIO(b"lost"))
    assert orphans.remove(actor.tenant_id) == 0
    assert orphans.remove(actor.tenant_id, older_than=timedelta(seconds=-60)) == 1
    keys = {item.key for item in storage.listing(actor.tenant_id)}
    assert stray.key not in keys
    with tenant_scope(actor.tenant_id):
        row = DatasetVersion.objects.get(id=version.id)
    assert keys == {row.source_key, row.data_key}


def test_a_wake_up_to_discard_a_file_in_use_removes_nothing():
    actor = actor_for(make_tenant())
    version = ready(actor)
    with tenant_scope(actor.tenant_id):
        row = DatasetVersion.objects.get(id=version.id)
    tasks.discard([row.source_key, row.data_key], str(actor.tenant_id))
    assert {item.key for item in storage.listing(actor.tenant_id)} == {row.source_key, row.data_key}


def test_twenty_uploads_of_the_same_file_at_once_make_one_version():
    actor = actor_for(make_tenant())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: in_thread(lambda: upload(actor, data=b"a,b\n1,2\n", target="").id), range(20)))
    assert len(set(found)) == 1


def in_thread(act):
    try:
        return act()
    finally:
        connection.close()


def test_a_share_ends_with_the_membership_and_does_not_come_back(as_control):
    tenant = make_tenant()
    owner, engineer = actor_for(tenant), actor_for(tenant, "engineer")
    version = upload(engineer, name="secret", audience=RESTRICTED)
    guest = make_member(tenant, "viewer")
    shares.share(actor=engineer, kind="dataset", object_id=version.dataset_id, user_id=guest.id)
    members.remove_member(actor=owner, user_id=guest.id)
    with as_control():
        outbox.drain(tenant.id)
    members.add_member(actor=owner, email=guest.email, role="viewer")
    again = Actor.member(tenant_id=tenant.id, user_id=guest.id, email=guest.email, role="viewer")
    with tenant_scope(tenant.id):
        assert queries.dataset_list(again) == []


def test_an_idempotency_key_covers_the_content_of_the_file(client):
    key = make_api_key(make_tenant())
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "upload"}

    def post(data, boundary="b1", order=("name", "target", "file")):
        parts = {
            "name": ("", b"t"),
            "target": ("", b"b"),
            "file": ('; filename="t.csv"\r\nContent-Type: text/csv', data),
        }
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{parts[name][0]}\r\n\r\n'.encode()
            + parts[name][1]
            + b"\r\n"
            for name in order
        )
        kind = f"multipart/form-data; boundary={boundary}"
        return client.generic("POST", "/api/v1/datasets/", body + f"--{boundary}--\r\n".encode(), kind, headers=headers)

    first, twin, other = post(b"a,b\n1,2\n"), post(b"a,b\n1,2\n", "b2"), post(b"a,b\n1,3\n")
    turned = post(b"a,b\n1,2\n", "----WebKitFormBoundaryx7", order=("file", "target", "name"))
    assert (first.status_code, twin.status_code, turned.status_code, other.status_code) == (201, 201, 201, 409)
    assert first.json()["id"] == twin.json()["id"] == turned.json()["id"]
    assert twin["Idempotent-Replayed"] == turned["Idempotent-Replayed"] == "true"


def test_a_full_storage_quota_refuses_an_upload_and_keeps_no_file(monkeypatch):
    actor, half = actor_for(make_tenant()), b"a,b\n" + b"1,2\n" * 150_000
    discarded = []
    monkeypatch.setattr(operations.wakeups, "wake_discard", lambda keys, tenant_id: discarded.extend(keys))
    quotas.set_limit(actor=actor, resource="storage:datasets", limit=1)
    first = upload(actor, data=half, name="one", target="b")
    with pytest.raises(quotas.QuotaExceeded, match=r"Dataset storage: 0\.57 of 1 MiB in use in the organisation"):
        upload(actor, data=half + b"3,4\n", name="two", target="b")
    with tenant_scope(actor.tenant_id):
        assert DatasetVersion.objects.count() == 1
    assert len(discarded) == 1 and discarded[0] != first.source_key
    ingestion.ingest(first.id, actor.tenant_id)
    removal.remove_version(actor=actor, dataset_id=first.dataset_id, version_id=first.id)
    assert upload(actor, data=half + b"3,4\n", name="two", target="b").state == "ingesting"
    with tenant_scope(actor.tenant_id):
        assert {use.in_use for use in quotas.everywhere()} == {len(half) + 4}
