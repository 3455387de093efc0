"""The object store: the only importer of boto3. Every key carries its tenant and is checked on every call.

Keys are made by the server, `t/{tenant}/{room}/.../{uuid}`; what a person called a file appears in
Content-Disposition alone. What is read is held against the sha256 that the database keeps.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from tenants.errors import NotFound, Unavailable
from tenants.ids import uuid7

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 1024 * 1024
MAX_LINK_S = 300
DELETE_BATCH = 500
_PART = re.compile(r"[a-z0-9][a-z0-9-]*\Z")


class Readable(Protocol):
    """An open file of bytes that can be read again from the start."""

    def read(self, size: int = ..., /) -> bytes: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class StorageUnavailable(Unavailable):
    """The object store does not answer. Nothing was changed; try again shortly."""

    code = "storage_unavailable"


class ObjectMissing(NotFound):
    """The stored file is gone from the object store."""

    code = "object_missing"


class ChecksumMismatch(RuntimeError):
    """A stored file is not what was stored: its sha256 differs."""


class ForeignKeyPath(RuntimeError):
    """A key does not lie under its tenant's prefix."""


@dataclass(frozen=True)
class Stored:
    """Where something lies, what it is (sha256, hex) and its size in bytes."""

    key: str
    sha256: str
    size: int

    def to_json(self) -> dict[str, str | int]:
        return {"key": self.key, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True)
class Listed:
    """One key of a listing and when it was last written, by the store's clock."""

    key: str
    written_at: datetime
    size: int


def prefix_of(tenant_id: UUID) -> str:
    """Return the prefix under which everything of a tenant lies."""
    return f"t/{tenant_id}/"


def new_key(tenant_id: UUID, *parts: object) -> str:
    """Return a fresh key: the tenant's prefix, the given parts (ids, short words, numbers), a UUID."""
    words = [str(part) for part in parts]
    if not all(_PART.match(word) for word in words):
        raise ForeignKeyPath(f"{words!r} cannot be parts of a key")
    return prefix_of(tenant_id) + "/".join([*words, str(uuid7())])


def put(
    tenant_id: UUID, key: str, source: Path | Readable, *, content_type: str = "application/octet-stream"
) -> Stored:
    """Store a file under a key of the tenant. Raises StorageUnavailable."""
    _check(tenant_id, key)
    if isinstance(source, Path):
        with source.open("rb") as file:
            return put(tenant_id, key, file, content_type=content_type)
    source.seek(0)
    hashed, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        hashed.update(chunk)
        size += len(chunk)
    source.seek(0)
    digest = hashed.hexdigest()
    with _store() as (client, bucket):
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=source,
            ContentLength=size,
            ContentType=content_type,
            Metadata={"sha256": digest},
        )
    return Stored(key, digest, size)


def fetch(tenant_id: UUID, stored: Stored, target: Path) -> None:
    """Copy a stored file to `target`, streamed. Raises ChecksumMismatch, ObjectMissing, StorageUnavailable."""
    _check(tenant_id, stored.key)
    partial = target.with_name(target.name + ".part")
    digest, size = hashlib.sha256(), 0
    with _store() as (client, bucket), partial.open("wb") as out:
        body = client.get_object(Bucket=bucket, Key=stored.key)["Body"]
        while chunk := body.read(CHUNK):
            size += len(chunk)
            if size > stored.size:
                break
            digest.update(chunk)
            out.write(chunk)
    if size != stored.size or digest.hexdigest() != stored.sha256:
        partial.unlink(missing_ok=True)
        raise ChecksumMismatch(f"{stored.key}: {size} bytes that do not match the stored sha256")
    partial.replace(target)


def link(tenant_id: UUID, stored: Stored, *, filename: str, seconds: int = MAX_LINK_S) -> str:
    """Return a URL that lets anyone who has it download the file for at most five minutes, GET only."""
    _check(tenant_id, stored.key)
    with _store() as (client, bucket):
        url: str = client.generate_presigned_url(
            "get_object",
            Params={"Bucket": bucket, "Key": stored.key, "ResponseContentDisposition": disposition(filename)},
            ExpiresIn=max(1, min(seconds, MAX_LINK_S)),
            HttpMethod="GET",
        )
    return url


def delete(tenant_id: UUID, keys: Sequence[str]) -> None:
    """Remove keys of a tenant; missing ones are no error. Raises StorageUnavailable."""
    for key in keys:
        _check(tenant_id, key)
    for at in range(0, len(keys), DELETE_BATCH):
        with _store() as (client, bucket):
            for key in keys[at : at + DELETE_BATCH]:
                client.delete_object(Bucket=bucket, Key=key)


def listing(tenant_id: UUID, *parts: object) -> Iterator[Listed]:
    """Yield what lies under the tenant's prefix and further parts of a key. Raises StorageUnavailable."""
    prefix = prefix_of(tenant_id) + "".join(f"{part}/" for part in parts)
    _check(tenant_id, prefix)
    with _store() as (client, bucket):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield Listed(item["Key"], item["LastModified"], item["Size"])


def ensure_bucket() -> None:
    """Make the bucket when it is not there. Raises StorageUnavailable."""
    with _store() as (client, bucket):
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
            client.create_bucket(Bucket=bucket)


def disposition(filename: str) -> str:
    """Return a Content-Disposition of RFC 6266 that cannot carry a path, a quotation mark or a line break."""
    plain = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename)[-1]).strip(". ")[:150] or "file"
    ascii_only = re.sub(r'[^ -~]|["\\;%]', "_", plain)
    return f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{quote(plain, safe='')}"


@contextmanager
def _store() -> Iterator[tuple[S3Client, str]]:
    """Yield client and bucket; what the store or the network does wrong becomes one of this module's errors."""
    try:
        yield _client(os.getpid(), settings.EXCHEQUER.s3_endpoint_url), settings.EXCHEQUER.s3_bucket
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "404"):
            raise ObjectMissing from error
        raise StorageUnavailable from error
    except (BotoCoreError, ConnectionError) as error:
        raise StorageUnavailable from error


@lru_cache(maxsize=4)
def _client(process: int, endpoint: str) -> S3Client:
    """Return one client a process: a client's sockets must not be shared across a fork."""
    env = settings.EXCHEQUER
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint or None,
        aws_access_key_id=env.aws_access_key_id or None,
        aws_secret_access_key=env.aws_secret_access_key or None,
        region_name=env.aws_region,
        config=Config(
            connect_timeout=2,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 3},
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            # The default adds trailing checksums that not every S3 takes; the sha256 is ours.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _check(tenant_id: UUID, key: str) -> None:
    prefix = prefix_of(tenant_id)
    if not key.startswith(prefix) or ".." in key or "//" in key or "\\" in key or not key.isprintable():
        raise ForeignKeyPath(f"{key!r} does not lie under {prefix}")
