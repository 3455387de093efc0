"""The holds that reported events name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from billing.models import Hold
from billing.rating.tags import as_dims, tags_in
from billing.reported.cloudevents import MOST_DIMENSIONS, EventRefused, Incoming
from tenants.access.actor import Actor
from tenants.parsing import uuid_in
from tenants.projects.sight import in_sight


@dataclass(frozen=True, slots=True)
class Payer:
    """A hold for outside work that the sender sees, open or not."""

    id: UUID
    project_id: UUID
    tags: Mapping[str, str]

    def dims_of(self, event: Incoming) -> dict[str, str]:
        """Return an event's dimensions with the hold's tags, whose budgets pay. Raises EventRefused for other tags."""
        if not tags_in(event.dims).items() <= self.tags.items():
            raise EventRefused("data: its tags are not those of its hold; leave them out")
        dims = {**event.dims, **as_dims(self.tags)}
        if len(dims) > MOST_DIMENSIONS:
            raise EventRefused(f"data: has more than {MOST_DIMENSIONS} dimensions with the tags of its hold")
        return dims


def payers(actor: Actor, named: Collection[str]) -> dict[str, Payer]:
    """Return the holds with these ids, by id, whose projects the sender sees."""
    ids = {hold_id for text in named if (hold_id := uuid_in(text))}
    if not ids:
        return {}
    rows = Hold.objects.filter(in_sight(actor, "usage.ingest"), pk__in=ids, expires_at__isnull=False)
    return {str(row.pk): Payer(row.pk, row.project_id, row.tags) for row in rows}
