"""Make a backup, restore one, and verify that the restored installation is complete and readable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from config.backup import database
from config.backup.manifest import (
    DUMP,
    FORMAT,
    LIST,
    BackupError,
    Copied,
    Manifest,
    path_of,
    read,
    read_list,
    sha256_of,
    write,
    write_list,
)
from models_app.files import encrypting
from models_app.object_store import s3
from tenants import queries
from tenants.encryption import KeyUnavailable
from tenants.encryption.master import master_key

Say = Callable[[str], object]
CHUNK = 1024 * 1024
#: The master keys under which keys of this installation are wrapped.
MASTERS = "SELECT master_id FROM public.tenants_datakey UNION SELECT master_id FROM public.tenants_platformkey"
#: A proof changes nothing, so what finds a difference keeps and reports nothing. The store may have signed what came later.
CHECKS: dict[str, dict[str, bool]] = {
    "verify_audit": {"database_only": True},
    "verify_ledger": {"dry_run": True},
    "reconcile": {"dry_run": True},
}


def backup(folder: Path, say: Say) -> Manifest:
    """Write a backup into an empty folder. Raises BackupError, StorageUnavailable.

    Objects are copied before the dump and again after it, so that all objects the dump names are included, even if
    removed meanwhile.
    """
    url = database.admin_url()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty")
    copied: dict[s3.Listed, Copied] = {}
    _copy_out(folder, copied)
    say(f"{len(copied)} objects copied, still encrypted")
    with database.snapshot(url) as snapshot:
        tables, applied = database.facts(snapshot), database.migrations(snapshot)
        masters = [str(one) for (one,) in snapshot.execute(MASTERS)]
        database.dump(url, snapshot, folder / DUMP)
    say(f"{sum(table['rows'] for table in tables.values())} rows in {len(tables)} tables dumped")
    _copy_out(folder, copied)
    objects = {one.key: one for one in copied.values()}  # of an overwritten object, the later copy
    write_list(folder, list(objects.values()))
    manifest = Manifest(
        FORMAT, datetime.now(UTC).isoformat(), applied, sorted(masters), tables,
        sha256_of(folder / DUMP), sha256_of(folder / LIST), len(objects),
    )  # fmt: skip
    write(folder, manifest)
    return manifest


def restore(folder: Path, say: Say) -> None:
    """Restore a backup into an empty installation and verify it. Raises BackupError, StorageUnavailable.

    Files, roles, migrations and the master key are checked before anything changes.
    """
    manifest, objects = read(folder), read_list(folder)
    _check_keys(manifest)
    url = database.admin_url()
    _check_migrations(manifest)
    try:
        database.check_target(url)
    except psycopg.OperationalError as error:
        raise BackupError(f"the database's administrator cannot log in: {error}") from error
    s3.ensure_bucket()
    if next(s3.listing("t/"), None) is not None:
        raise BackupError("the bucket already holds objects of organisations: restore into an empty bucket")
    connections.close_all()
    database.restore(url, folder / DUMP)
    say("database restored")
    for one in objects:
        with path_of(folder, one.key).open("rb") as file:
            s3.put(one.key, file, one.size)
    say(f"{len(objects)} objects restored")
    prove(manifest, url, say)


def prove(manifest: Manifest, url: str, say: Say) -> None:
    """Raise BackupError unless rows, row security, ledger and files match the backup, and a file of each tenant opens."""
    with database.snapshot(url) as snapshot:
        found = database.facts(snapshot)
    for name in sorted({*manifest.tables, *found}):
        if manifest.tables.get(name) != found.get(name):
            raise BackupError(
                f"table {name} differs: {manifest.tables.get(name)} in the backup, {found.get(name)} after the restore"
            )
    say("row counts, row security, policies and triggers of every table match the backup")
    for command, options in CHECKS.items():
        try:
            call_command(command, stdout=_Silent(), **options)
        except CommandError as error:
            raise BackupError(f"{command}: {error}") from error
    say(f"{', '.join(CHECKS)} passed")
    opened = 0
    for tenant_id in queries.all_tenant_ids():
        opened += encrypting.opens(tenant_id)
    say(f"one file per organisation decrypted with the master key ({opened})")


class _Silent:
    """Discards the output of a check."""

    def write(self, text: str) -> int:
        """Return the length of the discarded text."""
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


def _copy_out(folder: Path, copied: dict[s3.Listed, Copied]) -> None:
    """Copy the listed objects that are not copied yet; skip one that was removed meanwhile.

    An object encrypted since the first pass is copied again, because its row may be marked encrypted.
    """
    for item in list(s3.listing("t/")):
        if item in copied:
            continue
        target = path_of(folder, item.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        try:
            with s3.opened(item.key) as body, target.open("wb") as out:
                while chunk := body.read(CHUNK):
                    digest.update(chunk)
                    size += out.write(chunk)
        except s3.ObjectMissing:
            target.unlink(missing_ok=True)
            continue
        copied[item] = Copied(item.key, size, digest.hexdigest())


def _check_keys(manifest: Manifest) -> None:
    for key_id in manifest.master_keys:
        try:
            master_key(key_id)
        except KeyUnavailable as error:
            raise BackupError(
                f"EXCHEQUER_MASTER_KEY is not the master key of this backup ({key_id}), so its files would be unreadable. Nothing was changed"
            ) from error


def _check_migrations(manifest: Manifest) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations or {}}
    newer = [name for name in manifest.migrations if name not in known]
    if newer:
        raise BackupError(f"the backup was made by a newer version: migration {newer[0]} is unknown here")
