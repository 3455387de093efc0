"""Versions in production and endpoints, created by the real operation."""

from __future__ import annotations

from typing import Any

from models_app.endpoints import deployments
from models_app.models import Endpoint, ModelVersion
from tenants.models import Tenant
from tests.support import factories, model_versions


def make_version(tenant: Tenant, name: str = "", **fields: Any) -> ModelVersion:
    """Return the first version of a new model, in production unless given."""
    return model_versions.make_version(factories.actor_for(tenant), name, **fields)


def make_endpoint(tenant: Tenant, *, name: str = "churn", version: ModelVersion | None = None) -> Endpoint:
    """Return a deployed endpoint, by the real operation."""
    version = version or make_version(tenant)
    return deployments.deploy(actor=factories.actor_for(tenant), name=name, version_id=version.id)
