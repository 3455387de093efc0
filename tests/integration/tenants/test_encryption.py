"""Keys of stored files: one data key per tenant, rotation that loses nothing, and no start with the wrong master key."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction

from config import doctor
from models_app.object_store import s3, storage
from tenants.encryption import KeyUnavailable, data_key, keys, master, platform_secrets, rotation
from tenants.encryption.keys import UnknownKey
from tenants.isolation.scoping import tenant_scope
from tenants.models import TenantKey
from tests.component.tenants.test_strong_roles import SERVING, USAGE, WEB, WORKER
from tests.support.factories import make_tenant
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[3]
STARTS = {"web": (WEB, "app"), "serving": (SERVING, "app"), "usage": (USAGE, "app"),
          "ops": ([*WORKER, "--queues=ops"], "control"), "node": ([*WORKER, "--queues=node.test-node"], "app")}  # fmt: skip


@pytest.fixture
def key_file(tmp_path, settings) -> Path:
    """The master key of the tests in a file, as `make up` keeps it."""
    file = tmp_path / "master.key"
    file.write_text(settings.EXCHEQUER.master_key)
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"master_key_file": str(file)})
    return file


def header_key(key: str) -> UUID:
    with s3.opened(key) as body:
        return UUID(bytes=body.read(20)[4:])


def kept(tenant, data: bytes) -> storage.Stored:
    return storage.put(tenant.id, storage.new_key(tenant.id, "d"), io.BytesIO(data))


def read(tenant, stored: storage.Stored) -> bytes:
    return b"".join(storage.stream(tenant.id, stored))


def test_many_who_store_at_once_make_one_data_key() -> None:
    tenant = make_tenant()

    def ask(_: int) -> UUID:
        try:
            return data_key(tenant.id).id
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(16)))
    assert len(found) == 1


def test_a_data_key_is_its_tenants_alone_and_no_process_takes_one_away(superuser: psycopg.Connection) -> None:
    ours, theirs = make_tenant(), make_tenant()
    own, foreign = data_key(ours.id), data_key(theirs.id)
    assert own.secret != foreign.secret
    assert repr(own.secret) not in repr(own)
    with pytest.raises(UnknownKey):
        data_key(ours.id, foreign.id)
    for statement in ("DELETE FROM tenants_datakey", "UPDATE tenants_datakey SET wrapped = ''"):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    # A row with another tenant's key under this tenant's name does not unwrap either.
    superuser.execute(
        "UPDATE tenants_datakey SET wrapped = (SELECT wrapped FROM tenants_datakey WHERE id = %s) WHERE id = %s",
        [foreign.id, own.id],
    )
    with pytest.raises(KeyUnavailable):
        data_key(ours.id)


def test_a_rotated_master_key_works_without_a_restart_and_the_old_one_does_not(
    s3, as_control, key_file, settings
) -> None:
    storage.ensure_bucket()
    tenants = [make_tenant(), make_tenant()]
    files = [kept(tenant, f"canary {tenant.id}".encode()) for tenant in tenants]
    old = master.parse(key_file.read_text())
    printed = io.StringIO()
    with as_control():
        platform_secrets.provide()
        sealed = platform_secrets.seal("test", "canary of the platform")
        call_command("rotate_keys", stdout=printed)
    new = master.parse(key_file.read_text())
    assert new.id != old.id
    assert f"2 data keys are wrapped with the master key {new.id} now" in printed.getvalue()
    assert key_file.stat().st_mode & 0o077 == 0
    keys._unwrapped.cache_clear()  # a process that has read none of these files before
    assert [read(tenant, file) for tenant, file in zip(tenants, files, strict=True)] == [
        f"canary {tenant.id}".encode() for tenant in tenants
    ]
    with as_control():
        platform_secrets._unwrapped.cache_clear()
        assert platform_secrets.unseal("test", sealed) == "canary of the platform"
        with pytest.raises(KeyUnavailable):
            platform_secrets.unseal("another use", sealed)
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"master_key_file": ""})
    keys._unwrapped.cache_clear()
    with pytest.raises(storage.KeyMissing) as refused:
        read(tenants[0], files[0])
    assert (refused.value.status, refused.value.code) == (503, "encryption_key_unavailable")
    assert "is not the key" in keys.fault()


def test_a_rotation_that_is_interrupted_is_finished_by_the_next(s3, as_control, key_file, monkeypatch) -> None:
    storage.ensure_bucket()
    tenant = make_tenant()
    file = kept(tenant, b"canary")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, as_control():
        patch.setattr(keys, "rewrap", killed)
        with pytest.raises(KeyboardInterrupt):
            call_command("rotate_keys")
    new = master.parse(key_file.read_text())
    keys._unwrapped.cache_clear()
    assert read(tenant, file) == b"canary", "running processes hold the old key, which still wraps"
    with as_control():
        call_command("rotate_keys", stdout=io.StringIO())
    assert master.parse(key_file.read_text()).id == new.id
    keys._unwrapped.cache_clear()
    assert read(tenant, file) == b"canary"
    assert sorted(path.name for path in key_file.parent.glob("master.key*"))[0] == "master.key"
    assert not key_file.with_name("master.key.previous").exists()


def test_an_interrupted_rotation_without_a_new_key_creates_one(s3, as_control, key_file) -> None:
    storage.ensure_bucket()
    tenant = make_tenant()
    file, old = kept(tenant, b"canary"), key_file.read_text()
    key_file.with_name("master.key.previous").write_text(old)
    with as_control():
        call_command("rotate_keys", stdout=io.StringIO())
    new = master.parse(key_file.read_text())
    assert new.id != master.parse(old).id
    with tenant_scope(tenant.id):
        assert {row.master_id for row in TenantKey.objects.all()} == {new.id}
    keys._unwrapped.cache_clear()
    assert read(tenant, file) == b"canary"


def test_a_key_given_by_value_is_rotated_with_its_predecessor_beside_it(as_control, settings) -> None:
    tenant = make_tenant()
    secret = data_key(tenant.id).secret
    with as_control(), pytest.raises(CommandError, match="EXCHEQUER_MASTER_KEY_PREVIOUS"):
        call_command("rotate_keys")
    env = settings.EXCHEQUER
    settings.EXCHEQUER = env.model_copy(update={"master_key": master.fresh(), "master_key_previous": env.master_key})
    assert keys.fault() == "", "a process that has both starts before the rotation and after it"
    with as_control():
        call_command("rotate_keys", stdout=io.StringIO())
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"master_key_previous": ""})
    keys._unwrapped.cache_clear()
    assert data_key(tenant.id).secret == secret
    settings.EXCHEQUER = env.model_copy(update={"master_key": master.fresh(), "master_key_previous": master.fresh()})
    with as_control(), pytest.raises(CommandError, match="nothing was changed"):
        call_command("rotate_keys")


def test_a_tenants_new_data_key_is_for_new_files_and_the_old_stay_readable(s3, as_control) -> None:
    storage.ensure_bucket()
    tenant = make_tenant()
    before = kept(tenant, b"before")
    with as_control():
        call_command("rotate_keys", "--tenant", tenant.slug, stdout=io.StringIO())
    after = kept(tenant, b"after")
    assert header_key(before.key) != header_key(after.key)
    assert (read(tenant, before), read(tenant, after)) == (b"before", b"after")
    with tenant_scope(tenant.id):
        assert list(TenantKey.objects.order_by("version").values_list("version", flat=True)) == [1, 2]


def test_the_doctor_asks_until_a_copy_of_the_master_key_is_confirmed(as_control, settings) -> None:
    data_key(make_tenant().id)

    def told() -> list[tuple[str, str]]:
        with as_control():
            return [(finding.level, finding.text) for finding in doctor.master_key()]

    ((level, text),) = told()
    assert (level, "confirm_key_backup" in text) == ("wrong", True)
    with as_control():
        call_command("confirm_key_backup", stdout=io.StringIO())
    assert [level for level, _ in told()] == ["ok"]
    with as_control():
        rotation.keys.rewrap(master.parse(master.fresh()))
    ((level, text),) = told()
    assert (level, "is not the key" in text) == ("wrong", True)


@pytest.mark.parametrize("start", [*STARTS, "without"])
def test_no_process_that_reads_stored_files_starts_with_the_wrong_master_key(
    start: str, process_environment: Callable[..., dict[str, str]]
) -> None:
    data_key(make_tenant().id)
    command, role = STARTS.get(start, STARTS["web"])
    environment = process_environment(role=role, EXCHEQUER_MASTER_KEY=master.fresh())
    if start == "without":
        del environment["EXCHEQUER_MASTER_KEY"]
    command = [*command, str(free_port())] if command[-1] == "--port" else command
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Exchequer refuses to start. EXCHEQUER_MASTER_KEY is not" in done.stderr, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
