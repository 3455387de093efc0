"""Queries of the operator log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tenants.audit.chain import PLATFORM_FIELDS
from tenants.audit.checkpoints import exported
from tenants.audit.queries import with_checkpoints
from tenants.audit.words import act_words, operation_of
from tenants.models import OperatorAct, PlatformCheckpoint


@dataclass(frozen=True)
class ActRow:
    """One entry of the operator log. `target_label` may be empty, `target_id` then stands for the object.

    `hash` are the 32 bytes that the next entry continues from.
    """

    id: UUID
    seq: int
    at: datetime
    operator_label: str
    action: str
    target_type: str
    target_id: str
    target_label: str
    reason: str
    outcome: str
    credential: str
    ip: str
    request_id: str
    hash: bytes

    @property
    def operation(self) -> str:
        """What the act is to its object."""
        return operation_of(self.action)

    @property
    def words(self) -> str:
        """The label of the action."""
        return act_words(self.action)


NAMES = tuple(ActRow.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class ActFilter:
    """Which entries of the operator log to show: those that all of it fits, with nothing given all.

    `actor` is part of a label, `action` how an action begins, `until` the first moment after them.
    """

    actor: str = ""
    action: str = ""
    target_type: str = ""
    target_id: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None


LOOKUPS = {
    "actor": "operator_label__icontains",
    "action": "action__startswith",
    "since": "at__gte",
    "until": "at__lt",
}
EVERY_ACT = ActFilter()


def acts(
    only: ActFilter = EVERY_ACT, *, without: Collection[str] = (), before: UUID | None = None, limit: int = 50
) -> list[ActRow]:
    """Return up to `limit` + 1 entries, newest first, older than `before`. `without`: actions that are left out."""
    asked = {LOOKUPS.get(name, name): value for name, value in asdict(only).items() if value}
    rows = OperatorAct.objects.filter(**asked).order_by("-id")
    if without:
        rows = rows.exclude(action__in=without)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [ActRow(*row) for row in rows.values_list(*NAMES)[: limit + 1]]


def export(first: int = 1) -> Iterator[Mapping[str, Any]]:
    """Stream the entries from number `first` on, in order, with both hashes and the signed checkpoints after theirs."""
    signed = PlatformCheckpoint.objects.filter(seq__gte=first).order_by("seq").iterator(chunk_size=500)
    rows = OperatorAct.objects.filter(seq__gte=first).order_by("seq").values("prev_hash", "hash", *PLATFORM_FIELDS)
    entries = ({**row, "operation": operation_of(row["action"])} for row in rows.iterator(chunk_size=2000))
    yield from with_checkpoints(entries, exported(signed))


def acts_on(target_type: str, target_id: UUID, limit: int) -> list[ActRow]:
    """Return the newest entries about one object."""
    rows = OperatorAct.objects.filter(target_type=target_type, target_id=str(target_id)).order_by("-id")
    return [ActRow(*row) for row in rows.values_list(*NAMES)[:limit]]
