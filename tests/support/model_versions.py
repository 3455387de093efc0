"""Model versions and endpoints as rows, without training, for tests of later steps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from models_app.measures.baseline import baseline
from models_app.models import Dataset, DatasetVersion, Endpoint, Model, ModelVersion
from tenants.access.actor import Actor
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project

_count = itertools.count(1)


def plain_baseline(rows: int = 1000) -> dict[str, Any]:
    """Return the baseline of a classifier with a number, a category, a date and a boolean."""
    chance = np.random.default_rng(1)
    return baseline(
        {
            "age": ("numeric", chance.normal(40, 10, rows).round(1)),
            "plan": ("categorical", {"basic": rows * 6 // 10, "pro": rows * 3 // 10, "team": rows // 10}),
            "joined": ("datetime", chance.uniform(1.6e9, 1.7e9, rows).round()),
            "active": ("boolean", (chance.random(rows) < 0.8).astype(float)),
        },
        rows,
        classes=["stays", "leaves"],
        predicted=(chance.random(rows) < 0.3).astype(int),
    )


def plain_signature() -> dict[str, Any]:
    """Return the signature that goes with `plain_baseline`."""
    kinds = {"age": "numeric", "plan": "categorical", "joined": "datetime", "active": "boolean"}
    common = {"mean": 0.0, "scale": 1.0, "indicator": False}
    inputs = [
        {"name": name, "kind": kind, **common, "categories": ["basic", "pro", "team"] if name == "plan" else []}
        for name, kind in kinds.items()
    ]
    target = {"name": "churn", "kind": "categorical", "mean": 0.0, "scale": 1.0}
    return {"format": 1, "recipe": "tabular.classifier", "recipe_version": "1", "task": "classification",
            "inputs": inputs, "target": target, "classes": ["stays", "leaves"], "network": {}}  # fmt: skip


def make_version(actor: Actor, name: str = "", *, restricted: bool = False, **fields: Any) -> ModelVersion:
    """Return a version in production of a new model, from a new dataset of the actor's tenant unless one is given."""
    name = name or f"model-{next(_count)}"
    with tenant_scope(actor.tenant_id):
        data = fields.pop("dataset_version", None) or _data(name, restricted=restricted)
        given: dict[str, Any] = {
            "recipe": "tabular.classifier", "recipe_version": "1", "recipe_digest": "0" * 64, "params": {},
            "metrics": {"accuracy": 0.9}, "signature": plain_signature(), "baseline": plain_baseline(),
            "artefact_key": "a", "artefact_sha256": "0" * 64, "artefact_size": 1, "signature_key": "s",
            "signature_sha256": "0" * 64, "signature_size": 1, "stage": "production",
            "project_id": Project.objects.get(slug="default").id,
        }  # fmt: skip
        return ModelVersion.objects.create(
            model=Model.objects.create(name=name), number=1, job_id=uuid7(), dataset_version=data,
            **(given | fields),
        )  # fmt: skip


def _data(name: str, *, restricted: bool) -> DatasetVersion:
    dataset = Dataset.objects.create(name=name, restricted=restricted, created_by_label="olga@example.org")
    return DatasetVersion.objects.create(
        dataset=dataset, number=1, filename="data.csv", sha256="0" * 64, size=1, target="churn", state="ready",
        source_key="s", data_key="d", data_sha256="0" * 64, data_size=1, rows=1000, uploaded_by_label="olga@example.org",
    )  # fmt: skip


def make_endpoint(version: ModelVersion, name: str = "", **fields: Any) -> Endpoint:
    """Return an endpoint that serves a version, as if a node had reported it ready."""
    with tenant_scope(version.tenant_id):
        return Endpoint.objects.create(
            name=name or f"endpoint-{next(_count)}", project_id=version.project_id, version=version,
            created_by_label="olga@example.org", **({"state": "ready"} | fields),
        )  # fmt: skip
