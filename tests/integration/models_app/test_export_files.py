"""The stored files of an export, byte for byte, and its tables as of one moment."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from compute.models import Job
from models_app.exports import contents, exports, stored_files
from models_app.files import orphans
from models_app.models import DatasetVersion
from models_app.object_store import s3 as objects
from models_app.object_store import storage
from models_app.object_store.storage import Stored
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Notification, Tenant, TenantExport
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.concurrency import as_controllers
from tests.support.pages import text_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
UPLOAD = "name;größe\nÄrmel;1\n".encode() * 50


class World:
    """A tenant with a stored file of each kind; `bytes` has their contents by the end of their names in an archive."""

    def __init__(self, superuser: psycopg.Connection) -> None:
        self.admin = superuser
        self.tenant = factories.make_tenant("vision", owner="owner@vision.example")
        self.ids = one_of_everything(self.tenant)
        self.bytes = {
            "/upload/n.csv": b"a,t\n1,x\n",
            "/v1/table.parquet": os.urandom(700_000),
            "/v1/model.safetensors": os.urandom(300_000),
            "/v1/signature.json": b"{}",
            "/predictions.parquet": b"PAR1" + os.urandom(1000) + b"PAR1",
            "/predictions.csv": b"prediction\nyes\n",
        }
        self.stored = {
            name: self.put(data, *(("j", self.ids["job_id"], 1) if "/predictions" in name else ("d",)))
            for name, data in self.bytes.items()
        }
        source, table, weights, signature, *results = self.stored.values()
        self.names("datasetversion", "source", "", source)
        self.names("datasetversion", "data", "data_", table)
        self.names("modelversion", "artefact", "artefact_", weights)
        self.names("modelversion", "signature", "signature_", signature)
        files = {form: one.to_json() for form, one in zip(("parquet", "csv"), results, strict=True)}
        with tenant_scope(self.tenant.id):
            Job.objects.filter(id=self.ids["job_id"]).update(
                name="../../a job: 1?", kind="batch_predict", result={"rows": 1, "files": files}
            )
        self.owner = Client()
        self.log_in()

    def put(self, data: bytes, *parts: object) -> Stored:
        return storage.put(self.tenant.id, storage.new_key(self.tenant.id, *parts), io.BytesIO(data))

    def names(self, table: str, key: str, prefix: str, stored: Stored) -> None:
        """Have the row of a table name a stored file."""
        self.admin.execute(
            f"UPDATE models_app_{table} SET {key}_key = %s, {prefix}sha256 = %s, {prefix}size = %s, {key}_encrypted = true "
            "WHERE tenant_id = %s AND number = 1",
            [stored.key, stored.sha256, stored.size, self.tenant.id],
        )

    def log_in(self) -> None:
        self.owner.post("/accounts/login/", {"login": "owner@vision.example", "password": factories.PASSWORD})

    def row(self) -> TenantExport:
        """Return the newest order."""
        with tenant_scope(self.tenant.id):
            return TenantExport.objects.order_by("-id").exclude(id=self.ids["export_id"])[0]

    def archive(self) -> zipfile.ZipFile:
        """Return what the owner downloads."""
        answer = self.owner.get(f"/t/vision/exports/{self.row().id}/file/")
        assert answer.status_code == 200
        return zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[attr-defined]


@pytest.fixture
def world(s3: Any, superuser: psycopg.Connection) -> World:
    return World(superuser)


def manifest_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.read("manifest.json"))
    return found


def built(as_control: Role, number: int = 1) -> None:
    with as_control():
        assert exports.run() == number


def upload(tenant: Tenant, name: str) -> None:
    """Send a restricted dataset to the API."""
    file = SimpleUploadedFile("größen: 2026.csv", UPLOAD)
    headers = {"Authorization": f"Bearer {factories.make_api_key(tenant)}"}
    body = {"name": name, "target": "größe", "restricted": "true", "file": file}
    answer = Client().post("/api/v1/datasets/", body, headers=headers)
    assert answer.status_code in (201, 202), answer.content


def test_the_owner_downloads_each_stored_file_as_it_was_uploaded_and_what_is_lost_is_named(
    world: World, seller: Any, as_control: Role
) -> None:
    upload(world.tenant, "Größen/2026 ")
    storage.delete(world.tenant.id, [world.stored["/v1/signature.json"].key])
    damaged = world.stored["/predictions.csv"].key
    with objects.opened(damaged) as body:
        raw = bytearray(body.read(10**6))
    raw[-1] ^= 1
    objects.put(damaged, io.BytesIO(bytes(raw)), len(raw))
    admin = seller("platform_admin")
    assert admin.post(f"/tenants/{world.tenant.id}/export/", {"reason": "Asked for"}).status_code == 302
    built(as_control)

    archive = world.archive()
    assert archive.testzip() is None
    manifest = manifest_of(archive)
    stored = {name: said for name, said in manifest["files"].items() if "key" in said}
    assert set(archive.namelist()) == {*manifest["files"], "SHA256SUMS", "manifest.json"}
    lost = {"/v1/signature.json": "not in the object store", "/predictions.csv": "damaged in the object store"}
    for end, data in world.bytes.items():
        if end not in lost:
            (name,) = (name for name in stored if name.endswith(end))
            assert archive.read(name) == data, name
    named = {name: said["reason"] for name, said in manifest["missing"].items()}
    assert [reason for name, reason in sorted(named.items())] == [lost["/v1/signature.json"], lost["/predictions.csv"]]
    (mine,) = (name for name in stored if name.endswith("/v1/upload/größen_ 2026.csv"))
    assert archive.read(mine) == UPLOAD
    assert mine.startswith("files/datasets/Größen_2026-")
    for name, said in stored.items():
        data = archive.read(name)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (said["sha256"], said["bytes"]), name
        assert not {"", ".", ".."}.intersection(name.split("/")), name
        assert f"{said['sha256']}  {name}\n" in archive.read("SHA256SUMS").decode()

    keys = [one.key for one in storage.listing(world.tenant.id)]
    kept = {key for key in set(keys) - set(orphans.unreferenced(world.tenant.id, keys)) if "/exports/" not in key}
    assert kept == {said["key"] for said in stored.values()} | {damaged}, "all that a row names is in it"
    row = world.row()
    assert (row.files, row.missing, row.state) == (len(stored), 2, "ready")
    assert "2 missing" in text_of(world.owner.get("/t/vision/exports/"))
    with tenant_scope(world.tenant.id):
        told = Notification.objects.get(kind="export_ready", user__email="owner@vision.example")
    assert "2 files are missing" in told.body


def test_versions_of_one_upload_share_its_file(world: World, as_control: Role) -> None:
    with tenant_scope(world.tenant.id):
        first = DatasetVersion.objects.get(number=1)
        source = {"source_key": first.source_key, "sha256": first.sha256, "size": first.size, "source_encrypted": True}
        DatasetVersion.objects.create(
            dataset=first.dataset, number=2, filename="n.csv", target="other", state="failed", code="x", **source
        )
    world.owner.post("/t/vision/exports/order/")
    built(as_control)
    named = [said for said in manifest_of(world.archive())["files"].values() if said.get("key") == first.source_key]
    assert len(named) == 1


def test_an_order_without_stored_files_has_the_tables(world: World, as_control: Role) -> None:
    headers = {"Authorization": f"Bearer {factories.make_api_key(world.tenant)}"}
    path, kind = "/api/v1/exports/organisation/", "application/json"
    wrong = Client().post(path, {"without_files": "no"}, kind, headers=headers)
    assert (wrong.status_code, "without_files" in wrong.json()["fields"]) == (400, True)
    made = Client().post(path, {"without_files": True}, kind, headers=headers).json()
    assert (made["without_files"], made["state"]) == (True, "queued")
    built(as_control)
    manifest = manifest_of(world.archive())
    assert all("rows" in said for said in manifest["files"].values())
    assert manifest["files"]["models_app_datasetversion.jsonl"]["rows"] == 1
    assert manifest["left_out"]["files"] == "ordered without stored files"


def test_files_over_the_limit_are_refused_with_what_to_do(world: World, as_control: Role, settings: Any) -> None:
    settings.EXCHEQUER = django_settings.EXCHEQUER.model_copy(update={"max_export_gb": 0})
    world.owner.post("/t/vision/exports/order/")
    built(as_control, 0)
    row = world.row()
    assert (row.state, "Order it without stored files" in row.message) == ("failed", True)
    assert "EXCHEQUER_MAX_EXPORT_GB" in text_of(world.owner.get("/t/vision/exports/"))
    with tenant_scope(world.tenant.id):
        assert Notification.objects.get(kind="export_failed", user__email="owner@vision.example").body == row.message
        assert AuditEntry.objects.filter(action="tenants.export.ended", reason=row.message).count() == 1
    assert list(storage.listing(world.tenant.id, "exports")) == []
    assert world.owner.post("/t/vision/exports/order/", {"without_files": "on"}).status_code == 302
    built(as_control)
    assert world.row().files == 0


def test_every_column_that_names_a_stored_file_is_exported() -> None:
    named: dict[str, set[str]] = {}
    for model in contents.tenant_tables():
        columns = {
            field.column
            for field in model._meta.local_fields
            if field.column and field.column.endswith("_key") and getattr(field, "max_length", None) == 300
        }
        if columns:
            named[model._meta.db_table] = columns
    assert named == stored_files.COLUMNS


def test_a_file_of_any_size_takes_little_memory(
    world: World, as_control: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 48 * 2**20
    data = os.urandom(size)
    world.names("modelversion", "artefact", "artefact_", world.put(data, "d"))
    monkeypatch.setattr(objects, "AT_ONCE", 8 * 2**20)  # in parts, as what is too large for one request
    world.owner.post("/t/vision/exports/order/")
    tracemalloc.start()
    try:
        built(as_control)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 2
    archive = world.archive()
    (name,) = (name for name in archive.namelist() if name.endswith("model.safetensors"))
    assert archive.read(name) == data


def while_it_reads(superuser: psycopg.Connection, act: Callable[[], object]) -> Callable[[], None]:
    """Hold an export up in the middle of its tables, act and commit, and let it go on; return what waits for that."""
    locked, failed = threading.Event(), []
    waits = "SELECT FROM pg_locks WHERE relation = 'tenants_group'::regclass AND NOT granted"

    def hold() -> None:
        try:
            with superuser.transaction():
                superuser.execute("LOCK TABLE tenants_group IN ACCESS EXCLUSIVE MODE")
                locked.set()
                wait_until(lambda: superuser.execute(waits).rowcount, "the export reads")
                act()
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            locked.set()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()

    def join() -> None:
        thread.join()
        assert failed == []

    return join


def test_what_is_written_between_two_tables_is_in_none(
    world: World, superuser: psycopg.Connection, as_control: Role
) -> None:
    tenant = world.tenant.id

    def write() -> None:
        """Write a project, which is read after the held table, and a dataset in it, which was read before."""
        superuser.execute(
            "WITH p AS (INSERT INTO tenants_project (id, tenant_id, slug, name) "
            "VALUES (gen_random_uuid(), %(t)s, 'late', 'Late') RETURNING id) "
            "INSERT INTO models_app_dataset (id, tenant_id, name, project_id, restricted, created_by_label) "
            "SELECT gen_random_uuid(), %(t)s, 'late data', id, false, '' FROM p",
            {"t": tenant},
        )

    world.owner.post("/t/vision/exports/order/")
    join = while_it_reads(superuser, write)
    built(as_control)
    join()
    archive = world.archive()
    assert b'"late"' not in archive.read("tenants_project.jsonl")
    assert b"late data" not in archive.read("models_app_dataset.jsonl")
    world.owner.post("/t/vision/exports/order/")
    built(as_control)
    later = world.archive()
    assert b'"late"' in later.read("tenants_project.jsonl")
    assert b"late data" in later.read("models_app_dataset.jsonl")


def test_an_order_that_ends_while_it_is_built_is_left_and_no_second_one_is_built_meanwhile(
    world: World, superuser: psycopg.Connection, as_control: Role
) -> None:
    meanwhile: list[list[int]] = []

    def end() -> None:
        meanwhile.append(as_controllers(exports.run, 1))
        superuser.execute("UPDATE tenants_tenantexport SET state = 'failed' WHERE state = 'running'")

    world.owner.post("/t/vision/exports/order/")
    join = while_it_reads(superuser, end)
    built(as_control, 0)
    join()
    assert meanwhile == [[0]]
    assert list(storage.listing(world.tenant.id, "exports")) == []
    assert world.row().state == "failed"
