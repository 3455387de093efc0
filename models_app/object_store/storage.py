"""The object store as this app sees it. Every key carries its tenant and is checked on every call.

The server makes the keys, `t/{tenant}/{app}/.../{uuid}`; a person's file name appears in Content-Disposition only.
Files are encrypted before they leave the process, with the tenant's data key and bound to their own key
(`tenants.encryption.stream`); downloads are verified against the sha256 in the database.
"""

from __future__ import annotations

import errno
import hashlib
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from uuid import UUID

from models_app.models.files import Stored
from models_app.object_store import handed, s3
from models_app.object_store.s3 import Listed, ObjectMissing, StorageUnavailable, ensure_bucket
from tenants.encryption import DataKey, KeyUnavailable, data_key, handouts
from tenants.encryption.keys import UnknownKey
from tenants.encryption.stream import HEADER, MAGIC, Damaged, Header, seal, unseal, unseal_range
from tenants.errors import ExchequerError
from tenants.ids import uuid7

__all__ = [
    "ChecksumMismatch", "ForeignKeyPath", "KeyMissing", "Listed", "ObjectMissing", "Readable", "StorageUnavailable",
    "Stored", "delete", "disposition", "encrypt", "ensure_bucket", "fetch", "listing", "new_key", "prefix_of", "put", "stream", "works",
]  # fmt: skip

CHUNK = 1024 * 1024
_PART = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
_TRIED = b"can be written and read"


class Readable(Protocol):
    """An open file of bytes that can be rewound."""

    def read(self, size: int = ..., /) -> bytes: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class KeyMissing(StorageUnavailable):
    """The key of this organisation's stored files cannot be used at the moment. Contact your administrator."""

    code = "encryption_key_unavailable"


class ChecksumMismatch(ExchequerError):
    """The stored file is damaged. Contact your administrator, who can find the cause in the log."""

    code = "object_damaged"
    status = 500

    def __init__(self, detail: str = "") -> None:
        super().__init__()
        self.detail = detail

    def __str__(self) -> str:
        """Return the message for the log, with the key in the store."""
        return self.detail or self.message


class ForeignKeyPath(RuntimeError):
    """A key does not lie under its tenant's prefix."""


def prefix_of(tenant_id: UUID) -> str:
    """Return the prefix of all keys of a tenant."""
    return f"t/{tenant_id}/"


def new_key(tenant_id: UUID, *parts: object) -> str:
    """Return a new key: the tenant's prefix, the given parts (ids, short words, numbers), a UUID."""
    words = [str(part) for part in parts]
    if not all(_PART.match(word) for word in words):
        raise ForeignKeyPath(f"{words!r} cannot be parts of a key")
    return prefix_of(tenant_id) + "/".join([*words, str(uuid7())])


def put(
    tenant_id: UUID, key: str, source: Path | Readable, *, content_type: str = "application/octet-stream"
) -> Stored:
    """Encrypt a file and store it under a key of the tenant. Raises StorageUnavailable, KeyMissing.

    It is encrypted once, to an unnamed temporary file: a retry sends the same bytes, and no nonce is used twice.
    """
    _check(tenant_id, key)
    if isinstance(source, Path):
        with source.open("rb") as file:
            return put(tenant_id, key, file, content_type=content_type)
    with _named(key):
        secret = data_key(tenant_id)
    source.seek(0)
    with _room_on_disk(), tempfile.SpooledTemporaryFile(max_size=2 * CHUNK) as sealed:
        digest, size = seal(source, sealed, secret, key)
        length = sealed.tell()
        sealed.seek(0)
        if handouts.is_node():
            handed.put(tenant_id, key, sealed, length)
        else:
            s3.put(key, sealed, length, content_type)
    return Stored(key, digest, size, encrypted=True)


def fetch(tenant_id: UUID, stored: Stored, target: Path) -> None:
    """Copy a stored file to `target`, decrypted, in bounded memory. Raises as `stream` does."""
    partial = target.with_name(target.name + ".part")
    try:
        with partial.open("wb") as out:
            for chunk in stream(tenant_id, stored):
                out.write(chunk)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def stream(tenant_id: UUID, stored: Stored, start: int = 0, stop: int | None = None) -> Generator[bytes]:
    """Yield a stored file decrypted, the bytes from `start` up to `stop` if given.

    Each chunk of an encrypted file is verified before it is yielded, and the sha256 of a whole file before its last
    chunk. Raises ChecksumMismatch, ObjectMissing, StorageUnavailable, KeyMissing, most often with the first chunk.
    """
    _check(tenant_id, stored.key)
    stop = stored.size if stop is None else min(stop, stored.size)
    with _named(stored.key):
        if (start, stop) == (0, stored.size):
            yield from _whole(tenant_id, stored, lambda key_id: data_key(tenant_id, key_id))
        elif start < stop:
            yield from _part(tenant_id, stored, lambda key_id: data_key(tenant_id, key_id), start, stop)


