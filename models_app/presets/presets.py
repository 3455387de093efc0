"""Operations of people on presets: save, change, remove, launch. Each is audited; a launch, as its job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from billing.rating.quantity import share_dims
from compute.jobs import jobs, request_body
from compute.models import Job
from models_app.models import Preset, Schedule
from models_app.presets.reading import found, visible_presets
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound
from tenants.identity import creators
from tenants.isolation import limits

PRESET_SAVED = AuditAction("models_app.preset.saved")
PRESET_CHANGED = AuditAction("models_app.preset.changed")
PRESET_REMOVED = AuditAction("models_app.preset.removed")
MOST_PRESETS = 500
#: What a launch may replace of its preset.
OVERRIDES = ("name", "device_class", "devices", "share", "tier", "max_seconds", "max_cost", "tags")


class PresetNameTaken(Conflict):
    """Another preset of this project has this name. Choose another one."""

    code = "preset_name_taken"


class PresetInUse(Conflict):
    """A schedule launches this preset. Remove the schedule first, or have it launch something else."""

    code = "preset_in_use"


@operation(PRESET_SAVED)
def create(*, actor: Actor, project_id: UUID, name: str, launch: Any) -> Preset:
    """Save a launch as a preset; all who see the project may see it. Launches nothing.

    `launch`: what `POST /api/v1/jobs/` takes. Raises Invalid (what is wrong with the launch has the prefix `launch.`),
    PresetNameTaken, PermissionDenied.
    """
    actor.require_somewhere("jobs.launch")
    creators.lock_creator(actor)
    named, body = _checked(actor, project_id, name, launch)
    actor.require("jobs.launch", InProject(project_id))
    if limits.is_full(Preset.objects.all(), MOST_PRESETS):
        raise Conflict(f"An organisation has at most {MOST_PRESETS} presets. Remove one that is no longer used.")
    row = Preset(
        project_id=project_id,
        name=named,
        body=body,
        max_cost=request_body.amount(body.pop("max_cost", None)),
        created_by=actor.owner_id,
        created_by_label=actor.label,
    )
    _save(row, force_insert=True)
    record(PRESET_SAVED, actor=actor, target=row, changes={"name": [None, named], "kind": [None, body["kind"]]})
    return row


@operation(PRESET_CHANGED)
def change(*, actor: Actor, preset_id: UUID, name: str | None = None, launch: Any = None) -> Preset:
    """Replace the name, the launch, or both. Raises as `create`, and NotFound."""
    row = _locked(actor, preset_id)
    wanted = {**row.body, "max_cost": _text(row)} if launch is None else launch
    named, body = _checked(actor, row.project_id, row.name if name is None else name, wanted)
    fields = {"name": named, "max_cost": request_body.amount(body.pop("max_cost", None)), "body": body}
    changed = {key: value for key, value in fields.items() if getattr(row, key) != value}
    if not changed:
        unchanged("all of it is so already")
        return row
    before = row.name
    for key, value in changed.items():
        setattr(row, key, value)
    row.changed_at = DatabaseNow()
    _save(row, update_fields=[*changed, "changed_at"])
    row.refresh_from_db()
    changes = {"name": [before, named]} if before != named else {"kind": [None, body["kind"]]}
    record(PRESET_CHANGED, actor=actor, target=row, changes=changes)
    return row


@operation(PRESET_REMOVED)
def remove(*, actor: Actor, preset_id: UUID) -> None:
    """Remove a preset; jobs launched from it stay. Raises NotFound, PresetInUse, PermissionDenied."""
    row = _locked(actor, preset_id)
    user = Schedule.objects.filter(preset=row).order_by("name").values_list("name", flat=True).first()
    if user is not None:
        raise PresetInUse(
            f"The schedule {user} launches this preset. Remove the schedule first, or have it launch something else."
        )
    record(PRESET_REMOVED, actor=actor, target=row, changes={"name": [row.name, None]})
    row.delete()


def launch(*, actor: Actor, preset_id: UUID, changes: Mapping[str, Any] | None = None) -> Job:
    """Launch a preset as the job of this actor; `changes` replaces some of OVERRIDES.

    Raises NotFound, Invalid where a part of it no longer holds, and whatever a launch raises.
    """
    actor.require_somewhere("jobs.launch")
    row = found(actor, preset_id)
    if wrong := set(changes or {}) - set(OVERRIDES):
        text = f"A launch of a preset replaces only: {', '.join(OVERRIDES)}."
        raise Invalid(fields={name: [text] for name in sorted(wrong)})
    return jobs.submit(actor=actor, asked=submission(row, changes or {}))


def submission(row: Preset, changes: Mapping[str, Any]) -> jobs.Submission:
    """Return what a launch of a preset asks for. Raises Invalid."""
    body = {**row.body, "max_cost": _text(row), "project": str(row.project_id)}
    return request_body.submission({"name": row.name, **body, **changes})


def resolved(actor: Actor, preset_id: UUID) -> jobs.JobRequest:
    """Return the preset as a launch would check it today. Raises NotFound, Invalid."""
    return jobs.check(actor=actor, asked=submission(found(actor, preset_id), {}))


def body_of(asked: jobs.Submission) -> dict[str, Any]:
    """Return the body of a launch that asks for the same."""
    limits = {
        "max_seconds": asked.max_seconds,
        "max_cost": None if asked.max_cost is None else f"{asked.max_cost:f}",
    }
    own = {name: getattr(asked, name) for name in ("name", "kind", "device_class", "devices", "one_node", "tier")}
    return {
        **asked.spec,
        **own,
        **share_dims(asked.share),
        "tags": dict(asked.tags),
        "node_labels": dict(asked.node_labels),
        **{key: value for key, value in limits.items() if value},
    }


def _checked(actor: Actor, project_id: UUID, name: str, launch: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the body without what a preset does not keep. Raises Invalid with all that is wrong."""
    named = name.strip()
    faults: dict[str, list[str]] = {}
    if not named or len(named) > 120 or not named.isprintable():
        faults["name"] = ["Enter a name of 1 to 120 printable characters."]
    if not isinstance(launch, dict):
        raise Invalid(fields={**faults, "launch": ["Give an object: the body of a launch."]})
    for key, why in (("project", "project"), ("quote", "price"), ("request_more", "request")):
        if launch.get(key) is not None:
            faults[f"launch.{key}"] = [f"A preset keeps no {why} of a launch. Leave this out."]
    body = {key: value for key, value in launch.items() if key not in ("project", "quote", "request_more")}
    try:
        body |= {"kind": body.get("kind", "train")}
        asked = request_body.submission({"name": named or "preset", **body, "project": str(project_id)})
        jobs.check(actor=actor, asked=asked)
    except Invalid as wrong:
        faults |= {key if key == "project" else f"launch.{key}": texts for key, texts in wrong.fields.items()}
    if faults:
        raise Invalid(fields=faults)
    return named, body


def _text(row: Preset) -> str | None:
    return None if row.max_cost is None else f"{row.max_cost:f}"


def _save(row: Preset, **how: Any) -> None:
    limits.save_unique(row, "models_app_preset_name", PresetNameTaken, **how)


def _locked(actor: Actor, preset_id: UUID) -> Preset:
    actor.require_somewhere("jobs.launch")
    row = visible_presets(actor).select_for_update(no_key=True, of=("self",)).filter(id=preset_id).first()
    if row is None:
        raise NotFound
    actor.require("jobs.launch", row)
    return row
