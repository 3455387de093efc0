"""Reported usage: requests with their senders, their events, and those that wait for review."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import HeldEvent, UsageBatch
from billing.models.outside import WAITING
from billing.money import Money
from billing.pg_arrays import parsed
from billing.rating.currencies import paid_in
from billing.usage.intervals import void_key
from billing.usage.reserved_sources import own_sources
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

EVENTS = f"""
SELECT x.*, {paid_in("(x.starts_at AT TIME ZONE t.timezone)::date", "%(tenant)s")} AS currency FROM (
SELECT e.key_hash, s.source, s.resource, s.dims, m.key AS meter, m.title AS meter_title, m.unit, p.name AS project_name,
  min(e.started_at) AS starts_at, max(e.ended_at) AS ends_at, sum(e.measured) AS measured, sum(e.amount) AS amount,
  false AS voided
FROM billing_usageevent e JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash
JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id
JOIN tenants_project p ON p.tenant_id = e.tenant_id AND p.id = e.project_id
WHERE e.tenant_id = %(tenant)s AND e.batch_id = %(batch)s AND e.kind = 'usage' AND m.aggregation IN ('sum', 'count')
  AND (%(after)s::bytea IS NULL OR e.key_hash > %(after)s::bytea)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
UNION ALL
SELECT r.key_hash, r.source, r.resource, r.dims, m.key, m.title, m.unit, p.name, r.at, r.at + interval '1 microsecond', r.value, coalesce(now.amount, 0),
  r.voided_at IS NOT NULL
FROM billing_meterreading r JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
JOIN tenants_project p ON p.tenant_id = r.tenant_id AND p.id = r.project_id
CROSS JOIN LATERAL (
  SELECT sum(e.amount) AS amount FROM billing_meterpiece q
  JOIN billing_usageevent e ON e.tenant_id = q.tenant_id AND e.series_hash = q.series_hash AND e.started_at = q.starts_at AND e.key_hash = q.key_hash
  WHERE q.tenant_id = r.tenant_id AND q.reading_key = r.key_hash AND q.voided_at IS NULL AND e.kind = 'usage') now
WHERE r.tenant_id = %(tenant)s AND r.batch_id = %(batch)s AND (%(after)s::bytea IS NULL OR r.key_hash > %(after)s::bytea)
ORDER BY key_hash LIMIT %(limit)s
) x JOIN tenants_tenant t ON t.id = %(tenant)s ORDER BY x.key_hash
"""  # noqa: S608

# By the first use of each reported series: scanning every event would grow with the bill.
BEFORE_SENDERS = """
SELECT EXISTS (
  SELECT FROM (
    SELECT s.hash FROM billing_usageseries s WHERE s.tenant_id = %(tenant)s AND s.source <> ALL(%(own)s::text[]) LIMIT 2000
  ) s CROSS JOIN LATERAL (
    SELECT e.batch_id, e.hold_id FROM billing_usageevent e
    WHERE e.tenant_id = %(tenant)s AND e.series_hash = s.hash AND e.kind = 'usage' ORDER BY e.started_at LIMIT 1
  ) e WHERE e.batch_id IS NULL AND e.hold_id IS NULL
)
"""


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One request. `accepted` and `held` count its events; `voided` those voided since."""

    id: UUID
    sender_kind: str
    sender_id: UUID | None
    sender: str
    received_at: datetime
    accepted: int
    held: int
    voided: int
    amount: Money

    @property
    def can_void(self) -> bool:
        """Whether something is left to void."""
        return self.accepted > self.voided or self.held > 0


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """One counted event of a request; `key` stands for its source and id. A reading has its value, and costs what it counts now."""

    key: bytes
    source: str
    resource: str
    dims: Mapping[str, str]
    meter: str
    meter_title: str
    unit: str
    project_name: str
    starts_at: datetime
    ends_at: datetime
    measured: Decimal
    cost: Money
    voided: bool


