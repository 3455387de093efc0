"""A backup restored into an empty installation is the same installation, and opens with its master key alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql
from pytest_django import Settings

from config.backup import database
from config.backup.manifest import BackupError, path_of
from models_app.files import encrypting
from models_app.object_store import s3, storage
from tenants.encryption import master
from tenants.encryption.stream import MAGIC
from tests.api.objects import one_of_everything
from tests.conftest import SESSION, WORKER
from tests.support.factories import make_tenant
from tests.support.servers.services import S3

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[3]
CANARY = b"a row of this tenant's table"


def admin_of(database: str) -> str:
    return f"postgresql://postgres@/{database}?host={SESSION.cluster.folder}"


@pytest.fixture
def own_bucket(s3: S3, settings: Settings) -> None:
    """A bucket for this test's objects alone, and the administrator of the test's database."""
    update = {
        "s3_bucket": f"source-{uuid4()}",
        "database_admin_url": admin_of(str(connection.settings_dict["NAME"])),
    }
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=update)
    storage.ensure_bucket()


@pytest.fixture
def filled(own_bucket: None, superuser: psycopg.Connection) -> None:
    """Two organisations with one of everything, including the files of their datasets."""
    for _ in range(2):
        tenant = make_tenant()
        one_of_everything(tenant)
        kept = storage.put(tenant.id, storage.new_key(tenant.id, "u"), io.BytesIO(CANARY + tenant.id.bytes))
        superuser.execute(
            "UPDATE models_app_datasetversion SET source_key = %s, sha256 = %s, size = %s, source_encrypted = true "
            "WHERE tenant_id = %s",
            [kept.key, kept.sha256, kept.size, tenant.id],
        )


@dataclass
class Empty:
    """An installation with roles, a database without tables and a bucket without objects."""

    database: str
    environment: dict[str, str]

    def restore(self, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "restore", str(folder)],
            cwd=ROOT, env=self.environment | more, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def tables(self) -> int:
        with SESSION.cluster.superuser(self.database) as admin:
            row = admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        return int(row[0]) if row else 0


@pytest.fixture
def empty(s3: S3, process_environment: Callable[..., dict[str, str]]) -> Iterator[Empty]:
    name = f"exchequer_restored_{WORKER}"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with SESSION.cluster.superuser("postgres") as admin, SESSION.lock("copy"):
        admin.execute(drop)
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    SESSION.cluster.grant(name)
    environment = process_environment(
        role="control",
        S3_ENDPOINT_URL=s3.endpoint_url,
        S3_BUCKET=f"target-{uuid4()}",
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
        DATABASE_ADMIN_URL=admin_of(name),
    )
    environment["DATABASE_CONTROL_URL"] = SESSION.cluster.url("exchequer_control", name)
    yield Empty(name, environment)
    with SESSION.cluster.superuser("postgres") as admin:
        admin.execute(drop)


def counts(database: str) -> dict[str, int]:
    with SESSION.cluster.superuser(database) as admin:
        names = [
            name
            for (name,) in admin.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
                "AND NOT relispartition"
            )
        ]
        return {
            name: (admin.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone() or (0,))[0]
            for name in names
        }


def test_a_restored_backup_is_the_same_installation_and_needs_its_master_key(
    filled: None,
    empty: Empty,
    tmp_path: Path,
    as_control: Callable[[], AbstractContextManager[None]],
    settings: Settings,
) -> None:
    folder = tmp_path / "backup"
    with as_control():
        call_command("backup", str(folder), stdout=io.StringIO())
    key = settings.EXCHEQUER.master_key
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert CANARY not in content, file
        assert key.encode() not in content, file
        assert master.parse(key).secret not in content, file

    wrong = empty.restore(folder, EXCHEQUER_MASTER_KEY=master.fresh())
    assert wrong.returncode == 1
    assert "is not the master key of this backup" in wrong.stderr
    assert "Nothing was changed" in wrong.stderr
    assert empty.tables() == 0

    done = empty.restore(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "verify_audit, verify_ledger, reconcile pass" in done.stdout
    assert "decrypted with the master key (2)" in done.stdout
    source = counts(str(connection.settings_dict["NAME"]))
    assert counts(empty.database) == source
    assert source["tenants_tenant"] == 2
    with SESSION.cluster.superuser(empty.database) as admin:
        unlocked = admin.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
            "AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
        ).fetchall()
    assert unlocked == []

    again = empty.restore(folder)
    assert again.returncode == 1
    assert "holds organisations" in again.stderr


def test_a_backup_that_is_damaged_or_not_whole_is_refused_before_anything_changes(
    filled: None, empty: Empty, tmp_path: Path, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    folder = tmp_path / "backup"
    with as_control():
        call_command("backup", str(folder), stdout=io.StringIO())
        with pytest.raises(CommandError, match="is not empty"):
            call_command("backup", str(folder), stdout=io.StringIO())
    damaged = next(path for path in (folder / "objects").rglob("*") if path.is_file())
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = empty.restore(folder)
    assert (done.returncode, "missing or damaged" in done.stderr) == (1, True), done.stderr[-2000:]
    said = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(said | {"dump_sha256": "0" * 64}))
    done = empty.restore(folder)
    assert (done.returncode, "database.dump is damaged" in done.stderr) == (1, True), done.stderr[-2000:]
    assert empty.tables() == 0


def test_an_object_that_is_encrypted_while_the_backup_runs_is_copied_as_its_row_says(
    filled: None,
    superuser: psycopg.Connection,
    tmp_path: Path,
    as_control: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [key for (key,) in superuser.execute("SELECT source_key FROM models_app_datasetversion").fetchall()]
    for key in keys:
        tenant_id = key.split("/")[1]
        data = CANARY + UUID(tenant_id).bytes
        s3.put(key, io.BytesIO(data), len(data))
    superuser.execute("UPDATE models_app_datasetversion SET source_encrypted = false")
    real = database.snapshot

    @contextmanager
    def later(url: str) -> Iterator[psycopg.Connection[Any]]:
        assert encrypting.run() == len(keys)
        with real(url) as snapshot:
            yield snapshot

    monkeypatch.setattr(database, "snapshot", later)
    with as_control():
        call_command("backup", str(tmp_path / "backup"), stdout=io.StringIO())
    for key in keys:
        assert path_of(tmp_path / "backup", key).read_bytes().startswith(MAGIC)
    assert len((tmp_path / "backup" / "objects.jsonl").read_text().splitlines()) == len(keys)


def test_only_objects_of_organisations_are_copied_and_none_leaves_the_folder(own_bucket: None) -> None:
    for key in ("../x", "t/../../etc/passwd", f"t/{uuid4()}/../x", f"t/{uuid4()}", "/etc/passwd", f"t/{uuid4()}/a\n"):
        with pytest.raises(BackupError):
            path_of(Path("/backup"), key)
    assert list(s3.listing("t/")) == []
