"""What people share of datasets, models and endpoints."""

from models_app import access
from models_app.models import (
    DatasetGroupPermission,
    DatasetUserPermission,
    EndpointGroupPermission,
    EndpointUserPermission,
    ModelGroupPermission,
    ModelUserPermission,
)
from tenants.audit import AuditAction
from tenants.sharing import shares

DATASET_SHARED = AuditAction("models_app.dataset.shared")
DATASET_UNSHARED = AuditAction("models_app.dataset.unshared", while_closing=True)
MODEL_SHARED = AuditAction("models_app.model.shared")
MODEL_UNSHARED = AuditAction("models_app.model.unshared", while_closing=True)
ENDPOINT_SHARED = AuditAction("models_app.endpoint.shared")
ENDPOINT_UNSHARED = AuditAction("models_app.endpoint.unshared", while_closing=True)


def register() -> None:
    """Register what can be shared."""
    shares.register(
        shares.Kind(
            name="dataset",
            people=DatasetUserPermission,
            groups=DatasetGroupPermission,
            permission="datasets.share",
            visible=access.visible_datasets,
            managed=access.own_datasets,
            shared=DATASET_SHARED,
            unshared=DATASET_UNSHARED,
            page="dataset",
        )
    )
    shares.register(
        shares.Kind(
            name="model",
            people=ModelUserPermission,
            groups=ModelGroupPermission,
            permission="models.manage",
            visible=access.visible_models,
            managed=access.managed_models,
            shared=MODEL_SHARED,
            unshared=MODEL_UNSHARED,
            page="model",
        )
    )
    shares.register(
        shares.Kind(
            name="endpoint",
            people=EndpointUserPermission,
            groups=EndpointGroupPermission,
            permission="endpoints.manage",
            visible=access.visible_endpoints,
            managed=access.own_endpoints,
            shared=ENDPOINT_SHARED,
            unshared=ENDPOINT_UNSHARED,
            page="endpoint",
        )
    )