@dataclass(frozen=True, slots=True)
class HeldRow:
    """One event that waits for review, or was decided."""

    id: UUID
    batch_id: UUID
    sender: str
    source: str
    key: str
    meter: str
    resource: str
    project_name: str
    starts_at: datetime
    ends_at: datetime
    quantity: Decimal | None
    dims: Mapping[str, str]
    reason: str
    state: str
    received_at: datetime
    decided_at: datetime | None
    decided_by: str

    @property
    def seconds(self) -> Decimal:
        """How long its interval lasts."""
        return Decimal((self.ends_at - self.starts_at) // timedelta(microseconds=1)) / 1_000_000


def usage_batches(*, before: UUID | None = None, limit: int = 50) -> list[BatchRow]:
    """Return up to `limit` + 1 requests that reported usage, newest first."""
    rows = UsageBatch.objects.order_by("-id")
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [_batch(row) for row in rows[: limit + 1]]


def usage_batch(batch_id: UUID) -> BatchRow:
    """Return one request. Raises NotFound."""
    row = UsageBatch.objects.filter(pk=batch_id).first()
    if row is None:
        raise NotFound
    return _batch(row)


def senders_of(batch_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the sender of each of these requests."""
    return dict(UsageBatch.objects.filter(pk__in=set(batch_ids)).values_list("id", "sender"))


def batch_events(batch: BatchRow, *, after: bytes | None = None, limit: int = 50) -> list[ReportedEvent]:
    """Return up to `limit` + 1 counted events of a request, in the order of their keys."""
    arguments: dict[str, Any] = {"tenant": current_tenant_id(), "batch": batch.id, "after": after, "limit": limit + 1}
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, arguments)
        rows = named_rows(cursor)
        marks = {void_key(bytes(row.key_hash)): bytes(row.key_hash) for row in rows}
        cursor.execute(
            "SELECT key_hash FROM billing_usagekey WHERE tenant_id = %s AND key_hash = ANY(%s::bytea[])",
            [current_tenant_id(), list(marks)],
        )
        voided = {marks[bytes(key)] for (key,) in cursor.fetchall()}
    return [
        ReportedEvent(
            key=bytes(row.key_hash),
            source=row.source,
            resource=row.resource,
            dims=parsed(row.dims),
            meter=row.meter,
            meter_title=row.meter_title,
            unit=row.unit,
            project_name=row.project_name,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            measured=row.measured,
            cost=Money(row.amount, row.currency),
            voided=row.voided or bytes(row.key_hash) in voided,
        )
        for row in rows
    ]


def held_events(*, state: str = WAITING, before: UUID | None = None, limit: int = 50) -> list[HeldRow]:
    """Return up to `limit` + 1 events in a state, newest first."""
    rows = HeldEvent.objects.select_related("batch", "project").filter(state=state).order_by("-id")
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [
        HeldRow(
            id=row.pk,
            batch_id=row.batch_id,
            sender=row.batch.sender,
            source=row.source,
            key=row.key,
            meter=row.meter,
            resource=row.resource,
            project_name=row.project.name,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            quantity=row.quantity,
            dims=row.dims,
            reason=row.reason,
            state=row.state,
            received_at=row.received_at,
            decided_at=row.decided_at,
            decided_by=row.decided_by,
        )
        for row in rows[: limit + 1]
    ]


def waiting_count() -> int:
    """Return the number of reported events that wait for review."""
    return HeldEvent.objects.filter(state=WAITING).count()


def reported_before_senders() -> bool:
    """Return whether usage exists that was reported before senders were recorded."""
    with connection.cursor() as cursor:
        cursor.execute(BEFORE_SENDERS, {"tenant": current_tenant_id(), "own": own_sources()})
        return bool(cursor.fetchone()[0])


def _batch(row: UsageBatch) -> BatchRow:
    return BatchRow(
        id=row.pk,
        sender_kind=row.sender_kind,
        sender_id=row.sender_id,
        sender=row.sender,
        received_at=row.received_at,
        accepted=row.accepted,
        held=row.held,
        voided=row.voided,
        amount=Money(row.amount, row.currency),
    )
