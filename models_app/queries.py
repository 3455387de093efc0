"""Queries of this app for others: frozen rows of datasets, recipes and models that the actor may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from models_app.access import visible_datasets
from models_app.endpoints.endpoints import endpoint_list
from models_app.measures.time_ranges import CHOICES as HEALTH_SPANS
from models_app.models import Dataset, DatasetVersion, IngestState
from models_app.monitoring.health import FeatureDrift, Health, Traffic
from models_app.monitoring.health import alarmed as endpoints_alarmed
from models_app.monitoring.health import health as endpoint_health
from models_app.monitoring.health import served as endpoints_served
from models_app.monitoring.health import traffic as endpoint_traffic
from models_app.monitoring.timeseries import OUTCOMES, Step
from models_app.recipes import base
from models_app.recipes.columns import WORDS as COLUMN_TYPES
from models_app.registry.lineage import (
    Lineage,
    ModelRow,
    ModelVersionRow,
    lineage,
    model_list,
    project_of,
    usable,
    version_list,
    version_name,
    waiting_list,
)
from models_app.training.specs import tasks_for
from tenants.access.actor import Actor
from tenants.errors import NotFound

__all__ = [
    "COLUMN_TYPES", "HEALTH_SPANS", "OUTCOMES", "ColumnRow", "DatasetDetail", "DatasetRow", "FeatureDrift", "Health", "Launchable", "Lineage",
    "ModelRow", "ModelVersionRow", "Step", "Traffic", "VersionRow", "data_name", "dataset_detail", "dataset_list",
    "endpoint_health", "endpoint_list", "endpoint_traffic", "endpoints_alarmed", "endpoints_served", "launchable", "lineage", "model_list", "profile", "project_of", "recipe_cards",
    "usable", "version_detail", "version_list", "version_name", "waiting_list",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ColumnRow:
    """One column of a ready version. `tasks`: the tasks it can be the target of."""

    name: str
    kind: str
    distinct: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """One version of a dataset. `state` is ingesting, ready, failed or removed; `code` and `message` say why it failed."""

    id: UUID
    number: int
    state: str
    code: str
    message: str
    filename: str
    sha256: str
    size: int
    target: str
    rows: int
    columns: tuple[ColumnRow, ...]
    warnings: tuple[str, ...]
    uploaded_by_label: str
    created_at: datetime
    ready_at: datetime | None
    removed_at: datetime | None
    removed_by_label: str


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One line of the list of datasets; figures are of the newest version not removed."""

    id: UUID
    name: str
    restricted: bool
    project_id: UUID | None
    project_name: str
    created_by_label: str
    created_at: datetime
    versions: int
    latest: VersionRow


@dataclass(frozen=True, kw_only=True)
class DatasetDetail(DatasetRow):
    """All about one dataset."""

    history: tuple[VersionRow, ...]


@dataclass(frozen=True, kw_only=True)
class Launchable:
    """A ready version that a training job can use. `label` reads `name v3, 569 rows`; `profile` is empty in a list."""

    version_id: UUID
    dataset_id: UUID
    label: str
    target: str
    tasks: tuple[str, ...]
    rows: int
    columns: tuple[ColumnRow, ...]
    choices: Mapping[str, Any]
    profile: Mapping[str, Any] = field(default_factory=dict)


def dataset_list(actor: Actor, *, name: str = "", before: UUID | None = None, limit: int = 50) -> list[DatasetRow]:
    """Return up to `limit` + 1 datasets, newest first, older than `before`; the extra one shows that there are more.

    `name`: only those whose name contains this text.
    """
    kept = DatasetVersion.objects.filter(dataset=OuterRef("id")).exclude(state=IngestState.REMOVED)
    rows = (
        visible_datasets(actor)
        .select_related("project")
        .annotate(
            newest=Subquery(kept.order_by("-number").values("id")[:1]),
            number=Count("versions", filter=~Q(versions__state=IngestState.REMOVED)),
        )
    )
    if name:
        rows = rows.filter(name__icontains=name)
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.filter(newest__isnull=False).order_by("-id")[: limit + 1])
    versions = {row.id: row for row in _versions().filter(id__in=[dataset.newest for dataset in found])}
    return [
        DatasetRow(**_dataset(dataset), versions=dataset.number, latest=_version(versions[dataset.newest]))
        for dataset in found
    ]


