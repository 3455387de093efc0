"""Stored files on a node, which has no credential of the store: each is moved by a link that the platform signs for live work."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import IO, Any
from uuid import UUID

from models_app.object_store.s3 import Body, Listed, ObjectMissing, StorageUnavailable
from tenants.encryption import handouts
from tenants.encryption.stream import Damaged

WAIT_S = 30
TRIES = 3
FAILED = (OSError, http.client.HTTPException)


def put(tenant_id: UUID, key: str, body: IO[bytes], size: int) -> None:
    """Store `size` bytes under a key: all of them, or nothing. Raises StorageUnavailable."""
    for left in reversed(range(TRIES)):
        body.seek(0)
        try:
            with _answered(_link(tenant_id, "put", key), body, {"Content-Length": str(size)}):
                return
        except FAILED as error:
            if not left or (isinstance(error, urllib.error.HTTPError) and error.code < 500):
                raise StorageUnavailable from error
            time.sleep(TRIES - left)


@contextmanager
def opened(tenant_id: UUID, key: str, start: int = 0, stop: int | None = None) -> Iterator[Body]:
    """Open an object's bytes from `start` up to `stop`. Raises ObjectMissing, StorageUnavailable, Damaged."""
    span = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
    try:
        with closing(_answered(_link(tenant_id, "get", key), None, span)) as body:
            yield body
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise ObjectMissing from error
        if error.code == 416:
            raise Damaged("it is shorter than what was stored") from error
        raise StorageUnavailable from error
    except FAILED as error:
        raise StorageUnavailable from error


def delete(tenant_id: UUID, keys: Sequence[str]) -> None:
    """Remove keys; missing ones are no error. Raises StorageUnavailable."""
    if keys:
        _ask(tenant_id, "remove", keys=list(keys))


def listing(tenant_id: UUID, prefix: str) -> Iterator[Listed]:
    """Yield what lies under a prefix. Raises StorageUnavailable."""
    for one in _ask(tenant_id, "list", prefix=prefix)["objects"]:
        yield Listed(one["key"], datetime.fromisoformat(one["written_at"]), one["size"])


def _link(tenant_id: UUID, method: str, key: str) -> str:
    return str(_ask(tenant_id, "link", method=method, key=key)["url"])


def _ask(tenant_id: UUID, what: str, **more: Any) -> dict[str, Any]:
    try:
        return handouts.ask(handouts.current(tenant_id), what, **more)
    except handouts.NotHandedOut as error:
        raise StorageUnavailable(error.message) from error


def _answered(url: str, body: IO[bytes] | None, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return the open answer of the store. Raises HTTPError, OSError, HTTPException."""
    request = urllib.request.Request(  # noqa: S310 (the platform signed it)
        url, body, headers | {"Content-Type": "application/octet-stream"}, method="GET" if body is None else "PUT"
    )
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=WAIT_S)  # noqa: S310
    return answer
