"""Downloads: checked, recorded in the audit log, then streamed by this process in bounded memory.

No link leads to the object store. The audit entry is committed before the first byte is sent; a file that does not open
raises an error and leaves no entry.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from models_app.access import visible_versions
from models_app.batch import batch
from models_app.models.files import Stored
from models_app.object_store import storage
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import NotFound, RateLimited
from tenants.isolation.scoping import tenant_scope

FILE_DOWNLOADED = AuditAction("models_app.file.downloaded", while_closing=True)
AT_ONCE, AT_ONCE_OF_TENANT = 4, 2
"""Downloads per web process: a slow reader holds a thread, and half of the eight stay free for everything else."""


class TooManyDownloads(RateLimited):
    """Too many downloads are running. Try again when one has ended."""

    code = "too_many_downloads"

    def __init__(self) -> None:
        super().__init__(retry_after=5)


@dataclass(frozen=True)
class Download:
    """A stored file, the file name for the client, and its name in the audit log."""

    stored: Stored
    filename: str
    content_type: str
    target: tuple[str, UUID, str]


def weights(actor: Actor, version_id: UUID) -> Download:
    """Return the weights of a version that the actor may see. Raises NotFound."""
    row = visible_versions(actor).filter(id=version_id).first()
    if row is None:
        raise NotFound
    name = f"{row.model.name}-v{row.number}.safetensors"
    return Download(row.weights, name, "application/octet-stream", ("modelversion", row.id, str(row)))


def batch_file(actor: Actor, job_id: UUID, form: str) -> Download:
    """Return one file of a batch prediction's result. Raises NotFound, NoResult."""
    file = next((file for file in batch.result(actor, job_id).files if file.format == form), None)
    if file is None:
        raise NotFound
    return Download(file.stored, file.filename, batch.CONTENT_TYPES[form], ("job", job_id, file.filename))


def answer(request: HttpRequest, actor: Actor, find: Callable[[], Download]) -> HttpResponseBase:
    """Stream what `find` returns to the actor; for HEAD send only the size. Opens its own transactions.

    Raises what `find` and `storage.stream` raise, TooManyDownloads.
    """
    with tenant_scope(actor.tenant_id):
        file = find()
    digest = base64.b64encode(bytes.fromhex(file.stored.sha256)).decode()
    headers = {
        "Content-Type": file.content_type,
        "Content-Length": str(file.stored.size),
        "Content-Disposition": storage.disposition(file.filename),
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if request.method == "HEAD":
        return HttpResponse(headers=headers)
    flow = Flow(actor.tenant_id, file.stored)
    try:
        flow.begin()
        note(actor=actor, file=file)
    except BaseException:
        flow.close()
        raise
    return StreamingHttpResponse(flow, headers=headers)


@operation(FILE_DOWNLOADED)
def note(*, actor: Actor, file: Download) -> None:
    """Record a download in the audit log."""
    taken = {"file": [None, file.filename], "sha256": [None, file.stored.sha256], "bytes": [None, file.stored.size]}
    record(FILE_DOWNLOADED, actor=actor, target=file.target, changes=taken)


class Flow(Iterator[bytes]):
    """The bytes of one download. It occupies one of the concurrent downloads until it is closed."""

    _lock = Lock()
    _under_way: list[UUID] = []
    _open = False

    def __init__(self, tenant_id: UUID, stored: Stored) -> None:
        with self._lock:
            if len(self._under_way) >= AT_ONCE or self._under_way.count(tenant_id) >= AT_ONCE_OF_TENANT:
                raise TooManyDownloads
            self._under_way.append(tenant_id)
        self._tenant_id = tenant_id
        self._chunks = storage.stream(tenant_id, stored)
        self._first: bytes | None = None
        self._open = True

    def begin(self) -> None:
        """Open the file, so that errors surface before the response starts."""
        self._first = next(self._chunks, b"")

    def __next__(self) -> bytes:
        """Return the next chunk."""
        first, self._first = self._first, None
        return next(self._chunks) if first is None else first

    def close(self) -> None:
        """Release the store's connection and the place. The server also calls this when the client disconnects."""
        if self._open:
            self._open = False
            self._chunks.close()
            with self._lock:
                self._under_way.remove(self._tenant_id)

    def __del__(self) -> None:
        """Release the place even if no response was sent, whatever the reason."""
        self.close()
