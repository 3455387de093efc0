"""Specs of batch predictions: a model version and a dataset version with its columns; and their run time."""

from __future__ import annotations

from math import prod
from typing import Any
from uuid import UUID

from compute.kinds import Plan, key_of
from models_app.access import visible_versions
from models_app.models import DatasetVersion, ModelVersion, Stage
from models_app.recipes import base, columns
from models_app.recipes.tabular.shapes import tensor_shapes
from models_app.training.specs import ready_version
from tenants.access.actor import Actor
from tenants.errors import Invalid

WRITTEN = 4
"""Writing a value, in both files, takes as long as reading this many; each row also writes its number and its label."""

FORWARD = 0.125
"""A multiply-add in large batches, without a backward pass, takes this share of one in training."""

KNOWN = frozenset({"model_version", "dataset", "dataset_version", "size"})


def validate(actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec with defaults filled in. Raises Invalid with every wrong field."""
    faults: dict[str, list[str]] = {}
    unknown = sorted(set(spec) - KNOWN)
    if unknown:
        faults[unknown[0]] = [f"A batch prediction has no field {unknown[0]!r}."]
    model = _model(actor, spec.get("model_version"), faults)
    version = ready_version(actor, spec, faults)
    if model is not None and version is not None:
        found = {column["name"]: column["kind"] for column in version.columns}
        shares = {
            one["name"]: columns.shares(one.get("can_be", {}), one.get("values", 0))
            for one in version.reading.get("columns", [])
        }
        unfit = columns.fit(model.signature.get("inputs", []), found, shares).faults
        if unfit:
            faults["dataset"] = unfit
    if faults or model is None or version is None:
        raise Invalid(fields=faults)
    return {
        "model_version": str(model.id),
        "dataset": str(version.dataset_id),
        "dataset_version": str(version.id),
        "size": _size(model, version),
    }


def plan(spec: dict[str, Any], recipe: str) -> Plan:
    """Return the planned run time of a normalised spec on one CPU thread, by the recipe's formula.

    A start, plus the values read and written, plus the multiply-adds of the network, once per row. The constants were
    measured over 20,000 to 500,000 rows, 5 to 500 columns, 1 to 50 classes: within 40 % of the time.
    """
    size, cost = spec["size"], base.recipe(recipe).cost
    values = size["rows"] * (size["inputs"] + WRITTEN * (size["outputs"] + 2)) / 1e6
    madds = size["rows"] * size["weights"] / 1e6 * FORWARD
    work: float = values * cost.values_s + madds * cost.madd_s
    return Plan(
        typical_s=cost.start_s + work,
        start_s=cost.start_s,
        family=f"batch_predict:{recipe}",
        work_key=key_of({"model": spec["model_version"], "data": spec["dataset_version"]}),
    )


def _model(actor: Actor, value: Any, faults: dict[str, list[str]]) -> ModelVersion | None:
    """Return the named version, if the actor may see it and it is not archived."""
    if not value:
        faults["model_version"] = ["Give the id of a model version."]
        return None
    try:
        wanted = UUID(str(value))
    except ValueError:
        faults["model_version"] = ["Give the id of a model version."]
        return None
    found = visible_versions(actor).filter(id=wanted).first()
    if found is None:
        faults["model_version"] = ["There is no such model version."]
    elif found.stage == Stage.ARCHIVED:
        faults["model_version"] = [f"{found} is archived. Choose another version, or restore it."]
        return None
    return found


def _size(model: ModelVersion, version: DatasetVersion) -> dict[str, int]:
    """Return the factors of the run time; an unfamiliar signature counts as the smallest network."""
    signature = model.signature
    try:
        weights = sum(prod(shape) for shape in tensor_shapes(signature["network"]).values())
    except (KeyError, TypeError):
        weights = 1
    outputs = len(signature.get("classes", [])) or 1
    return {
        "rows": version.rows,
        "inputs": max(1, len(signature.get("inputs", []))),
        "outputs": outputs,
        "weights": weights,
    }
