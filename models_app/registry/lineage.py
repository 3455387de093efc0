"""Read models: versions with lineage, cost and location."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet

from billing.money import Money
from billing.queries.billed import CURRENCY, Billed, billed_sql
from compute.models import Job
from models_app.access import visible_versions
from models_app.models import ModelVersion, Stage
from models_app.recipes import base
from tenants.access.actor import Actor
from tenants.errors import NotFound
from tenants.isolation.pages import rows_of_page

LIST = """
SELECT v.id, v.model_id, model.name AS model, v.number, v.stage, v.recipe, v.metrics, v.job_id, data.dataset_id,
    dataset.name AS dataset, data.number AS dataset_version, v.created_at, v.requested_by_label AS requested_by, v.requested_at,
    v.approved_by_label AS approved_by, v.approved_at, v.artefact_sha256, v.artefact_size,
    coalesce(nullif(job.currency, ''), ({currency})) AS currency, charge.billable, charge.amounts
FROM page JOIN models_app_modelversion v ON v.id = page.id
JOIN models_app_model model ON model.id = v.model_id
JOIN models_app_datasetversion data ON data.id = v.dataset_version_id
JOIN models_app_dataset dataset ON dataset.id = data.dataset_id
LEFT JOIN compute_job job ON job.id = v.job_id
CROSS JOIN LATERAL ({charge}) charge ORDER BY page.n
"""


@dataclass(frozen=True, kw_only=True)
class ModelVersionRow:
    """One version in a list. `headline` is the main metric: accuracy, or R2 of a regressor.

    `requested_*`: who requested production; `waiting` is true until it is decided.
    """

    id: UUID
    model_id: UUID
    model: str
    number: int
    stage: str
    recipe: str
    recipe_title: str
    headline: tuple[str, float] | None
    metrics: dict[str, Any]
    job_id: UUID
    dataset_id: UUID
    dataset: str
    dataset_version: int
    created_at: datetime
    requested_by: str
    requested_at: datetime | None
    approved_by: str
    approved_at: datetime | None
    cost: Money
    billed_seconds: Decimal
    artefact_sha256: str
    artefact_size: int

    @property
    def waiting(self) -> bool:
        """Return whether production was requested and is not decided yet."""
        return self.requested_at is not None and self.approved_at is None


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One line of the list of models."""

    id: UUID
    name: str
    versions: int
    created_at: datetime
    latest: ModelVersionRow


@dataclass(frozen=True, kw_only=True)
class Lineage(ModelVersionRow):
    """Data -> code -> run -> cost of one version: everything needed to explain or repeat it."""

    dataset_version_id: UUID
    dataset_state: str
    dataset_sha256: str
    dataset_rows: int
    target: str
    recipe_version: str
    recipe_digest: str
    params: dict[str, Any]
    training: dict[str, Any]
    signature: dict[str, Any]
    attempt_id: UUID | None
    job_name: str
    project_id: UUID
    launched_by: str


def model_list(actor: Actor, *, name: str = "", before: UUID | None = None, limit: int = 50) -> list[ModelRow]:
    """Return up to `limit` + 1 models, newest first, older than `before`; the extra one shows that there are more.

    `name`: only those whose name contains this text. A model is left out if all its versions come from datasets hidden
    from the actor.
    """
    seen = _versions(actor)
    rows = seen.values("model_id", "model__name", "model__created_at").annotate(versions=Count("id"))
    if name:
        rows = rows.filter(model__name__icontains=name)
    if before is not None:
        rows = rows.filter(model_id__lt=before)
    found = list(rows.order_by("-model_id")[: limit + 1])
    newest = {
        row.model_id: row
        for row in _rows(
            seen.filter(model_id__in=[row["model_id"] for row in found])
            .order_by("model_id", "-number")
            .distinct("model_id")
        )
    }
    return [
        ModelRow(
            id=row["model_id"],
            name=row["model__name"],
            versions=row["versions"],
            created_at=row["model__created_at"],
            latest=newest[row["model_id"]],
        )
        for row in found
    ]


def version_list(actor: Actor, model_id: UUID, *, before: int | None = None, limit: int = 50) -> list[ModelVersionRow]:
    """Return up to `limit` + 1 versions of a model, newest first, below number `before`. Raises NotFound."""
    rows = _versions(actor).filter(model_id=model_id)
    if not rows.exists():
        raise NotFound
    if before is not None:
        rows = rows.filter(number__lt=before)
    return _rows(rows.order_by("-number")[: limit + 1])


