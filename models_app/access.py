"""Who sees a restricted dataset: its maker, who may see all of them, and whom it is shared with."""

from __future__ import annotations

from django.db.models import Q

from models_app.models import Dataset, DatasetUserPermission, ModelVersion
from tenants.actor import Actor
from tenants.scoping import TenantQuerySet

VIEW_DATASET = "view_dataset"


def visible_datasets(actor: Actor) -> TenantQuerySet[Dataset]:
    """Return the datasets of the open scope that the actor may see."""
    rows = Dataset.objects.get_queryset()
    if actor.kind == "system" or actor.can("datasets.view_restricted"):
        return rows
    shared = DatasetUserPermission.objects.filter(user_id=actor.id, permission__codename=VIEW_DATASET).values(
        "content_object_id"
    )
    return rows.filter(Q(restricted=False) | Q(created_by=actor.id, created_by__isnull=False) | Q(id__in=shared))


def visible_versions(actor: Actor) -> TenantQuerySet[ModelVersion]:
    """Return the model versions of the open scope made from datasets that the actor may see."""
    rows = ModelVersion.objects.get_queryset()
    return rows.filter(dataset_version__dataset__in=visible_datasets(actor)).select_related("model")
