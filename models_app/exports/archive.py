"""Write an export: a ZIP with a file of JSON Lines for each table, streamed row by row, and the checksum of each file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO
from uuid import UUID

from django.db import connection

from models_app.exports import contents
from tenants.access.actor import Actor
from tenants.audit import queries
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope

FORMAT = "exchequer-export-1"
ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class Written:
    """One file of the archive."""

    rows: int
    size: int
    sha256: str


def write(tenant_id: UUID, out: IO[bytes]) -> int:
    """Write the archive of a tenant (control role); return its rows. Each table is read in one statement, in pieces."""
    files: dict[str, Written] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with tenant_scope(tenant_id):
            for part in contents.parts():
                name = f"{part.name}.jsonl"
                files[name] = _file(archive, name, _rows(part, tenant_id))
            entries = queries.export_lines(Actor.system(tenant_id, "export"))
            files["audit.jsonl"] = _file(archive, "audit.jsonl", entries)
        archive.writestr("SHA256SUMS", "".join(f"{one.sha256}  {name}\n" for name, one in files.items()))
        archive.writestr("manifest.json", json.dumps(_manifest(tenant_id, files), indent=2))
    return sum(one.rows for one in files.values())


def _manifest(tenant_id: UUID, files: dict[str, Written]) -> dict[str, object]:
    return {
        "format": FORMAT,
        "tenant": str(tenant_id),
        "made_at": now().isoformat(),
        "files": {name: {"rows": one.rows, "bytes": one.size, "sha256": one.sha256} for name, one in files.items()},
        "left_out": contents.LEFT_OUT,
    }


def _file(archive: zipfile.ZipFile, name: str, lines: Iterable[str]) -> Written:
    digest, rows, size = hashlib.sha256(), 0, 0
    with archive.open(name, "w", force_zip64=True) as file:
        for line in lines:
            data = f"{line}\n".encode()
            digest.update(data)
            file.write(data)
            rows, size = rows + 1, size + len(data)
    return Written(rows, size, digest.hexdigest())


def _rows(part: contents.Part, tenant_id: UUID) -> Iterator[str]:
    """Yield the rows of a part as JSON, by a cursor of the server: no table is held in memory."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT row_to_json(t)::text FROM ({part.statement}) t", {"tenant": tenant_id})  # noqa: S608
        while some := cursor.fetchmany(ROWS_AT_ONCE):
            for (line,) in some:
                yield line
