"""Specs of training jobs: recipe, dataset version, target, parameters; and their run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connection

from compute.kinds import Plan, key_of
from compute.limits import MOST_DEVICES
from models_app.access import visible_datasets
from models_app.models import DatasetVersion, IngestState
from models_app.recipes import base, columns
from models_app.recipes.tabular.spec import steps_of
from models_app.tables.columns import kinds
from models_app.tables.left_out import left_out
from tenants.access.actor import Actor
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id

KNOWN = frozenset(
    {"recipe", "dataset", "dataset_version", "target", "params", "model", "columns", "leave_out", "size", "left_out"}
)
KEEP = "SELECT 1 FROM models_app_datasetversion WHERE tenant_id = %s AND id = %s AND state = %s FOR SHARE"
TYPICAL_PATIENCES = 4
"""Training usually ends after about this many times the patience, or when the epochs are used up."""


def validate(actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec with defaults filled in. Raises Invalid with every wrong field.

    Excluded columns: `params.exclude_columns`, or `leave_out`, or all that `columns` does not name; if none is given,
    the suggestion of `datasets.left_out`. `left_out` holds the reasons for suggested ones.
    """
    faults: dict[str, list[str]] = {}
    unknown = sorted(set(spec) - KNOWN)
    if unknown:
        faults[unknown[0]] = [f"A training job has no field {unknown[0]!r}."]
    chosen = _recipe(spec.get("recipe"), faults)
    version = ready_version(actor, spec, faults)
    given = _given(spec, version, faults)
    params = _params(chosen, given, faults)
    model = spec.get("model") or ""
    if not isinstance(model, str) or len(model) > 120 or not model.isprintable():
        faults["model"] = ["Give the model a name of up to 120 characters, or leave it out."]
    target = str(spec.get("target") or (version.target if version else ""))
    advised = left_out(version.profile, target, version.choices) if version is not None else {}
    if isinstance(given, dict) and "exclude_columns" not in given and params:
        params["exclude_columns"] = list(advised)
    if version is not None and chosen is not None:
        _target(version, target, chosen, params, faults)
    if faults or chosen is None or version is None:
        raise Invalid(fields=faults)
    return {
        "recipe": chosen.id,
        "dataset": str(version.dataset_id),
        "dataset_version": str(version.id),
        "target": target,
        "params": params,
        "model": str(model).strip(),
        "size": {
            "rows": version.rows,
            "inputs": max(1, len(version.columns) - 1 - len(params["exclude_columns"])),
        },
        "left_out": {name: advised[name] for name in params["exclude_columns"] if name in advised},
    }


def plan(spec: dict[str, Any]) -> Plan:
    """Return the planned run time of a normalised spec on one CPU thread, by the recipe's formula.

    A start, plus epochs x (batches x overhead of a step + rows x multiply-adds of the network, tripled for the backward
    pass). The constants of the recipe were measured; actual run times are learnt on top
    (`compute/estimates/past_runs.py`).
    """
    params: dict[str, Any] = spec["params"]
    size: dict[str, int] = spec["size"]
    cost = base.recipe(spec["recipe"]).cost
    rows = max(1, round(size["rows"] * (1 - params["test_share"] - params["validation_share"])))
    _, batches = steps_of(rows, params["batch_size"])
    epochs = min(params["epochs"], TYPICAL_PATIENCES * params["patience"])
    width = params["width"]
    weights = size["inputs"] * width + (params["layers"] - 1) * width * width + width
    madds = 3 * rows * weights / 1e6
    work: float = epochs * (batches * cost.step_s + madds * cost.madd_s)
    same = {name: value for name, value in params.items() if name != "seed"}
    return Plan(
        typical_s=cost.start_s + work,
        start_s=cost.start_s,
        family=f"train:{spec['recipe']}",
        most_devices=MOST_DEVICES,
        work_key=key_of({"data": spec["dataset_version"], "target": spec["target"], "params": same}),
    )


def tasks_for(column: dict[str, Any]) -> list[str]:
    """Return the tasks that a column can be the target of."""
    kind, distinct = column["kind"], column["distinct"]
    found = []
    classes = kind in (kinds.CATEGORICAL, kinds.BOOLEAN) or (
        kind == kinds.NUMERIC and (column["integer"] or column.get("whole"))
    )
    if classes and 2 <= distinct <= kinds.MAX_CLASSES:
        found.append("classification")
    if kind == kinds.NUMERIC and distinct >= 2:
        found.append("regression")
    return found


def why_not(kind: str, distinct: int, task: str) -> str:
    """Return why a column of this kind cannot be the target of a task missing from `tasks_for`."""
    if distinct < 2:
        return "has one value only: there is nothing to predict" if distinct else "holds no value"
    if kind in (kinds.TEXT, kinds.DATETIME):
        return f"holds {columns.WORDS[kind]}, which no recipe predicts"
    if task == "regression":
        return f"holds {columns.WORDS[kind]}, no numbers"
    if distinct > kinds.MAX_CLASSES:
        return f"has {distinct:,} different values: a classifier supports at most {kinds.MAX_CLASSES} classes"
    return "holds numbers that are not whole: a regressor predicts those"