def waiting_list(actor: Actor, limit: int = 20) -> list[ModelVersionRow]:
    """Return the versions waiting for approval for production, longest waiting first."""
    asked = _versions(actor).filter(requested_at__isnull=False, approved_at__isnull=True)
    return _rows(asked.order_by("requested_at")[:limit])


def usable(actor: Actor, limit: int = 200) -> list[tuple[UUID, str]]:
    """Return (id, label) of the versions that can predict, newest first: those not archived."""
    rows = _versions(actor).exclude(stage=Stage.ARCHIVED).order_by("-id")
    found = rows.values_list("id", "model__name", "number", "stage")[:limit]
    return [(version_id, f"{name} v{number}, {stage}") for version_id, name, number, stage in found]


def project_of(actor: Actor, version_id: UUID) -> UUID:
    """Return the project that a version was trained for. Raises NotFound."""
    found = _versions(actor).filter(id=version_id).values_list("project_id", flat=True).first()
    if found is None:
        raise NotFound
    return found


def version_name(actor: Actor, version_id: UUID | str) -> str:
    """Return the display name of a version, such as `risk v2`; empty if the actor may not see it."""
    rows = _versions(actor).filter(id=version_id)
    return next((f"{name} v{number}" for name, number in rows.values_list("model__name", "number")), "")


def deployable(actor: Actor, limit: int = 200) -> list[tuple[UUID, str]]:
    """Return (id, name) of the versions in production, newest first."""
    rows = _versions(actor).filter(stage=Stage.PRODUCTION).order_by("-id")
    found = rows.values_list("id", "model__name", "number")[:limit]
    return [(version_id, f"{name} v{number}") for version_id, name, number in found]


def lineage(actor: Actor, version_id: UUID) -> Lineage:
    """Return one version with its lineage. Raises NotFound."""
    own = _versions(actor).filter(id=version_id)
    shown, row = next(iter(_rows(own)), None), own.first()
    if shown is None or row is None:
        raise NotFound
    job = Job.objects.filter(id=row.job_id).only("name", "submitted_by_label").first()
    data = row.dataset_version
    return Lineage(
        **vars(shown),
        dataset_version_id=data.id,
        dataset_state=data.state,
        dataset_sha256=data.sha256,
        dataset_rows=data.rows,
        target=row.signature.get("target", {}).get("name", ""),
        recipe_version=row.recipe_version,
        recipe_digest=row.recipe_digest,
        params=row.params,
        training=row.training,
        signature=row.signature,
        attempt_id=row.attempt_id,
        job_name=job.name if job else "",
        project_id=row.project_id,
        launched_by=job.submitted_by_label if job else "",
    )


def _versions(actor: Actor) -> QuerySet[ModelVersion]:
    return visible_versions(actor).select_related("model", "dataset_version", "dataset_version__dataset")


def _rows(versions: QuerySet[ModelVersion]) -> list[ModelVersionRow]:
    titles = {recipe.id: recipe.title for recipe in base.recipes()}
    return [
        ModelVersionRow(
            id=row.id,
            model_id=row.model_id,
            model=row.model,
            number=row.number,
            stage=row.stage,
            recipe=row.recipe,
            recipe_title=titles.get(row.recipe, row.recipe),
            headline=_headline(metrics),
            metrics=metrics,
            job_id=row.job_id,
            dataset_id=row.dataset_id,
            dataset=row.dataset,
            dataset_version=row.dataset_version,
            created_at=row.created_at,
            requested_by=row.requested_by,
            requested_at=row.requested_at,
            approved_by=row.approved_by,
            approved_at=row.approved_at,
            cost=charge.worth(row.currency),
            billed_seconds=charge.seconds,
            artefact_sha256=row.artefact_sha256,
            artefact_size=row.artefact_size,
        )
        for row in rows_of_page(versions, LIST.format(charge=billed_sql("v.job_id"), currency=CURRENCY))
        for metrics, charge in [(json.loads(row.metrics), Billed.of(row.billable, row.amounts))]
    ]


def _headline(metrics: dict[str, Any]) -> tuple[str, float] | None:
    for name in ("accuracy", "r2"):
        if isinstance(metrics.get(name), float | int):
            return name, float(metrics[name])
    return None
