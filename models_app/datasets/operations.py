"""Operations on datasets: upload, restrict, share, remove. Each is audited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Max, OuterRef
from guardian.shortcuts import assign_perm, remove_perm

from models_app import wakeups
from models_app.access import VIEW_DATASET, visible_datasets
from models_app.datasets import storage_quota
from models_app.models import Dataset, DatasetUserPermission, DatasetVersion, IngestState
from models_app.object_store import storage
from models_app.tables import writing as written
from models_app.tables.columns import contract
from models_app.tables.limits import MAX_NAME_LENGTH
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, User
from tenants.quotas import QuotaExceeded

DATASET_UPLOADED = AuditAction("models_app.dataset.uploaded")
DATASET_RESTRICTED = AuditAction("models_app.dataset.restricted")
DATASET_SHARED = AuditAction("models_app.dataset.shared")
DATASET_UNSHARED = AuditAction("models_app.dataset.unshared")
DATASET_REMOVED = AuditAction("models_app.dataset.removed")

MAX_NAME = 120


class DatasetNameTaken(Conflict):
    """This name is taken. Choose another one."""

    code = "dataset_name_taken"


class NothingFailed(Conflict):
    """No upload of this dataset has failed. Versions that were read stay: jobs and models name them."""

    code = "dataset_in_use"


def upload(
    *,
    actor: Actor,
    name: str,
    file: storage.Readable,
    filename: str,
    target: str = "",
    restricted: bool = False,
    writing: Mapping[str, str] | None = None,
) -> DatasetVersion:
    """Store a file and queue its ingestion; return its version, in state `ingesting`.

    `writing`: `encoding` and `delimiter` of a text file, if the person knows them (`tables/writing.py`). The same
    bytes, target and writing under the same name return the existing version; one that failed or was removed is read
    again. An existing name gets a new version. Opens its own transactions, because the file goes to the object store
    between them. Raises Invalid, DatasetNameTaken, QuotaExceeded (409), StorageUnavailable.
    """
    actor.require("datasets.create")
    name, target = name.strip(), target.strip()
    faults: dict[str, list[str]] = {}
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        faults["name"] = [f"Enter a name of 1 to {MAX_NAME} printable characters."]
    if len(target) > MAX_NAME_LENGTH or not target.isprintable():
        faults["target"] = [f"A column name has at most {MAX_NAME_LENGTH} characters, all of them printable."]
    known = {key: value for key, value in (writing or {}).items() if value}
    faults |= written.faults(known)
    if faults:
        raise Invalid(fields=faults)
    with tenant_scope(actor.tenant_id):
        _existing(actor, name)
    key = storage.new_key(actor.tenant_id, "u")
    stored = storage.put(actor.tenant_id, key, file)
    try:
        version = _record_upload(
            actor=actor,
            name=name,
            target=target,
            filename=_plain(filename),
            restricted=restricted,
            stored=stored,
            writing=known,
        )
    except QuotaExceeded:
        wakeups.wake_discard([key], actor.tenant_id)
        raise
    if version.source_key != key:
        wakeups.wake_discard([key], actor.tenant_id)
    return version


@operation(DATASET_UPLOADED)
def _record_upload(
    *,
    actor: Actor,
    name: str,
    target: str,
    filename: str,
    restricted: bool,
    stored: storage.Stored,
    writing: dict[str, str],
) -> DatasetVersion:
    dataset = None
    while dataset is None:  # someone else may create or remove it between the two statements
        found = _existing(actor, name)
        if found is None:
            fresh = Dataset(name=name, restricted=restricted, created_by=actor.id, created_by_label=actor.label)
            Dataset.objects.bulk_create([_claimed(fresh)], ignore_conflicts=True)
            found = _existing(actor, name)
        if found is not None:
            dataset = Dataset.objects.select_for_update(no_key=True).filter(id=found.id).first()
    same = DatasetVersion.objects.filter(dataset=dataset, sha256=stored.sha256, target=target)
    digest = contract.digest({}, writing)
    version = same.filter(choices_sha256=digest).first()  # other choices read the same file differently
    if version is not None and version.state not in (IngestState.FAILED, IngestState.REMOVED):
        unchanged("the same content was uploaded before")
        return version
    if version is None:
        last = DatasetVersion.objects.filter(dataset=dataset).aggregate(last=Max("number"))["last"] or 0
        version = DatasetVersion(dataset=dataset, number=last + 1, sha256=stored.sha256, target=target)
    version.writing, version.choices_sha256 = writing, digest
    version.filename, version.size = filename, stored.size
    version.source_key, version.source_encrypted = stored.key, stored.encrypted
    version.state, version.code, version.message, version.claimed_at, version.tries = (
        IngestState.INGESTING,
        "",
        "",
        None,
        0,
    )
    version.uploaded_by, version.uploaded_by_label = actor.id, actor.label
    version.removed_at, version.removed_by_label = None, ""
    version.save()
    storage_quota.reserve(actor, version)
    changes: dict[str, Any] = {
        "version": [None, version.number],
        "sha256": [None, stored.sha256],
        "size": [None, stored.size],
        "target": [None, target],
        **{key: [None, value] for key, value in writing.items()},
    }
    record(DATASET_UPLOADED, actor=actor, target=dataset, changes=changes)
    transaction.on_commit(lambda: wakeups.wake_ingest(version.id, actor.tenant_id))
    return version


@operation(DATASET_RESTRICTED)
def restrict(*, actor: Actor, dataset_id: UUID, restricted: bool) -> Dataset:
    """Restrict a dataset to those it is shared with, or open it to the whole tenant. Raises NotFound."""
    actor.require("datasets.share")
    dataset = _own(actor, dataset_id)
    if dataset.restricted == restricted:
        unchanged("it was so before")
        return dataset
    record(DATASET_RESTRICTED, actor=actor, target=dataset, changes={"restricted": [dataset.restricted, restricted]})
    dataset.restricted = restricted
    dataset.save(update_fields=["restricted"])
    return dataset


@operation(DATASET_SHARED)
def share(*, actor: Actor, dataset_id: UUID, user_id: UUID) -> None:
    """Share a restricted dataset with one member. Raises NotFound for a foreign dataset or user."""
    actor.require("datasets.share")
    dataset = _own(actor, dataset_id)
    user = _member(user_id)
    if _shares(dataset, user_id).exists():
        unchanged("it was shared before")
        return
    assign_perm(VIEW_DATASET, user, dataset)
    record(DATASET_SHARED, actor=actor, target=dataset, changes={"shared_with": [None, str(user_id)]})


@operation(DATASET_UNSHARED)
def unshare(*, actor: Actor, dataset_id: UUID, user_id: UUID) -> None:
    """Revoke a share. Raises NotFound for a foreign dataset."""
    actor.require("datasets.share")
    dataset = _own(actor, dataset_id)
    if not _shares(dataset, user_id).exists():
        unchanged("it was not shared")
        return
    remove_perm(VIEW_DATASET, User.objects.get(id=user_id), dataset)
    record(DATASET_UNSHARED, actor=actor, target=dataset, changes={"shared_with": [str(user_id), None]})


@operation(DATASET_REMOVED)
def remove_failed(*, actor: Actor, dataset_id: UUID) -> bool:
    """Remove a dataset's failed versions and their files; return whether the dataset was left empty and removed too.

    Raises NotFound or NothingFailed.
    """
    actor.require("datasets.create")
    dataset = _own(actor, dataset_id)
    failed = list(DatasetVersion.objects.filter(dataset=dataset, state=IngestState.FAILED))
    if not failed:
        raise NothingFailed
    numbers = ", ".join(f"v{version.number}" for version in failed)
    record(DATASET_REMOVED, actor=actor, target=dataset, changes={"versions": [numbers, None]})
    return discard(actor, dataset, failed)


def discard(actor: Actor, dataset: Dataset, failed: list[DatasetVersion]) -> bool:
    """Delete failed versions and their files; return whether the dataset was left empty and deleted too."""
    DatasetVersion.objects.filter(id__in=[version.id for version in failed]).delete()
    storage_quota.release(version.id for version in failed)
    keys = [version.source_key for version in failed]
    transaction.on_commit(lambda: wakeups.wake_discard(keys, actor.tenant_id))
    if DatasetVersion.objects.filter(dataset=dataset).exists():
        return False
    DatasetUserPermission.objects.filter(content_object=dataset).delete()
    dataset.delete()
    return True


def seen(actor: Actor, dataset_id: UUID) -> None:
    """Raise NotFound unless the actor sees the dataset. Restricting a dataset may hide it from the actor."""
    if not visible_datasets(actor).filter(id=dataset_id).exists():
        raise NotFound


def _existing(actor: Actor, name: str) -> Dataset | None:
    """Return the dataset of this name that the actor may add to. Raises DatasetNameTaken for one it may not see."""
    # In one statement: with two, a dataset removed in between would look hidden.
    seen = Exists(visible_datasets(actor).filter(id=OuterRef("id")))
    dataset = Dataset.objects.filter(name=name).annotate(seen=seen).first()
    if dataset is not None and not dataset.seen:
        raise DatasetNameTaken
    return dataset


def _own(actor: Actor, dataset_id: UUID) -> Dataset:
    dataset = visible_datasets(actor).select_for_update(no_key=True).filter(id=dataset_id).first()
    if dataset is None:
        raise NotFound
    return dataset


def _member(user_id: UUID) -> User:
    membership = Membership.objects.filter(user_id=user_id).select_related("user").first()
    if membership is None:
        raise NotFound
    return membership.user


def _shares(dataset: Dataset, user_id: UUID) -> Any:
    return DatasetUserPermission.objects.filter(
        content_object=dataset, user_id=user_id, permission__codename=VIEW_DATASET
    )


def _claimed(dataset: Dataset) -> Dataset:
    dataset.claim_tenant()
    return dataset


def _plain(filename: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename or "")[-1])[:255] or "upload"