def dataset_detail(actor: Actor, dataset_id: UUID) -> DatasetDetail:
    """Return one dataset with all its versions, newest first, removed ones too. Raises NotFound."""
    dataset = visible_datasets(actor).select_related("project").filter(id=dataset_id).first()
    history = (
        [_version(row) for row in _versions().filter(dataset_id=dataset_id).order_by("-number")] if dataset else []
    )
    if dataset is None or not history:
        raise NotFound
    kept = [row for row in history if row.state != IngestState.REMOVED]
    return DatasetDetail(**_dataset(dataset), versions=len(kept), latest=(kept or history)[0], history=tuple(history))


def version_detail(actor: Actor, version_id: UUID) -> tuple[UUID, VersionRow]:
    """Return a version and the id of its dataset. Raises NotFound."""
    row = _versions().filter(id=version_id, dataset__in=visible_datasets(actor)).first()
    if row is None:
        raise NotFound
    return row.dataset_id, _version(row)


def data_name(actor: Actor, version_id: UUID | str) -> str:
    """Return the display name of a dataset version, such as `diabetes v1`; empty if the actor may not see it."""
    rows = DatasetVersion.objects.filter(id=version_id, dataset__in=visible_datasets(actor))
    return next((f"{name} v{number}" for name, number in rows.values_list("dataset__name", "number")), "")


def profile(actor: Actor, dataset_id: UUID, version_id: UUID | None = None) -> dict[str, Any]:
    """Return the profile of a version, by default the newest ready one; format: `models_app/tables/reader/profile.py`.

    Adds `version`: id and number. Raises NotFound, also while no version is ready.
    """
    rows = DatasetVersion.objects.filter(
        dataset_id=dataset_id, dataset__in=visible_datasets(actor), state=IngestState.READY
    )
    row = (rows.filter(id=version_id) if version_id else rows.order_by("-number")).first()
    if row is None:
        raise NotFound
    return {"version": {"id": str(row.id), "number": row.number}, **row.profile}


def launchable(actor: Actor, *, also: UUID | None = None, limit: int = 200) -> list[Launchable]:
    """Return ready versions for the launch form: the newest ready one of each dataset, newest dataset first.

    `also` is put first, if it is an older version or beyond the limit.
    """
    newest = (
        DatasetVersion.objects.filter(dataset=OuterRef("dataset"), state=IngestState.READY)
        .order_by("-number")
        .values("id")[:1]
    )
    ready = _versions().filter(dataset__in=visible_datasets(actor), state=IngestState.READY).select_related("dataset")
    rows = list(ready.filter(id=Subquery(newest)).order_by("-dataset_id")[:limit])
    if also is not None and all(row.id != also for row in rows):
        rows = [*ready.filter(id=also), *rows]
    found = []
    for row in rows:
        shown = _version(row)
        goal = next((column for column in shown.columns if column.name == row.target), None)
        label = f"{row.dataset.name} v{row.number}, {row.rows:,} row{'' if row.rows == 1 else 's'}"
        found.append(
            Launchable(
                version_id=row.id, dataset_id=row.dataset_id, label=label, target=row.target,
                tasks=goal.tasks if goal else (), rows=row.rows, columns=shown.columns,
                choices=row.choices,
            )
        )  # fmt: skip
    return found


def recipe_cards() -> Sequence[base.Recipe]:
    """Return the recipes with cards and parameter classes; `schema()` is the JSON Schema of the parameters."""
    return base.recipes()


def _versions() -> QuerySet[DatasetVersion]:
    return DatasetVersion.objects.defer("profile")


def _dataset(row: Dataset) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "restricted": row.restricted,
        "project_id": row.project_id,
        "project_name": row.project.name if row.project else "",
        "created_by_label": row.created_by_label,
        "created_at": row.created_at,
    }


def _version(row: DatasetVersion) -> VersionRow:
    columns = tuple(
        ColumnRow(name=c["name"], kind=c["kind"], distinct=c["distinct"], tasks=tuple(tasks_for(c)))
        for c in row.columns
    )
    return VersionRow(
        id=row.id, number=row.number, state=row.state, code=row.code, message=row.message, filename=row.filename,
        sha256=row.sha256, size=row.size, target=row.target, rows=row.rows, columns=columns, warnings=tuple(row.warnings),
        uploaded_by_label=row.uploaded_by_label, created_at=row.created_at, ready_at=row.ready_at, removed_at=row.removed_at,
        removed_by_label=row.removed_by_label,
    )  # fmt: skip