def ready_version(actor: Actor, spec: dict[str, Any], faults: dict[str, list[str]]) -> DatasetVersion | None:
    """Return the named version, or the newest ready one of the named dataset; otherwise None, with a fault.

    It cannot be removed until the transaction ends: a removal waits, and then sees the job.
    """
    try:
        wanted = UUID(str(spec["dataset_version"])) if spec.get("dataset_version") else None
        dataset = UUID(str(spec.get("dataset") or wanted))
    except ValueError:
        faults["dataset"] = ["Give the id of a dataset or of one of its versions."]
        return None
    rows = DatasetVersion.objects.filter(dataset__in=visible_datasets(actor)).defer("profile").order_by("-number")
    if wanted is None and not rows.filter(dataset_id=dataset).exists():
        wanted = dataset
    rows = rows.filter(id=wanted) if wanted else rows.filter(dataset_id=dataset)
    ready = rows.filter(state=IngestState.READY).first()
    if ready is None or not _keep(ready.id):
        ready = None
        last = rows.first()
        words = {
            None: "There is no such dataset.",
            IngestState.INGESTING: "The dataset is still being read. Try again in a moment.",
            IngestState.FAILED: f"The dataset could not be read: {last.message if last else ''}",
            IngestState.REMOVED: "The data of this version was removed. Choose another version, or upload it again.",
        }
        faults["dataset"] = [words[IngestState(last.state) if last else None]]
    return ready


def _keep(version_id: UUID) -> bool:
    """Take a shared lock on a version; False if it was removed meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [current_tenant_id(), version_id, str(IngestState.READY)])
        return cursor.fetchone() is not None


def _recipe(value: Any, faults: dict[str, list[str]]) -> base.Recipe | None:
    try:
        return base.recipe(str(value))
    except base.UnknownRecipe:
        faults["recipe"] = [f"Choose one of: {', '.join(recipe.id for recipe in base.recipes())}."]
        return None


def _params(chosen: base.Recipe | None, value: Any, faults: dict[str, list[str]]) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        faults["params"] = ["Send an object of parameter names and values."]
    elif chosen is not None:
        try:
            return chosen.parse(value or {})
        except base.InvalidParameters as error:
            faults.update({f"params.{name}": messages for name, messages in error.fields.items()})
    return {}


def _target(
    version: DatasetVersion, target: str, chosen: base.Recipe, params: dict[str, Any], faults: dict[str, list[str]]
) -> None:
    known = {column["name"]: column for column in version.columns}
    fitting = [name for name, column in known.items() if chosen.task in tasks_for(column)]
    hint = f" Columns that fit: {', '.join(fitting[:8])}." if fitting else " No column of this dataset fits."
    if not target:
        faults["target"] = ["Choose the column to predict." + hint]
    elif target not in known:
        faults["target"] = [f"The dataset has no column {target!r}." + hint]
    elif target not in fitting:
        why = why_not(known[target]["kind"], known[target]["distinct"], chosen.task)
        faults["target"] = [f"Column {target!r} {why}." + hint]
    missing = [name for name in params.get("exclude_columns", []) if name not in known]
    if missing:
        faults["params.exclude_columns"] = [f"The dataset has no column {missing[0]!r}."]
    usable = [
        name for name, column in known.items() if name != target and column["kind"] not in (kinds.TEXT, kinds.EMPTY)
    ]
    if not set(usable) - set(params.get("exclude_columns", [])):
        faults.setdefault("dataset", ["No input column is left. Choose another dataset, or leave out fewer columns."])
    rows = version.rows - rows_without(version.profile, target)
    if rows < kinds.MIN_TRAINING_ROWS:
        have = f"{rows} rows" if rows == version.rows else f"{rows} rows with a value of {target!r}"
        faults.setdefault("dataset", [f"The dataset has {have}; training needs at least {kinds.MIN_TRAINING_ROWS}."])


def rows_without(profile: Mapping[str, Any], target: str) -> int:
    """Return the number of rows without a value in this column; training skips them if it is the target."""
    return sum(one.get("missing", 0) for one in profile.get("columns", []) if one["name"] == target)


def _given(spec: Mapping[str, Any], version: DatasetVersion | None, faults: dict[str, list[str]]) -> Any:
    """Return the given parameters, including columns to exclude that the spec names elsewhere."""
    params = spec.get("params")
    given = [name for name in ("leave_out", "columns") if spec.get(name) is not None]
    if params is not None and not isinstance(params, dict):
        return params
    if not given:
        return params or {}
    names, already = spec[given[0]], "exclude_columns" in (params or {})
    if already or len(given) > 1:
        faults[given[-1]] = [
            "List the columns in one place: in `columns`, in `leave_out`, or in `params.exclude_columns`."
        ]
    elif not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        faults[given[0]] = ["Send a list of column names."]
    elif version is not None:
        known = [column["name"] for column in version.columns]
        unknown = [name for name in names if name not in known]
        if unknown:
            faults[given[0]] = [f"The dataset has no column {unknown[0][:80]!r}."]
        target = spec.get("target") or version.target
        rest = [name for name in known if name not in names and name != target]
        return {**(params or {}), "exclude_columns": rest if given[0] == "columns" else list(dict.fromkeys(names))}
    return params or {}
