"""Reads of webhooks and their deliveries: `OWN` in the open scope; the operators' are in `operators.platform_events`.

Of an address they show the host: the rest may hold a credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce

from tenants.errors import NotFound
from tenants.models import Delivery, DeliveryState, Receiver, Webhook, WebhookDelivery


@dataclass(frozen=True)
class ReceiverRow:
    """A webhook of either side, without address and secrets. `waiting` counts deliveries whose next attempt is to come."""

    id: UUID
    name: str
    host: str
    types: list[str]
    format: str
    enabled: bool
    disabled_because: str
    created_by: str
    created_at: datetime
    previous_until: datetime | None
    failures: int
    failing_since: datetime | None
    retry_at: datetime | None
    last_delivered_at: datetime | None
    waiting: int


@dataclass(frozen=True)
class DeliveryRow:
    """A delivery with its attempts: each has number, at, status, error, took_ms, and the start of the response (`said`)."""

    id: UUID
    event_id: str
    type: str
    body: str
    state: str
    attempts: int
    log: list[dict[str, Any]]
    created_at: datetime
    next_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Reads:
    """The reads of one side's webhooks: of the open scope, or of the platform."""

    receivers: type[Any]
    sent: type[Any]

    def webhooks(self) -> list[ReceiverRow]:
        """Return the webhooks by name."""
        return [_row(one) for one in self._counted().order_by("name")]

    def webhook(self, webhook_id: UUID) -> ReceiverRow:
        """Return one webhook. Raises NotFound."""
        found = self._counted().filter(id=webhook_id).first()
        if found is None:
            raise NotFound
        return _row(found)

    def deliveries(
        self, webhook_id: UUID, *, state: str = "", before: UUID | None = None, limit: int = 50
    ) -> list[DeliveryRow]:
        """Return up to `limit` + 1 deliveries to a webhook, newest first, older than `before`."""
        rows = self.sent.objects.filter(webhook_id=webhook_id).order_by("-id")
        if state:
            rows = rows.filter(state=state)
        if before is not None:
            rows = rows.filter(id__lt=before)
        return [_delivery_row(one) for one in rows[: limit + 1]]

    def delivery(self, webhook_id: UUID, delivery_id: UUID) -> DeliveryRow:
        """Return one delivery. Raises NotFound."""
        found = self.sent.objects.filter(webhook_id=webhook_id, id=delivery_id).first()
        if found is None:
            raise NotFound
        return _delivery_row(found)

    def _counted(self) -> Any:
        own = self.sent.objects.filter(webhook=OuterRef("pk"), state=DeliveryState.PENDING)
        counted = own.order_by().values("webhook").annotate(count=Count("id")).values("count")
        return self.receivers.objects.annotate(waiting=Coalesce(Subquery(counted), 0))


def _row(one: Receiver) -> ReceiverRow:
    return ReceiverRow(**{name: getattr(one, name) for name in ReceiverRow.__dataclass_fields__})


def _delivery_row(one: Delivery) -> DeliveryRow:
    own = {name: getattr(one, name) for name in DeliveryRow.__dataclass_fields__ if name not in ("event_id", "log")}
    log = [{**entry, "at": datetime.fromisoformat(entry["at"])} for entry in one.log]
    return DeliveryRow(**own, event_id=f"evt_{one.event_id.hex}", log=log)


OWN = Reads(Webhook, WebhookDelivery)
