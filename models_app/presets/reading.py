"""Reads of presets, for pages and the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.money import Money
from billing.queries.calendar import tenant_today
from models_app.access import sees_everything
from models_app.models import Preset
from tenants.access.actor import Actor
from tenants.access.reader import may_see_money
from tenants.audit import withheld
from tenants.errors import NotFound
from tenants.isolation.scoping import TenantQuerySet
from tenants.projects.sight import in_sight


@dataclass(frozen=True, kw_only=True)
class PresetRow:
    """One preset. `launch`: the body of a launch; its `max_cost` is missing for who sees no amounts."""

    id: UUID
    name: str
    project_id: UUID
    project: str
    launch: dict[str, Any]
    max_cost: Money | None
    created_by_label: str
    created_at: datetime
    changed_at: datetime

    @property
    def kind(self) -> str:
        """Return the kind of the job."""
        return str(self.launch.get("kind", "train"))


def visible_presets(actor: Actor) -> TenantQuerySet[Preset]:
    """Return the presets of the projects that the actor sees into; without amounts where it sees none."""
    rows = Preset.objects.get_queryset().filter(in_sight(actor, "jobs.view")).select_related("project")
    return rows if may_see_money(actor) else rows.defer("max_cost")


def preset_list(actor: Actor, *, before: UUID | None = None, limit: int) -> list[PresetRow]:
    """Return up to `limit` + 1 presets, newest first."""
    rows = visible_presets(actor).order_by("-id")
    rows = rows.filter(id__lt=before) if before else rows
    currency = tenant_today().currency
    return [_row(row, currency) for row in rows[: limit + 1]]


def preset(actor: Actor, preset_id: UUID) -> PresetRow:
    """Return one preset. Raises NotFound."""
    return _row(found(actor, preset_id), tenant_today().currency)


def found(actor: Actor, preset_id: UUID) -> Preset:
    """Return the row of one preset. Raises NotFound."""
    row = visible_presets(actor).filter(id=preset_id).first()
    if row is None:
        raise NotFound
    return row


def register_audited() -> None:
    """Register with the audit log which presets an actor may see entries about."""

    def seen(actor: Actor, ids: set[UUID]) -> Any:
        return None if sees_everything(actor) else visible_presets(actor).filter(id__in=ids)

    withheld.register("preset", seen)


def _row(row: Preset, currency: str) -> PresetRow:
    max_cost = (
        None if "max_cost" in row.get_deferred_fields() or row.max_cost is None else Money(row.max_cost, currency)
    )
    return PresetRow(
        id=row.id, name=row.name, project_id=row.project_id, project=row.project.name, launch=row.body, max_cost=max_cost,
        created_by_label=row.created_by_label, created_at=row.created_at, changed_at=row.changed_at,
    )  # fmt: skip