def encrypt(tenant_id: UUID, stored: Stored) -> Stored:
    """Encrypt an unencrypted object under its own key: at any moment the store holds one or the other."""
    sealed = put(tenant_id, stored.key, _Flowing(stream(tenant_id, stored)))
    if sealed.sha256 != stored.sha256:
        raise ChecksumMismatch(f"{stored.key}: it changed while it was encrypted")
    return sealed


def delete(tenant_id: UUID, keys: Sequence[str]) -> None:
    """Remove keys of a tenant; missing ones are no error. Raises StorageUnavailable."""
    for key in keys:
        _check(tenant_id, key)
    if handouts.is_node():
        handed.delete(tenant_id, keys)
    else:
        s3.delete(keys)


def listing(tenant_id: UUID, *parts: object) -> Iterator[Listed]:
    """Yield what lies under the tenant's prefix and further parts of a key. Raises StorageUnavailable."""
    prefix = prefix_of(tenant_id) + "".join(f"{part}/" for part in parts)
    _check(tenant_id, prefix)
    return handed.listing(tenant_id, prefix) if handouts.is_node() else s3.listing(prefix)


def works() -> bool:
    """Return whether the store returns what is written to it. Raises StorageUnavailable, ObjectMissing."""
    key = f"doctor/{uuid7()}"
    with tempfile.SpooledTemporaryFile(max_size=CHUNK) as file:
        file.write(_TRIED)
        file.seek(0)
        s3.put(key, file, len(_TRIED))
    try:
        with s3.opened(key) as body:
            return body.read(CHUNK) == _TRIED
    finally:
        s3.delete([key])


def disposition(filename: str) -> str:
    """Return a Content-Disposition of RFC 6266 that cannot carry a path, a quotation mark or a line break."""
    plain = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename)[-1]).strip(". ")[:150] or "file"
    ascii_only = re.sub(r'[^ -~]|["\\;%]', "_", plain)
    return f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{quote(plain, safe='')}"


class _Flowing:
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes], first: bytes = b"") -> None:
        self._chunks, self._held = chunks, first

    def read(self, size: int = -1, /) -> bytes:
        while len(self._held) < size and (chunk := next(self._chunks, b"")):
            self._held += chunk
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return 0


def _whole(tenant_id: UUID, stored: Stored, key_of: Callable[[UUID], DataKey]) -> Iterator[bytes]:
    """Yield every chunk, one behind the reads: the last one waits for the sha256."""
    digest, size, waiting = hashlib.sha256(), 0, b""
    with _open(tenant_id, stored.key) as body:
        chunks = _opened(body, stored, key_of)
        for chunk in chunks:
            size += len(chunk)
            if size > stored.size:
                break
            digest.update(chunk)
            if waiting:
                yield waiting
            waiting = chunk
    if size != stored.size or digest.hexdigest() != stored.sha256:
        raise ChecksumMismatch(f"{stored.key}: {size} bytes that do not match the stored sha256")
    if waiting:
        yield waiting


def _opened(body: s3.Body, stored: Stored, key_of: Callable[[UUID], DataKey]) -> Iterator[bytes]:
    """Yield the decrypted chunks. A row may still be marked plain for an object that was just encrypted."""
    first = b"" if stored.encrypted else body.read(len(MAGIC))
    source = _Flowing(iter(lambda: body.read(CHUNK), b""), first)
    if stored.encrypted or first == MAGIC:
        return unseal(source, key_of, stored.key)
    return iter(lambda: source.read(CHUNK), b"")


def _open(tenant_id: UUID, key: str, start: int = 0, stop: int | None = None) -> AbstractContextManager[s3.Body]:
    return handed.opened(tenant_id, key, start, stop) if handouts.is_node() else s3.opened(key, start, stop)


def _part(tenant_id: UUID, stored: Stored, key_of: Callable[[UUID], DataKey], start: int, stop: int) -> Iterator[bytes]:
    with _open(tenant_id, stored.key, 0, HEADER.size) as body:
        raw = body.read(HEADER.size)
    if not stored.encrypted and not raw.startswith(MAGIC):
        with _open(tenant_id, stored.key, start, stop) as body:
            yield from iter(lambda: body.read(CHUNK), b"")
        return
    header = Header.parse(raw)
    numbers = range(start // header.chunk, -(-stop // header.chunk))
    at = numbers.start * header.chunk
    with _open(tenant_id, stored.key, header.offset(numbers.start), header.offset(numbers.stop)) as body:
        chunks = unseal_range(body, header, key_of(header.key_id), stored.key, size=stored.size, numbers=numbers)
        for chunk in chunks:
            yield chunk[max(0, start - at) : stop - at]
            at += header.chunk


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Translate encryption errors into this module's errors."""
    try:
        yield
    except (Damaged, UnknownKey) as error:
        raise ChecksumMismatch(f"{key}: {error}") from error
    except KeyUnavailable as error:
        raise KeyMissing from error


@contextmanager
def _room_on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailable("The disk has no space for the file. Nothing was changed.") from error
        raise


def _check(tenant_id: UUID, key: str) -> None:
    prefix = prefix_of(tenant_id)
    if not key.startswith(prefix) or ".." in key or "//" in key or "\\" in key or not key.isprintable():
        raise ForeignKeyPath(f"{key!r} does not lie under {prefix}")
