"""Operations on datasets: upload, restrict, remove. Each is audited; `tenants/sharing` shares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from models_app import wakeups
from models_app.access import own_datasets, visible_datasets
from models_app.datasets import storage_quota
from models_app.models import Dataset, DatasetVersion, IngestState
from models_app.object_store import storage
from models_app.tables import writing as written
from models_app.tables.columns import contract
from models_app.tables.limits import MAX_NAME_LENGTH
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.projects.sight import project_fault
from tenants.quotas import QuotaExceeded
from tenants.sharing import shares

DATASET_UPLOADED = AuditAction("models_app.dataset.uploaded")
DATASET_RESTRICTED = AuditAction("models_app.dataset.restricted")
DATASET_MOVED = AuditAction("models_app.dataset.moved")
DATASET_REMOVED = AuditAction("models_app.dataset.removed")

MAX_NAME = 120


@dataclass(frozen=True)
class Audience:
    """Who sees a new dataset: those who see into its project, or the organisation; if restricted, its creator."""

    project_id: UUID | None = None
    restricted: bool = False


EVERYBODY = Audience()


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
    audience: Audience = EVERYBODY,
    writing: Mapping[str, str] | None = None,
) -> DatasetVersion:
    """Store a file and queue its ingestion; return its version, in state `ingesting`.

    `writing`: `encoding` and `delimiter` of a text file, if the person knows them (`tables/writing.py`). The same
    bytes, target and writing under the same name return the existing version; one that failed or was removed is read
    again. An existing name gets a new version. `audience` is that of a new dataset. Opens its own transactions, because the file goes to the object store
    between them. Raises Invalid, DatasetNameTaken, QuotaExceeded (409), StorageUnavailable.
    """
    actor.require_somewhere("datasets.create")
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
        _addable(actor, name, audience.project_id)
    key = storage.new_key(actor.tenant_id, "u")
    stored = storage.put(actor.tenant_id, key, file)
    try:
        version = _record_upload(
            actor=actor,
            name=name,
            target=target,
            filename=_plain(filename),
            audience=audience,
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
    audience: Audience,
    stored: storage.Stored,
    writing: dict[str, str],
) -> DatasetVersion:
    dataset = None
    while dataset is None:  # someone else may create or remove it between the two statements
        found = _addable(actor, name, audience.project_id)
        if found is None:
            fresh = Dataset(name=name, restricted=audience.restricted, project_id=audience.project_id)
            fresh.created_by, fresh.created_by_label = actor.owner_id, actor.label
            Dataset.objects.bulk_create([_claimed(fresh)], ignore_conflicts=True)
            found = _addable(actor, name, audience.project_id)
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
    dataset = _own(actor, dataset_id, "datasets.share")
    if dataset.restricted == restricted:
        unchanged("it was so before")
        return dataset
    record(DATASET_RESTRICTED, actor=actor, target=dataset, changes={"restricted": [dataset.restricted, restricted]})
    dataset.restricted = restricted
    dataset.save(update_fields=["restricted"])
    return dataset


@operation(DATASET_MOVED)
def move(*, actor: Actor, dataset_id: UUID, project_id: UUID | None) -> Dataset:
    """Move a dataset to a project, or to the whole organisation. Raises NotFound, Invalid, PermissionDenied.

    What was made from it stays in the projects in which it was made.
    """
    dataset = _own(actor, dataset_id, "datasets.share")
    if dataset.project_id == project_id:
        unchanged("it was there before")
        return dataset
    if project_id is not None and (fault := project_fault(actor, "datasets.share", project_id)):
        raise Invalid(fields={"project": [fault]})
    actor.require("datasets.share", InProject(project_id))
    before = dataset.project_id and str(dataset.project_id)
    record(DATASET_MOVED, actor=actor, target=dataset, changes={"project": [before, project_id and str(project_id)]})
    dataset.project_id = project_id
    dataset.save(update_fields=["project"])
    return dataset


@operation(DATASET_REMOVED)
def remove_failed(*, actor: Actor, dataset_id: UUID) -> bool:
    """Remove a dataset's failed versions and their files; return whether the dataset was left empty and removed too.

    Raises NotFound or NothingFailed.
    """
    dataset = _own(actor, dataset_id, "datasets.create")
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
    shares.forget("dataset", dataset.id)
    dataset.delete()
    return True


def seen(actor: Actor, dataset_id: UUID) -> None:
    """Raise NotFound unless the actor sees the dataset. Restricting a dataset may hide it from the actor."""
    if not visible_datasets(actor).filter(id=dataset_id).exists():
        raise NotFound


def _addable(actor: Actor, name: str, project_id: UUID | None) -> Dataset | None:
    """Return the dataset of this name that the actor may add to; None if it may make one in the project.

    Raises DatasetNameTaken for one it may not see, PermissionDenied, and Invalid for another project or none such.
    """
    found, own = _existing(actor, name)
    if found is None:
        if project_id is not None and (fault := project_fault(actor, "datasets.create", project_id)):
            raise Invalid(fields={"project": [fault]})
        actor.require("datasets.create", InProject(project_id))
        return None
    if project_id not in (None, found.project_id):
        raise Invalid(fields={"project": ["The dataset of this name is not in this project. Choose another name."]})
    actor.require("datasets.create", found)
    if not own:
        raise shares.SharedOnly
    return found


def _existing(actor: Actor, name: str) -> tuple[Dataset | None, bool]:
    """Return the dataset of this name, and whether the actor sees it without a share.

    Raises DatasetNameTaken for one that the actor may not see.
    """
    # In one statement: with two, a dataset removed in between would look hidden.
    seen, own = (Exists(rows.filter(id=OuterRef("id"))) for rows in (visible_datasets(actor), own_datasets(actor)))
    dataset = Dataset.objects.filter(name=name).annotate(seen=seen, own=own).first()
    if dataset is None:
        return None, False
    if not dataset.seen:
        raise DatasetNameTaken
    return dataset, dataset.own


def _own(actor: Actor, dataset_id: UUID, permission: str) -> Dataset:
    actor.require_somewhere(permission)
    dataset = visible_datasets(actor).select_for_update(of=("self",), no_key=True).filter(id=dataset_id).first()
    if dataset is None:
        raise NotFound
    actor.require(permission, dataset)
    shares.check_managed(actor, "dataset", dataset_id)
    return dataset


def _claimed(dataset: Dataset) -> Dataset:
    dataset.claim_tenant()
    return dataset


def _plain(filename: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename or "")[-1])[:255] or "upload"
