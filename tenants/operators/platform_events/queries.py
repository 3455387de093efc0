"""Reads of platform webhooks and their deliveries. The console cannot open an address: it shows the host."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Q

from tenants.errors import NotFound
from tenants.models import DeliveryState, PlatformDelivery, PlatformWebhook
from tenants.webhooks.queries import DeliveryRow, delivery_row, listed


@dataclass(frozen=True)
class PlatformWebhookRow:
    """A webhook without its address and secrets. `waiting` counts deliveries whose next attempt is to come."""

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


def webhooks() -> list[PlatformWebhookRow]:
    """Return the webhooks by name."""
    return [PlatformWebhookRow(**row) for row in _counted().order_by("name")]


def webhook(webhook_id: UUID) -> PlatformWebhookRow:
    """Return one webhook. Raises NotFound."""
    found = _counted().filter(id=webhook_id).first()
    if found is None:
        raise NotFound
    return PlatformWebhookRow(**found)


def deliveries(webhook_id: UUID, *, state: str = "", before: UUID | None = None, limit: int = 50) -> list[DeliveryRow]:
    """Return up to `limit` + 1 deliveries to a webhook, newest first, older than `before`."""
    return listed(PlatformDelivery.objects.filter(webhook_id=webhook_id), state=state, before=before, limit=limit)


def delivery(webhook_id: UUID, delivery_id: UUID) -> DeliveryRow:
    """Return one delivery. Raises NotFound."""
    found = PlatformDelivery.objects.filter(webhook_id=webhook_id, id=delivery_id).first()
    if found is None:
        raise NotFound
    return delivery_row(found)


def _counted() -> Any:
    waiting = Count("deliveries", filter=Q(deliveries__state=DeliveryState.PENDING))
    return PlatformWebhook.objects.annotate(waiting=waiting).values(*PlatformWebhookRow.__dataclass_fields__)
