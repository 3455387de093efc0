"""Rotation of the installation's master key, and confirmation of a key backup."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from tenants.clock import DatabaseNow
from tenants.encryption import keys, master
from tenants.models import MasterKeyRecord


@dataclass(frozen=True)
class Rotated:
    """Result of a rotation of the master key. `kept`: the location of the old key, if it is a file of ours."""

    master_id: str
    keys: int
    kept: Path | None = None


def to_given_key() -> Rotated:
    """Wrap every data key with the given master key; its predecessor must be given too. Raises KeyUnavailable."""
    new = master.given()
    return Rotated(new.id, keys.rewrap(new))


def to_fresh_key(file: Path) -> Rotated:
    """Replace the master key in a file by a new one and wrap every data key with it.

    Both keys are on disk before the database changes, so that an interruption loses neither: the next call finishes
    what this one began. Running processes read the file again. The old key is kept, because older backups need it.
    """
    previous = file.with_name(f"{file.name}.previous")
    if not previous.exists():
        _write(previous, file.read_text())
    if master.parse(previous.read_text()) == master.parse(file.read_text()):  # the new key was not written yet
        _write(file, master.fresh() + "\n")
    old, new = master.parse(previous.read_text()), master.parse(file.read_text())
    changed = keys.rewrap(new, old)
    kept = file.with_name(f"{file.name}.{old.id.removeprefix('local:')}")
    previous.replace(kept)
    return Rotated(new.id, changed, kept)


def confirm_backup() -> str:
    """Record that a copy of the master key in use is kept elsewhere; return its fingerprint. Raises KeyUnavailable."""
    key = keys.in_use()
    with transaction.atomic():
        MasterKeyRecord.objects.filter(id=key.id).update(backup_confirmed_at=DatabaseNow())
    return key.id


def _write(path: Path, text: str) -> None:
    """Write a file readable only by its owner, atomically and synced to disk."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
