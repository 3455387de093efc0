"""Write an export: a ZIP with a file of JSON Lines for each table, the stored files, and the checksum of each file.

All tables are read in one snapshot, so what is in one fits what is in another. The stored files follow once it is over: no
transaction is open while the object store is asked, and a file that was removed meanwhile is named as missing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import IO
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from models_app.exports import contents, stored_files
from models_app.exports.stored_files import Member
from models_app.object_store import storage
from tenants.access.actor import Actor
from tenants.audit import queries
from tenants.clock import now
from tenants.errors import Conflict
from tenants.isolation.scoping import snapshot_scope

FORMAT = "exchequer-export-2"
ROWS_AT_ONCE = 2000
CHUNK = 2**20
GIB = 2**30
TRIES = 3
"""A file that does not arrive is asked for again: the connection may have been cut."""

#: Files that are compressed already, or are random numbers.
DENSE = frozenset({".parquet", ".safetensors", ".xlsx", ".zip", ".gz"})

log = structlog.get_logger(__name__)


class FilesTooLarge(Conflict):
    """The stored files are larger than an export may be."""

    code = "export_too_large"

    def __init__(self, size: int) -> None:
        most = settings.EXCHEQUER.max_export_gb
        super().__init__(
            f"The stored files hold {size / GIB:.1f} GiB, and an export holds {most} GiB at most. Order it without stored "
            "files and download those one by one, or ask your administrator for a higher EXCHEQUER_MAX_EXPORT_GB."
        )


@dataclass(frozen=True)
class Written:
    """One file of the archive, with its rows or its key in the store."""

    size: int
    sha256: str
    rows: int | None = None
    key: str | None = None

    def described(self) -> dict[str, object]:
        """Return its line of the manifest."""
        known = {"rows": self.rows, "bytes": self.size, "sha256": self.sha256, "key": self.key}
        return {name: value for name, value in known.items() if value is not None}


@dataclass
class Contents:
    """What was written so far, and what could not be."""

    taken_at: datetime
    files: dict[str, Written] = field(default_factory=dict)
    missing: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Return the rows of all tables and the audit log."""
        return sum(one.rows or 0 for one in self.files.values())

    @property
    def stored(self) -> int:
        """Return the number of stored files."""
        return sum(one.key is not None for one in self.files.values())


def write(tenant_id: UUID, out: IO[bytes], *, without_files: bool, go_on: Callable[[], None]) -> Contents:
    """Write the archive of a tenant (control role, no transaction open), in bounded memory; return what is in it.

    `go_on` is called between stored files. Raises FilesTooLarge, StorageUnavailable, and what `go_on` raises.
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with snapshot_scope(tenant_id):
            written = Contents(taken_at=now())
            stored = [] if without_files else stored_files.members()
            _check(stored)
            for part in contents.parts():
                name = f"{part.name}.jsonl"
                written.files[name] = _table(archive, name, _rows(part, tenant_id))
            entries = queries.lines_of(queries.export(Actor.system(tenant_id, "export")))
            written.files["audit.jsonl"] = _table(archive, "audit.jsonl", entries)
        for member in stored:
            go_on()
            _add(archive, tenant_id, member, written)
        sums = "".join(f"{one.sha256}  {name}\n" for name, one in written.files.items())
        archive.writestr("SHA256SUMS", sums)
        archive.writestr("manifest.json", json.dumps(_manifest(tenant_id, written, without_files), indent=2))
    return written


def _check(stored: list[Member]) -> None:
    size = sum(member.stored.size for member in stored)
    if size > settings.EXCHEQUER.max_export_gb * GIB:
        raise FilesTooLarge(size)


def _manifest(tenant_id: UUID, written: Contents, without_files: bool) -> dict[str, object]:
    return {
        "format": FORMAT,
        "tenant": str(tenant_id),
        "made_at": written.taken_at.isoformat(),
        "files": {name: one.described() for name, one in written.files.items()},
        "missing": written.missing,
        "left_out": contents.LEFT_OUT | (contents.FILES_LEFT_OUT if without_files else {}),
    }


def _table(archive: zipfile.ZipFile, name: str, lines: Iterable[str]) -> Written:
    digest, rows, size = hashlib.sha256(), 0, 0
    with archive.open(name, "w", force_zip64=True) as file:
        for line in lines:
            data = f"{line}\n".encode()
            digest.update(data)
            file.write(data)
            rows, size = rows + 1, size + len(data)
    return Written(size, digest.hexdigest(), rows=rows)


def _rows(part: contents.Part, tenant_id: UUID) -> Iterator[str]:
    """Yield the rows of a part as JSON, by a cursor of the server: no table is held in memory."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT row_to_json(t)::text FROM ({part.statement}) t", {"tenant": tenant_id})  # noqa: S608
        while some := cursor.fetchmany(ROWS_AT_ONCE):
            for (line,) in some:
                yield line


def _add(archive: zipfile.ZipFile, tenant_id: UUID, member: Member, written: Contents) -> None:
    """Add a stored file, or name it as missing. It is verified as a whole first: a part of a file is never in the archive."""
    stored = member.stored
    with tempfile.SpooledTemporaryFile(max_size=CHUNK) as copy:
        fault = _copy(tenant_id, stored, copy)
        if fault:
            log.warning("export.file_left_out", tenant=str(tenant_id), object=stored.key, fault=fault)
            written.missing[member.name] = {
                "key": stored.key, "bytes": stored.size, "sha256": stored.sha256, "reason": fault,
            }  # fmt: skip
            return
        copy.seek(0)
        entry = zipfile.ZipInfo(member.name)
        dense = PurePosixPath(member.name).suffix.lower() in DENSE
        entry.compress_type = zipfile.ZIP_STORED if dense else zipfile.ZIP_DEFLATED
        with archive.open(entry, "w", force_zip64=True) as file:
            while chunk := copy.read(CHUNK):
                file.write(chunk)
    written.files[member.name] = Written(stored.size, stored.sha256, key=stored.key)


def _copy(tenant_id: UUID, stored: storage.Stored, target: IO[bytes]) -> str:
    """Decrypt a stored file into `target`; return why it is not there, or nothing. Raises StorageUnavailable."""
    for left in reversed(range(TRIES)):
        target.seek(0)
        target.truncate()
        try:
            for chunk in storage.stream(tenant_id, stored):
                target.write(chunk)
        except (storage.ObjectMissing, storage.ForeignKeyPath):
            return "not in the object store"
        except storage.ChecksumMismatch:
            if not left:
                return "damaged in the object store"
        except storage.StorageUnavailable:
            if not left:
                raise
        else:
            return ""
    raise AssertionError("the last try returns or raises")
