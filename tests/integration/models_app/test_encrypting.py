"""Older files are encrypted while the product runs; a killed process leaves nothing half done."""

from __future__ import annotations

import hashlib
import io
import os

import pytest
from django.core.management import CommandError, call_command

from compute.models import Job
from models_app.files import encrypting
from models_app.models import DatasetVersion, ModelVersion
from models_app.models.files import Stored
from models_app.object_store import s3, storage
from tenants.encryption.stream import MAGIC
from tenants.isolation.scoping import tenant_scope
from tests.api.objects import one_of_everything
from tests.support.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
CANARY = b"a row of last year"


class Old:
    """A tenant whose every kind of file was stored in the clear."""

    def __init__(self, superuser) -> None:
        self.tenant = make_tenant()
        self.ids = one_of_everything(self.tenant)
        self.plain = {name: self.put(name) for name in ("source", "table", "weights", "signature", "csv", "state.json")}
        source, table, weights, signature, csv, state = self.plain.values()
        for row, prefix, key, old in (
            ("datasetversion", "", "source_key", source),
            ("datasetversion", "data_", "data_key", table),
            ("modelversion", "artefact_", "artefact_key", weights),
            ("modelversion", "signature_", "signature_key", signature),
        ):
            superuser.execute(
                f"UPDATE models_app_{row} SET {key} = %s, {prefix}sha256 = %s, {prefix}size = %s WHERE tenant_id = %s",
                [old.key, old.sha256, old.size, self.tenant.id],
            )
        plain = [{k: v for k, v in old.to_json().items() if k != "encrypted"} for old in (csv, state)]
        with tenant_scope(self.tenant.id):
            Job.objects.filter(id=self.ids["job_id"]).update(
                kind="batch_predict", result={"rows": 1, "files": {"csv": plain[0]}},
                checkpoint={"files": [{"name": "state.json", **plain[1]}], "recipe": "x"},
            )  # fmt: skip

    def put(self, name: str) -> Stored:
        key, data = storage.new_key(self.tenant.id, "d"), name.encode() + CANARY + os.urandom(300_000)
        s3.put(key, io.BytesIO(data), len(data))
        return Stored(key, hashlib.sha256(data).hexdigest(), len(data))

    def told(self) -> list[Stored]:
        """Return the rows' descriptions of the six files now."""
        with tenant_scope(self.tenant.id):
            data = DatasetVersion.objects.get()
            model = ModelVersion.objects.get()
            job = Job.objects.get(id=self.ids["job_id"])
        pointers = [*job.result["files"].values(), *job.checkpoint["files"]]
        files = [Stored(**{k: v for k, v in file.items() if k != "name"}) for file in pointers]
        return [data.source, data.table, model.weights, model.signature_file, *files]

    def raw(self) -> list[bytes]:
        bodies = []
        for old in self.plain.values():
            with s3.opened(old.key) as body:
                bodies.append(body.read())
        return bodies

    def readable(self) -> bool:
        """Return whether each file is unchanged, by the old row and by the current one."""
        return all(
            hashlib.sha256(b"".join(storage.stream(self.tenant.id, stored))).hexdigest() == old.sha256
            for old, now in zip(self.plain.values(), self.told(), strict=True)
            for stored in (old, now)
        )


@pytest.fixture
def old(s3, superuser) -> Old:
    storage.ensure_bucket()
    return Old(superuser)


def test_every_kind_of_old_file_is_encrypted_and_read_as_before(old, as_control) -> None:
    assert all(CANARY in body for body in old.raw())
    assert old.readable()
    with as_control():
        assert encrypting.waiting() == 6
        call_command("encrypt_objects", stdout=io.StringIO())
        assert encrypting.waiting() == 0
    assert all(body.startswith(MAGIC) and CANARY not in body for body in old.raw())
    assert all(stored.encrypted for stored in old.told())
    assert old.readable()


@pytest.mark.parametrize("after", range(6))
def test_a_run_killed_before_its_first_report_resumes(old, as_control, monkeypatch, after) -> None:
    real, count = storage.encrypt, 0

    def killed_after(tenant_id, stored):
        nonlocal count
        real(tenant_id, stored)
        if count == after:
            raise KeyboardInterrupt
        count += 1

    with monkeypatch.context() as patch, as_control():
        patch.setattr(storage, "encrypt", killed_after)
        with pytest.raises(KeyboardInterrupt):
            encrypting.run()
    assert old.readable(), "the object is encrypted, its row says plain"
    with as_control():
        call_command("encrypt_objects", stdout=io.StringIO())
    assert all(stored.encrypted for stored in old.told())
    assert old.readable()


def test_what_is_removed_while_it_is_encrypted_does_not_come_back(old, as_control, superuser, monkeypatch) -> None:
    real, source, state = s3.put, old.plain["source"].key, old.plain["state.json"].key

    def removed_before(key, *rest):
        if key == source:
            superuser.execute(
                "UPDATE models_app_datasetversion SET state = 'removed', source_key = '', data_key = '',"
                " removed_at = now() WHERE source_key = %s", [key],
            )  # fmt: skip
        if key == state:
            superuser.execute("UPDATE compute_job SET checkpoint = '{}' WHERE id = %s", [old.ids["job_id"]])
        if key in (source, state):
            s3.delete([key] if key == state else [key, old.plain["table"].key])
        real(key, *rest)

    with monkeypatch.context() as patch, as_control():
        patch.setattr(s3, "put", removed_before)
        encrypting.run()
    left = {one.key for one in storage.listing(old.tenant.id)}
    assert left == {old.plain[name].key for name in ("weights", "signature", "csv")}


def test_batches_are_bounded_and_a_damaged_file_holds_up_no_other(old, as_control) -> None:
    damaged = old.plain["source"].key
    s3.put(damaged, io.BytesIO(b"other bytes"), 11)
    with as_control():
        assert encrypting.run(limit=2) == 2
        assert encrypting.waiting() == 4
        with pytest.raises(CommandError, match="1 files could not be read"):
            call_command("encrypt_objects", stdout=io.StringIO())
    with s3.opened(damaged) as body:
        assert body.read() == b"other bytes", "what cannot be read is left as it is"
    # A row marked encrypted is never read in the clear.
    weights = old.told()[2]
    s3.put(weights.key, io.BytesIO(b"w" * weights.size), weights.size)
    with pytest.raises(storage.ChecksumMismatch):
        b"".join(storage.stream(old.tenant.id, weights))
