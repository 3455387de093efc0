"""Bring what is stored to a work folder, for every kind of job: a store that is away is tried again, a damaged file is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from compute.kinds import BadArtefact
from models_app.object_store import storage
from tenants.errors import Unavailable

TRIES = 3
"""A file that arrives damaged is fetched again: a connection may have cut it short."""


class NotStaged(Unavailable):
    """A stored input or checkpoint could not be brought to the work folder: the platform's fault, tried again."""


def fetch_input(tenant_id: UUID, stored: storage.Stored, target: Path, what: str) -> None:
    """Copy a stored file to `target`. `what` names it in messages.

    Raises NotStaged while the store is away, BadArtefact when the file is gone or its bytes are not those that were stored.
    """
    if not stored.key:
        raise BadArtefact(f"{what} was removed. Nothing was charged for this run.")
    for left in reversed(range(TRIES)):
        try:
            with platform():
                storage.fetch(tenant_id, stored, target)
        except storage.ObjectMissing as error:
            raise BadArtefact(f"{what} is gone from the object store. Nothing was charged for this run.") from error
        except storage.ChecksumMismatch as error:
            if not left:
                words = "is damaged in the object store: its sha256 is not the one that was stored"
                raise BadArtefact(f"{what} {words}. Nothing was charged for this run.") from error
        else:
            return


@contextmanager
def platform() -> Iterator[None]:
    """Let a store that is away count as the platform's trouble, which is tried again, and not as the user's."""
    try:
        yield
    except storage.StorageUnavailable as error:
        raise NotStaged(error.message) from error
