"""How the columns of a dataset version were read, and the operation that reads them with other choices.

A version is never re-read in place, because jobs and models refer to it. Other choices make the next version of the
same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from models_app import wakeups
from models_app.access import visible_datasets
from models_app.datasets import storage_quota
from models_app.models import Dataset, DatasetVersion, IngestState
from models_app.tables import writing as written
from models_app.tables.columns import contract
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound
from tenants.sharing import shares

COLUMNS_CHOSEN = AuditAction("models_app.dataset_version.columns_chosen")


class VersionNotRead(Conflict):
    """This version has not been read: its columns are not known. Wait until it is ready."""

    code = "version_not_read"


@dataclass(frozen=True, kw_only=True)
class ColumnReading:
    """How one column was read.

    `type`, `role`, `number`, `date` and `missing` are in force; `inferred` are those found in the file, `chosen` those
    a person chose instead. `spelling`: how false and true are written. `evidence` and `ambiguous` are sentences, or
    empty. `can_be`: how many of its `values` fit each type. `taken_as_missing`: how often each word, and the empty
    cell, counted as missing. `odd`: cells of another type than the column's, `{"value", "count", "rows"}`, rows counted
    from 1.
    """

    name: str
    type: str
    role: str
    number: str
    date: str
    missing: tuple[str, ...]
    spelling: tuple[str, str]
    inferred: Mapping[str, Any]
    chosen: Mapping[str, Any]
    evidence: str
    ambiguous: str
    values: int
    can_be: Mapping[str, int]
    taken_as_missing: Mapping[str, int]
    odd: tuple[Mapping[str, Any], ...]


def column_readings(actor: Actor, version_id: UUID) -> tuple[ColumnReading, ...]:
    """Return how each column of a ready version was read, in file order. Raises NotFound, VersionNotRead."""
    return tuple(_reading(version, one) for version, one in _columns(_version(actor, version_id)))


def file_reading(actor: Actor, version_id: UUID) -> Mapping[str, Any]:
    """Return how the file itself was read.

    The keys are `format`, and `encoding`, `delimiter`, `skipped` lines and `sheet` if it has them. `chosen` holds what
    a person chose.
    """
    version = _version(actor, version_id)
    found: dict[str, Any] = version.reading.get("file", {})
    return {**found, "chosen": version.writing}


@operation(COLUMNS_CHOSEN)
def choose_columns(
    *, actor: Actor, version_id: UUID, choices: Mapping[str, Any], writing: Mapping[str, Any] | None = None
) -> DatasetVersion:
    """Read the file of a version with other choices; return the new version, in state `ingesting`.

    `choices`: column -> any of `type`, `role`, `missing`, `number`, `date` (`tables/columns/contract.py`); `writing`:
    `encoding` and `delimiter` of a text file (`tables/writing.py`); null withdraws a choice. Earlier choices stay. The
    role `target` makes a column the target. The same choices return the version that they made before. Raises NotFound,
    VersionNotRead, QuotaExceeded (409), and Invalid by column.
    """
    actor.require_somewhere("datasets.create")
    dataset_id = _version(actor, version_id).dataset_id
    dataset = Dataset.objects.select_for_update(no_key=True).filter(id=dataset_id).first()
    actor.require("datasets.create", dataset)
    before = _version(actor, version_id)  # read again under the lock: the file may have been removed while we waited
    shares.check_managed(actor, "dataset", dataset_id)
    known = {one["name"]: one for _, one in _columns(before)}
    wrong = {
        name: contract.faults(choice, known[name].get("can_be")) for name, choice in choices.items() if name in known
    }
    wrong |= {name: [f"The dataset has no column {name[:80]!r}."] for name in choices if name not in known}
    faults = {f"columns.{name}": said for name, said in wrong.items() if said} | _about_file(before, writing or {})
    if faults or not (choices or writing):
        raise Invalid(fields=faults or {"columns": ["Choose something."]})
    sheet = _plain({**before.writing, **(writing or {})})
    wanted = {name: _plain({**before.choices.get(name, {}), **choices.get(name, {})}) for name in known}
    wanted = {name: choice for name, choice in wanted.items() if choice}
    target = _target(before, wanted)
    digest = contract.digest(wanted, sheet)
    same = DatasetVersion.objects.filter(
        dataset=dataset, sha256=before.sha256, target=target, choices_sha256=digest
    ).first()
    if same is not None and same.state not in (IngestState.FAILED, IngestState.REMOVED):
        unchanged("the file was read with these choices before")
        return same
    if same is None:
        last = DatasetVersion.objects.filter(dataset=dataset).aggregate(last=Max("number"))["last"] or 0
        same = DatasetVersion(dataset=dataset, number=last + 1, sha256=before.sha256, target=target)
    same.filename, same.size = before.filename, before.size
    same.source_key, same.source_encrypted = before.source_key, before.source_encrypted
    same.choices, same.writing, same.choices_sha256 = wanted, sheet, digest
    same.state, same.code, same.message, same.claimed_at, same.tries = IngestState.INGESTING, "", "", None, 0
    same.uploaded_by, same.uploaded_by_label = actor.id, actor.label
    same.removed_at, same.removed_by_label = None, ""
    same.save()
    storage_quota.reserve(actor, same)
    changes: dict[str, Any] = {"version": [before.number, same.number]}
    changes |= {
        f"columns.{name}"[:200]: [before.choices.get(name, {}), wanted.get(name, {})]
        for name in choices
        if before.choices.get(name, {}) != wanted.get(name, {})
    }
    changes |= {
        f"file.{name}": [before.writing.get(name), sheet.get(name)]
        for name in written.KEYS
        if before.writing.get(name) != sheet.get(name)
    }
    record(COLUMNS_CHOSEN, actor=actor, target=dataset, changes=changes)
    version_id = same.id
    transaction.on_commit(lambda: wakeups.wake_ingest(version_id, actor.tenant_id))
    return same


def _version(actor: Actor, version_id: UUID) -> DatasetVersion:
    rows = DatasetVersion.objects.filter(dataset__in=visible_datasets(actor)).defer("profile")
    row = rows.filter(id=version_id).first()
    if row is None:
        raise NotFound
    if row.state != IngestState.READY:
        raise VersionNotRead
    return row


def _columns(version: DatasetVersion) -> list[tuple[DatasetVersion, dict[str, Any]]]:
    """Return the stored reading of each column; only its kind for a version from before readings were stored."""
    kept = version.reading.get("columns") or [
        {"name": one["name"], "inferred": {"type": one["kind"]}} for one in version.columns
    ]
    return [(version, one) for one in kept]


def _reading(version: DatasetVersion, one: Mapping[str, Any]) -> ColumnReading:
    chosen = version.choices.get(one["name"], {})
    holds = contract.Contract.from_json(one["inferred"]).chosen(chosen)
    return ColumnReading(
        name=one["name"],
        type=holds.type,
        role="target" if one["name"] == version.target else holds.role,
        number=holds.number,
        date=holds.date,
        missing=holds.missing,
        spelling=holds.spelling,
        inferred=one["inferred"],
        chosen=chosen,
        evidence=one.get("evidence", ""),
        ambiguous="" if chosen else one.get("ambiguous", ""),
        values=one.get("values", 0),
        can_be=one.get("can_be", {}),
        taken_as_missing=one.get("missing", {}),
        odd=tuple(one.get("odd", ())),
    )


def _about_file(version: DatasetVersion, choice: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the faults of the choices for the file."""
    faults = {f"file.{name}".rstrip("."): said for name, said in written.faults(choice).items()}
    form = version.reading.get("file", {}).get("format", "csv")
    if choice and not faults and form != "csv":
        faults["file"] = [f"A file of the format {form} has no encoding or delimiter to choose."]
    return faults


def _plain(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choice.items() if value is not None}


def _target(before: DatasetVersion, wanted: dict[str, dict[str, Any]]) -> str:
    """Return the column with the role `target`. The role is not stored as a choice: the version has the target's name."""
    named = [name for name, choice in wanted.items() if choice.get("role") == "target"]
    if len(named) > 1:
        raise Invalid(fields={f"columns.{named[1]}": ["A dataset has one target."]})
    for name in named:
        del wanted[name]["role"]
        if not wanted[name]:
            del wanted[name]
    return named[0] if named else before.target
