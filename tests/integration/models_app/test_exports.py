"""Everything of a tenant as one archive: what is in it, what is not, who gets it and for how long."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from models_app.exports import contents, exports
from models_app.files import orphans
from models_app.object_store import storage
from models_app.tasks import build_exports
from tenants.clock import now
from tenants.events import outbox
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import MOST_IN_A_ROW, SweepFailed
from tenants.models import AuditEntry, Notification, OperatorAct, PlatformEvent, Tenant, TenantExport
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
#: Fencing tokens are numbers: they order attempts, and open nothing.
FENCES = {"token"}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def vision(s3: Any) -> Tenant:
    tenant = factories.make_tenant("vision", owner="owner@vision.example")
    one_of_everything(tenant)
    one_of_everything(factories.make_tenant("audio", owner="owner@audio.example"))
    return tenant


@pytest.fixture
def owner(vision: Tenant) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": "owner@vision.example", "password": factories.PASSWORD})
    return client


def built(as_control: Role) -> None:
    with as_control():
        assert exports.run() == 1


def archive_of(client: Client, tenant: Tenant) -> zipfile.ZipFile:
    with tenant_scope(tenant.id):
        row = TenantExport.objects.get(state="ready", size__gt=0)
    answer = client.get(f"/t/vision/exports/{row.id}/file/")
    assert answer.status_code == 200
    data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert hashlib.sha256(data).hexdigest() == row.sha256
    return zipfile.ZipFile(io.BytesIO(data))


def test_an_export_holds_each_table_of_the_tenant_with_checksums_and_nothing_of_others(
    vision: Tenant, owner: Client, as_control: Role, tmp_path: Path
) -> None:
    secret = api_keys.create_api_key(actor=factories.actor_for(vision), name="ci", scopes=["jobs.view"]).secret
    assert owner.post("/t/vision/exports/order/").status_code == 302
    assert owner.post("/t/vision/exports/order/").status_code == 409, "one at once"
    built(as_control)
    archive = archive_of(owner, vision)
    manifest = json.loads(archive.read("manifest.json"))
    wanted = {model._meta.db_table for model in contents.tenant_tables()} - set(contents.LEFT_OUT)
    assert {f"{name}.jsonl" for name in wanted} <= set(manifest["files"])
    sums = dict(reversed(line.split("  ")) for line in archive.read("SHA256SUMS").decode().splitlines())
    for name, said in manifest["files"].items():
        data = archive.read(name)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (said["sha256"], said["bytes"]), name
        assert sums[name] == said["sha256"]
        assert data.count(b"\n") == said["rows"], name
        for line in data.splitlines():
            row = json.loads(line)
            assert row.get("tenant_id", str(vision.id)) == str(vision.id), name
    for table in ("compute_job", "models_app_dataset", "billing_usageseries", "tenants_apikey", "people", "prices"):
        assert manifest["files"][f"{table}.jsonl"]["rows"] > 0, table
    everything = b"".join(archive.read(name) for name in archive.namelist())
    for word in (b"audio.example", b"key_hash", b"wrapped", b"argon2", b"pbkdf2", secret.encode()):
        assert word not in everything, word
    archive.extract("audit.jsonl", tmp_path)
    command = [sys.executable, str(ROOT / "deploy/verify_audit.py"), str(tmp_path / "audit.jsonl")]
    verified = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_only_columns_that_hold_no_secret_are_exported() -> None:
    words = ("secret", "password", "token", "_hash", "wrapped", "sealed")
    found = {
        f"{model._meta.db_table}.{column}"
        for model in contents.tenant_tables()
        if model._meta.db_table not in contents.LEFT_OUT
        for column in contents.columns(model)
        if any(word in column for word in words) and column not in FENCES
    }
    assert found == set()


def test_owners_alone_download_it_until_it_expires_and_each_step_is_audited(
    vision: Tenant, owner: Client, as_control: Role, demo_clock: Any
) -> None:
    owner.post("/t/vision/exports/order/")
    built(as_control)
    with as_control():
        outbox.drain(vision.id)
        assert PlatformEvent.objects.filter(type="organisation.exported").count() == 1
    with tenant_scope(vision.id):
        row = TenantExport.objects.order_by("-id")[0]
        assert Notification.objects.filter(kind="export_ready", user__email="owner@vision.example").count() == 1
        assert orphans_of(vision) == []
    for role in ("admin", "finance", "viewer"):
        other = Client()
        person = factories.make_member(vision, role)
        other.post("/accounts/login/", {"login": person.email, "password": factories.PASSWORD})
        assert other.get(f"/t/vision/exports/{row.id}/file/").status_code == 403
    archive_of(owner, vision)
    with tenant_scope(vision.id):
        said = list(AuditEntry.objects.filter(target_type="export").order_by("seq").values_list("action", flat=True))
    assert said == ["tenants.export.ordered", "tenants.export.finished", "models_app.file.downloaded"]
    demo_clock.advance(timedelta(days=7, minutes=1))
    owner.post("/accounts/login/", {"login": "owner@vision.example", "password": factories.PASSWORD})
    assert owner.get(f"/t/vision/exports/{row.id}/file/").status_code == 404
    owner.post("/t/vision/exports/order/")
    with tenant_scope(vision.id):
        bad = TenantExport.objects.create(
            state="ready", name="t/another/exports/1", ordered_by="x", expires_at=now() - timedelta(days=1)
        )
    with as_control(), pytest.raises(SweepFailed):
        exports.run()
    with tenant_scope(vision.id):
        assert TenantExport.objects.get(id=bad.id).state == "ready"
        assert TenantExport.objects.get(id=row.id).state == "expired"
        built_now = TenantExport.objects.get(state="ready", size__gt=0)
    assert [one.key for one in storage.listing(vision.id, "exports")] == [built_now.name], (
        "one bad row holds up no other"
    )
    assert "Expired" in text_of(owner.get("/t/vision/exports/"))


def test_bad_rows_in_front_hold_up_the_rest_for_one_run_only(as_control: Role) -> None:
    tenant, over = factories.make_tenant(), now() - timedelta(days=1)
    with tenant_scope(tenant.id):
        for number in range(MOST_IN_A_ROW + 1):
            name = "t/another/exports/1" if number < MOST_IN_A_ROW else ""
            at = over + timedelta(minutes=number)
            last = TenantExport.objects.create(state="ready", name=name, ordered_by="x", expires_at=at)
    for _ in range(2):
        with as_control(), pytest.raises(SweepFailed):
            build_exports()
    with tenant_scope(tenant.id):
        assert TenantExport.objects.get(id=last.id).state == "expired"


def orphans_of(tenant: Tenant) -> list[str]:
    return orphans.unreferenced(tenant.id, [one.key for one in storage.listing(tenant.id, "exports")])


def test_a_worker_that_dies_is_followed_and_what_fails_is_given_up(
    vision: Tenant, owner: Client, as_control: Role, demo_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.post("/t/vision/exports/order/")

    def fails(*_: object, **__: object) -> None:
        raise storage.StorageUnavailable

    for attempt in (1, 2, 3):
        with as_control(), monkeypatch.context() as broken:
            broken.setattr(storage, "put", fails)
            assert exports.run() == 0
        with tenant_scope(vision.id):
            row = TenantExport.objects.order_by("-id")[0]
            assert (row.state, row.attempts) == ("running", attempt)
        demo_clock.advance(timedelta(hours=2, minutes=1))
    with as_control():
        assert exports.run() == 0
    with tenant_scope(vision.id):
        row = TenantExport.objects.order_by("-id")[0]
        assert (row.state, "could not be built in 3 tries" in row.message) == ("failed", True)
        assert Notification.objects.filter(kind="export_failed", user__email="owner@vision.example").count() == 1
    owner.post("/accounts/login/", {"login": "owner@vision.example", "password": factories.PASSWORD})
    assert owner.post("/t/vision/exports/order/").status_code == 302
    built(as_control)


def test_an_operator_orders_one_for_the_owners_of_a_tenant_that_closes(
    vision: Tenant, owner: Client, seller: Any, as_control: Role, console: Role
) -> None:
    admin = seller("platform_admin")
    admin.post(f"/tenants/{vision.id}/close/", {"reason": "Contract has ended"})
    assert owner.post("/t/vision/exports/order/").status_code == 302, "one that closes exports"
    built(as_control)
    assert admin.post(f"/tenants/{vision.id}/export/", {"reason": "Asked for by phone"}).status_code == 302
    built(as_control)
    with tenant_scope(vision.id):
        row = TenantExport.objects.order_by("-id")[0]
        assert (row.ordered_by, row.reason) == ("operator", "Asked for by phone")
    assert owner.get(f"/t/vision/exports/{row.id}/file/").status_code == 200
    assert seller("platform_support").post(f"/tenants/{vision.id}/export/", {"reason": "Curious"}).status_code == 403
    with console():
        assert OperatorAct.objects.filter(action="tenants.export.ordered", reason="Asked for by phone").exists()
