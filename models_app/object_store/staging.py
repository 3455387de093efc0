"""Copy stored files to a work folder, for every job kind. An unreachable store is retried, a damaged file is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from compute.kinds import BadArtefact
from models_app.object_store import storage
from tenants.errors import Unavailable

TRIES = 3
"""A damaged download is retried: the connection may have cut it short."""


class NotStaged(Unavailable):
    """A stored input or checkpoint could not be copied to the work folder: a platform failure, retried."""


def fetch_input(tenant_id: UUID, stored: storage.Stored, target: Path, what: str) -> None:
    """Copy a stored file to `target`. `what` names it in messages.

    Raises NotStaged while the store is unreachable, BadArtefact if the file is missing or damaged.
    """
    if not stored.key:
        raise BadArtefact(f"{what} was removed. This run is free.")
    for left in reversed(range(TRIES)):
        try:
            with platform():
                storage.fetch(tenant_id, stored, target)
        except storage.ObjectMissing as error:
            raise BadArtefact(f"{what} is missing from the object store. This run is free.") from error
        except storage.ChecksumMismatch as error:
            if not left:
                words = "is damaged in the object store: its sha256 differs from the recorded one"
                raise BadArtefact(f"{what} {words}. This run is free.") from error
        else:
            return


@contextmanager
def platform() -> Iterator[None]:
    """Count an unreachable store as a platform failure, which is retried, not as a failure of the job."""
    try:
        yield
    except storage.StorageUnavailable as error:
        raise NotStaged(error.message) from error
