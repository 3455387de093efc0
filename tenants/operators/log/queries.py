"""Queries of the operator log."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenants.audit.words import act_words
from tenants.models import OperatorAct


@dataclass(frozen=True)
class ActRow:
    """One entry of the operator log. `target_label` may be empty, `target_id` then stands for the object."""

    id: UUID
    at: datetime
    operator_label: str
    action: str
    target_type: str
    target_id: str
    target_label: str
    reason: str
    outcome: str

    @property
    def words(self) -> str:
        """The label of the action."""
        return act_words(self.action)


NAMES = tuple(ActRow.__dataclass_fields__)


def acts(
    *,
    action: str = "",
    outcome: str = "",
    without: Collection[str] = (),
    before: UUID | None = None,
    limit: int = 50,
) -> list[ActRow]:
    """Return up to `limit` + 1 entries, newest first, older than `before`.

    `action` is how an action begins; `without`: actions that are left out.
    """
    rows = OperatorAct.objects.order_by("-id")
    if action:
        rows = rows.filter(action__startswith=action)
    if outcome:
        rows = rows.filter(outcome=outcome)
    if without:
        rows = rows.exclude(action__in=without)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [ActRow(*row) for row in rows.values_list(*NAMES)[: limit + 1]]


def acts_on(target_type: str, target_id: UUID, limit: int) -> list[ActRow]:
    """Return the newest entries about one object."""
    rows = OperatorAct.objects.filter(target_type=target_type, target_id=str(target_id)).order_by("-id")
    return [ActRow(*row) for row in rows.values_list(*NAMES)[:limit]]
