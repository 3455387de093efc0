"""Removal of a dataset version or a whole dataset: its dependents, and the operations that leave tombstones.

The rows stay, without their data: models and jobs name them, and hash and counts document what those learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Job
from models_app.access import visible_datasets
from models_app.batch import batch
from models_app.datasets import operations, storage_quota
from models_app.datasets.operations import DATASET_REMOVED
from models_app.events import DatasetVersionRemoved
from models_app.models import DatasetVersion, Endpoint, EndpointState, IngestState, ModelVersion
from models_app.training.training import TrainKind
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.errors import Conflict, NotFound
from tenants.events.events import publish
from tenants.sharing import shares

DATASET_VERSION_REMOVED = AuditAction("models_app.dataset_version.removed")
NAMED = 5


class DatasetInUse(Conflict):
    """Unfinished work uses this version. Wait until it ends, or cancel it."""

    code = "dataset_in_use"


class DatasetIngesting(Conflict):
    """A file of this dataset is being read. Remove the dataset when that has ended."""

    code = "dataset_ingesting"


class NotRead(Conflict):
    """This version has not been read. Remove it once it is ready; a failed upload is removed with the failed ones."""

    code = "version_not_read"


@dataclass(frozen=True, kw_only=True)
class Hanging:
    """What was made from a dataset version, or will be. Lists name at most a few, newest first; counts are complete.

    `waiting` are unfinished jobs: they block removal, as do the `waiting_hidden` that the actor may not see. Everything
    else stays, without its data.
    """

    waiting: tuple[tuple[UUID, str], ...]
    waiting_hidden: int
    trainings: int
    batches: int
    models: tuple[tuple[UUID, str], ...]
    versions: int
    endpoints: tuple[str, ...]

    @property
    def hidden_words(self) -> str:
        """Return the sentence about the jobs that the actor may not see."""
        many = self.waiting_hidden != 1
        return f"{self.waiting_hidden} job{'s' * many} that {'are' if many else 'is'} not shared with you"

    @property
    def stops(self) -> bool:
        """Return whether an unfinished job blocks removal."""
        return bool(self.waiting or self.waiting_hidden)


def hangs_on(actor: Actor, version_id: UUID) -> Hanging:
    """Return the dependents of a version. Raises NotFound."""
    if not DatasetVersion.objects.filter(id=version_id, dataset__in=visible_datasets(actor)).exists():
        raise NotFound
    made = ModelVersion.objects.filter(dataset_version_id=version_id)
    return _hanging(actor, _jobs([version_id]), made)


def hangs_on_dataset(actor: Actor, dataset_id: UUID) -> Hanging:
    """Return the dependents of all versions of a dataset together. Raises NotFound."""
    if not visible_datasets(actor).filter(id=dataset_id).exists():
        raise NotFound
    versions = list(DatasetVersion.objects.filter(dataset_id=dataset_id).values_list("id", flat=True))
    return _hanging(actor, _jobs(versions), ModelVersion.objects.filter(dataset_version__in=versions))


def _hanging(actor: Actor, jobs: QuerySet[Job], made: QuerySet[ModelVersion]) -> Hanging:
    ended, unended = jobs.filter(state__in=FINAL_STATES), jobs.exclude(state__in=FINAL_STATES)
    visible = visible_jobs(actor).values("id")
    seen = unended.filter(id__in=visible)
    newest = made.select_related("model").only("number", "model__name").order_by("-id")[:NAMED]
    live = Endpoint.objects.filter(version__in=made).exclude(state=EndpointState.UNDEPLOYED)
    return Hanging(
        waiting=tuple(seen.order_by("-id").values_list("id", "name")[:NAMED]),
        waiting_hidden=unended.exclude(id__in=visible).count(),
        trainings=ended.filter(kind=TrainKind.name).count(),
        batches=ended.filter(kind=batch.KIND).count(),
        models=tuple((one.id, str(one)) for one in newest),
        versions=made.count(),
        endpoints=tuple(live.order_by("name").values_list("name", flat=True)[:NAMED]),
    )


def version_name(actor: Actor, dataset_id: UUID, version_id: UUID) -> str:
    """Return the display name of a version, such as `diabetes v1`, which a person types to remove it. Raises NotFound."""
    rows = DatasetVersion.objects.filter(id=version_id, dataset_id=dataset_id, dataset__in=visible_datasets(actor))
    version = rows.select_related("dataset").only("number", "dataset__name").first()
    if version is None:
        raise NotFound
    return str(version)


@operation(DATASET_VERSION_REMOVED)
def remove_version(*, actor: Actor, dataset_id: UUID, version_id: UUID) -> DatasetVersion:
    """Remove a version's file, table and profile permanently; name, hash and counts stay. Idempotent.

    Raises NotFound, NotRead, DatasetInUse.
    """
    actor.require_somewhere("datasets.create")
    # The dataset before its versions, in the order that uploads lock them: uploads read files that are removed here.
    dataset = visible_datasets(actor).select_for_update(of=("self",), no_key=True).filter(id=dataset_id).first()
    rows = DatasetVersion.objects.filter(dataset=dataset).select_related("dataset")
    version = rows.select_for_update(of=("self",), no_key=True).filter(id=version_id).first()
    if version is None:
        raise NotFound
    actor.require("datasets.create", dataset)
    shares.check_managed(actor, "dataset", dataset_id)
    if version.state == IngestState.REMOVED:
        unchanged("it was removed before")
        return version
    if version.state != IngestState.READY:
        raise NotRead
    _refuse_if_used(hangs_on(actor, version_id), "this version")
    keys = {"source": version.source_key, "data": version.data_key}
    changes = {
        "state": [version.state, str(IngestState.REMOVED)],
        "sha256": [version.sha256, version.sha256],
        "rows": [version.rows, version.rows],
    }
    record(DATASET_VERSION_REMOVED, actor=actor, target=("datasetversion", version.id, str(version)), changes=changes)
    version.state, version.code, version.message = IngestState.REMOVED, "", ""
    version.source_key = version.data_key = ""
    version.profile, version.warnings, version.reading = {}, [], {}
    version.removed_at, version.removed_by_label = now(), actor.label
    version.save()
    storage_quota.release([version.id])
    publish(DatasetVersionRemoved(tenant_id=actor.tenant_id, version_id=version.id, keys=keys))
    return version


@operation(DATASET_REMOVED)
def remove_dataset(*, actor: Actor, dataset_id: UUID) -> None:
    """Remove all versions of a dataset: files, tables and profiles permanently, and failed uploads entirely.

    Idempotent.

    The dataset's name stays for the versions that were read; an upload under it restores the dataset. All or nothing:
    raises NotFound, DatasetIngesting, DatasetInUse.
    """
    actor.require_somewhere("datasets.create")
    dataset = visible_datasets(actor).select_for_update(of=("self",), no_key=True).filter(id=dataset_id).first()
    if dataset is None:
        raise NotFound
    actor.require("datasets.create", dataset)
    shares.check_managed(actor, "dataset", dataset_id)
    rows = DatasetVersion.objects.filter(dataset=dataset).only("id", "number", "state", "source_key")
    # Locked before the audit chain: launching work on a dataset locks it first and then writes to the chain.
    versions = list(rows.order_by("number").select_for_update(no_key=True))
    if any(one.state == IngestState.INGESTING for one in versions):
        raise DatasetIngesting
    _refuse_if_used(hangs_on_dataset(actor, dataset_id), "this dataset")
    going = [one for one in versions if one.state in (IngestState.READY, IngestState.FAILED)]
    if not going:
        unchanged("it was removed before")
        return
    numbers = ", ".join(f"v{one.number}" for one in going)
    record(DATASET_REMOVED, actor=actor, target=dataset, changes={"versions": [numbers, None]})
    for one in going:
        if one.state == IngestState.READY:
            remove_version(actor=actor, dataset_id=dataset_id, version_id=one.id)
    operations.discard(actor, dataset, [one for one in going if one.state == IngestState.FAILED])


def _refuse_if_used(hanging: Hanging, what: str) -> None:
    if hanging.stops:
        named = ", ".join(name for _, name in hanging.waiting)
        words = " and ".join([*([named] if named else []), *([hanging.hidden_words] if hanging.waiting_hidden else [])])
        raise DatasetInUse(
            f"Unfinished work uses {what}: {words}. Wait until it ends, or cancel it.",
            jobs=[str(job_id) for job_id, _ in hanging.waiting],
        )


def _jobs(version_ids: Sequence[UUID]) -> QuerySet[Job]:
    named = [str(version_id) for version_id in version_ids]
    return Job.objects.filter(kind__in=(TrainKind.name, batch.KIND), spec__dataset_version__in=named)
