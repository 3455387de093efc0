"""The storage of an organisation's datasets: each version counts the size of its file until it is removed."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from models_app.models import DatasetVersion
from tenants import quotas
from tenants.access.actor import Actor

STORAGE = "storage:datasets"
MIB = 1024**2


def limited() -> list[quotas.Resource]:
    """Return what quotas can limit: the size of uploaded files, in MiB."""
    relief = "Remove datasets or versions that are no longer needed"
    return [quotas.Resource(STORAGE, "Dataset storage", relief, unit=MIB, unit_words="MiB", of_projects=False)]


def reserve(actor: Actor, version: DatasetVersion) -> None:
    """Count a version's file for the organisation and for who uploaded it. Raises QuotaExceeded (409)."""
    of = quotas.Scopes(person=quotas.person_of(actor))
    quotas.reserve(resource=STORAGE, subject=_subject(version.id), amount=max(1, version.size), of=of)


def release(version_ids: Iterable[UUID]) -> None:
    """Stop counting versions whose files go; idempotent."""
    for version_id in sorted(version_ids):
        quotas.release(subject=_subject(version_id), resource=STORAGE)


def _subject(version_id: UUID) -> str:
    return f"dataset_version:{version_id}"
