"""The files of the audit logs' signed checkpoints: in clear, under a prefix of their own, or in a bucket that locks them.

A bucket with Object Lock keeps every version, so it is one of its own: in the bucket of all other files nothing could be
erased any more. Its default retention says how long nobody, whatever their rights, removes a file.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from models_app.object_store import s3

PREFIX = "audit/"
#: A checkpoint has some 400 bytes; more of a file is not read.
LARGEST = 4096


def keep(name: str, content: bytes) -> None:
    """Store a file, in the bucket of `EXCHEQUER_AUDIT_BUCKET` if there is one. Raises StorageUnavailable."""
    s3.put_small(PREFIX + name, content, settings.EXCHEQUER.audit_bucket)


def kept(folder: str, first: str, last: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the files in a folder from one name to another, those of the bucket that locks at the end.

    Of that one every version is read: it shows what somebody wrote over or removed. Raises StorageUnavailable.
    """
    low, high = PREFIX + first, PREFIX + last
    for one in s3.listing(PREFIX + folder):
        if low <= one.key <= high:
            with s3.opened(one.key) as body:
                yield one.key.removeprefix(PREFIX), body.read(LARGEST)
    if settings.EXCHEQUER.audit_bucket:
        for version in s3.versions(PREFIX + folder, settings.EXCHEQUER.audit_bucket):
            if low <= version.key <= high:
                with s3.opened_version(version) as body:
                    yield version.key.removeprefix(PREFIX), body.read(LARGEST)


def lock_fault() -> str:
    """Return why the bucket of `EXCHEQUER_AUDIT_BUCKET` does not keep files from everybody; empty if it does, or is not set."""
    if not (bucket := settings.EXCHEQUER.audit_bucket):
        return ""
    try:
        lock = s3.lock_of(bucket)
    except s3.StorageUnavailable as error:
        return f"bucket {bucket!r} of EXCHEQUER_AUDIT_BUCKET: {error}"
    if lock is None:
        return f"bucket {bucket!r} has no Object Lock with a default retention: checkpoints of the audit log can be removed there"
    if not lock.compliance:
        return f"bucket {bucket!r} locks in the mode GOVERNANCE, which some may bypass: use COMPLIANCE"
    return ""
