"""Reads of webhooks and their deliveries, in the open scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from tenants.errors import NotFound
from tenants.models import Delivery, DeliveryState, Webhook, WebhookDelivery
from tenants.webhooks.delivering import url_of


@dataclass(frozen=True)
class WebhookRow:
    """A webhook without its secrets. `waiting` counts deliveries whose next attempt is to come."""

    id: UUID
    name: str
    url: str
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


def webhooks() -> list[WebhookRow]:
    """Return the webhooks by name."""
    return [row_of(one) for one in _counted().order_by("name")]


def webhook(webhook_id: UUID) -> WebhookRow:
    """Return one webhook. Raises NotFound."""
    found = _counted().filter(id=webhook_id).first()
    if found is None:
        raise NotFound
    return row_of(found)


def deliveries(webhook_id: UUID, *, state: str = "", before: UUID | None = None, limit: int = 50) -> list[DeliveryRow]:
    """Return up to `limit` + 1 deliveries to a webhook, newest first, older than `before`."""
    return listed(WebhookDelivery.objects.filter(webhook_id=webhook_id), state=state, before=before, limit=limit)


def delivery(webhook_id: UUID, delivery_id: UUID) -> DeliveryRow:
    """Return one delivery. Raises NotFound."""
    found = WebhookDelivery.objects.filter(webhook_id=webhook_id, id=delivery_id).first()
    if found is None:
        raise NotFound
    return delivery_row(found)


def listed(rows: QuerySet[Any], *, state: str, before: UUID | None, limit: int) -> list[DeliveryRow]:
    """Return up to `limit` + 1 of these deliveries, of a tenant or of the operators, newest first, older than `before`."""
    rows = rows.order_by("-id")
    if state:
        rows = rows.filter(state=state)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [delivery_row(one) for one in rows[: limit + 1]]


def _counted() -> Any:
    own = WebhookDelivery.objects.filter(webhook=OuterRef("pk"), state=DeliveryState.PENDING)
    counted = own.order_by().values("webhook").annotate(count=Count("id")).values("count")
    return Webhook.objects.annotate(waiting=Coalesce(Subquery(counted), 0))


def row_of(one: Webhook) -> WebhookRow:
    """Return the row of a webhook; one that was just made has nothing waiting."""
    own = {name: getattr(one, name) for name in WebhookRow.__dataclass_fields__ if name not in ("url", "waiting")}
    return WebhookRow(**own, url=url_of(one), waiting=getattr(one, "waiting", 0))


def delivery_row(one: Delivery) -> DeliveryRow:
    """Return the row of a delivery, of a tenant or of the operators."""
    own = {name: getattr(one, name) for name in DeliveryRow.__dataclass_fields__ if name not in ("event_id", "log")}
    log = [{**entry, "at": datetime.fromisoformat(entry["at"])} for entry in one.log]
    return DeliveryRow(**own, event_id=f"evt_{one.event_id.hex}", log=log)
