"""The S3 client, the only importer of boto3. It moves bytes as stored; `storage` interprets them."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Protocol

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from tenants.encryption.stream import Damaged
from tenants.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DELETE_BATCH = 500
LINK_S = 300
#: A store refuses more than 5 GiB in one request; what is larger than this goes in parts, one at a time, each held in memory.
AT_ONCE, PART = 2**30, 8 * 2**20


class StorageUnavailable(Unavailable):
    """The object store does not answer. Nothing was changed; try again shortly."""

    code = "storage_unavailable"


class ObjectMissing(NotFound):
    """The stored file is missing from the object store."""

    code = "object_missing"


class Body(Protocol):
    """The bytes of an object as they arrive."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most `size` bytes; none at the end."""

    def close(self) -> None:
        """Release the connection."""


@dataclass(frozen=True)
class Listed:
    """One key of a listing and its last write, by the store's clock."""

    key: str
    written_at: datetime
    size: int


@dataclass(frozen=True)
class Version:
    """One version of an object in a bucket that keeps all: what was written over or removed is listed, too."""

    bucket: str
    key: str
    id: str


@dataclass(frozen=True)
class Lock:
    """For how many days a bucket keeps each object from removal; `compliance`: from everybody, whatever their rights."""

    days: int
    compliance: bool


def put(key: str, body: IO[bytes], size: int, content_type: str = "application/octet-stream") -> None:
    """Store `size` bytes under a key: all of them, or nothing. Raises StorageUnavailable."""
    with _store() as (client, bucket):
        if size <= AT_ONCE:
            client.put_object(Bucket=bucket, Key=key, Body=body, ContentLength=size, ContentType=content_type)
        else:
            parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
            client.upload_fileobj(body, bucket, key, ExtraArgs={"ContentType": content_type}, Config=parts)


def put_small(key: str, content: bytes, bucket: str = "") -> None:
    """Store bytes under a key, by default in the bucket of all files. Raises StorageUnavailable."""
    # A bucket with a default retention wants the digest.
    digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    with _store() as (client, default):
        client.put_object(Bucket=bucket or default, Key=key, Body=content, ContentMD5=digest)


@contextmanager
def opened(key: str, start: int = 0, stop: int | None = None) -> Iterator[Body]:
    """Open an object's bytes from `start` up to `stop`. Raises ObjectMissing, StorageUnavailable, Damaged."""
    span = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
    with (
        _store() as (client, bucket),
        closing(client.get_object(Bucket=bucket, Key=key, **span)["Body"]) as body,
    ):
        yield body


@contextmanager
def opened_version(version: Version) -> Iterator[Body]:
    """Open one version of an object. Raises ObjectMissing, StorageUnavailable."""
    named = {"Bucket": version.bucket, "Key": version.key, "VersionId": version.id}
    with _store() as (client, _), closing(client.get_object(**named)["Body"]) as body:
        yield body


def link(method: str, key: str) -> str:
    """Return an address at which anyone may `get` or `put` this one object, for LINK_S. Raises StorageUnavailable."""
    with _store() as (client, bucket):
        named = {"Bucket": bucket, "Key": key}
        url: str = client.generate_presigned_url(f"{method}_object", Params=named, ExpiresIn=LINK_S)
    return url


def delete(keys: Sequence[str]) -> None:
    """Remove keys; missing ones are no error. Raises StorageUnavailable."""
    for at in range(0, len(keys), DELETE_BATCH):
        with _store() as (client, bucket):
            for key in keys[at : at + DELETE_BATCH]:
                client.delete_object(Bucket=bucket, Key=key)


def listing(prefix: str) -> Iterator[Listed]:
    """Yield what lies under a prefix. Raises StorageUnavailable."""
    with _store() as (client, bucket):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield Listed(item["Key"], item["LastModified"], item["Size"])


def versions(prefix: str, bucket: str) -> Iterator[Version]:
    """Yield every version of what lies under a prefix, by key. Raises StorageUnavailable."""
    with _store() as (client, _):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Versions", []):
                yield Version(bucket, item["Key"], item["VersionId"])


def lock_of(bucket: str) -> Lock | None:
    """Return the default retention of a bucket, None if it locks nothing by itself. Raises StorageUnavailable."""
    with _store() as (client, _):
        try:
            found = client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ObjectLockConfigurationNotFoundError":
                return None
            raise
    default = found.get("Rule", {}).get("DefaultRetention", {})
    days = default.get("Days") or 365 * default.get("Years", 0)
    return Lock(days, default.get("Mode") == "COMPLIANCE") if days else None


def ensure_bucket() -> None:
    """Create the bucket if it does not exist. Raises StorageUnavailable."""
    with _store() as (client, bucket):
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
            client.create_bucket(Bucket=bucket)


@contextmanager
def _store() -> Iterator[tuple[S3Client, str]]:
    """Yield client and bucket; translate errors of the store or the network into this module's errors."""
    try:
        yield client(os.getpid(), settings.EXCHEQUER.s3_endpoint_url), settings.EXCHEQUER.s3_bucket
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "404"):
            raise ObjectMissing from error
        if code == "InvalidRange":
            raise Damaged("it is shorter than what was stored") from error
        raise StorageUnavailable from error
    except (BotoCoreError, S3UploadFailedError, ConnectionError) as error:
        raise StorageUnavailable from error


@lru_cache(maxsize=4)
def client(process: int, endpoint: str) -> S3Client:
    """Return one client per process: a client's sockets must not be shared across a fork."""
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
            # The default adds trailing checksums that not every S3 accepts; integrity comes from our sha256.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
