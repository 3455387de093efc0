"""From new platform events to deliveries and emails, by the ops worker; and which of these are due."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from tenants.clock import DatabaseNow, now
from tenants.models import (
    DeliveryState,
    OperatorEmail,
    PlatformDelivery,
    PlatformEvent,
    PlatformWebhook,
    Tenant,
    WebhookFormat,
)
from tenants.operators.platform_events import catalogue, choices
from tenants.webhooks.catalogue import Fact
from tenants.webhooks.payloads import Heading, written

AT_ONCE = 200
#: An email that no server took for so long is not sent any more.
TRIED_FOR = timedelta(days=3)


def spread() -> int:
    """Make the deliveries and emails of new events (control role); return how many events."""
    with transaction.atomic():
        new = PlatformEvent.objects.select_for_update(skip_locked=True, no_key=True).filter(spread_at=None)
        events = list(new.order_by("id")[:AT_ONCE])
        if not events:
            return 0
        moment = now()
        slugs = dict(Tenant.objects.filter(id__in={one.about for one in events}).values_list("id", "slug"))
        webhooks = list(PlatformWebhook.objects.filter(enabled=True).order_by("id"))
        readers = choices.readers()
        PlatformDelivery.objects.bulk_create(
            delivery(webhook, event, slugs, moment)
            for event in events
            for webhook in webhooks
            if event.type in webhook.types
        )
        OperatorEmail.objects.bulk_create(
            OperatorEmail(event=event, user_id=reader.operator.id)
            for event in events
            if (kind := catalogue.find(event.type)) is not None
            for reader in readers
            if reader.wants(kind)
        )
        PlatformEvent.objects.filter(id__in=[one.id for one in events]).update(spread_at=moment)
    return len(events)


def delivery(
    webhook: PlatformWebhook, event: PlatformEvent, slugs: dict[UUID, str], moment: datetime
) -> PlatformDelivery:
    """Return the delivery of an event to a webhook, due at `moment`."""
    slug = slugs.get(event.about) if event.about else None
    heading = Heading(
        event_id=event.id,
        created=event.created_at or moment,
        tenant={"id": str(event.about), "slug": slug} if slug else None,
        page=f"/{event.path}",
        url=console_url(event.path),
        title=catalogue.title_of(event.type),
    )
    # A channel reads a line of text: it says which organisation.
    shown = {"organisation": slug} if slug and webhook.format == WebhookFormat.SLACK else {}
    fact = Fact(type=event.type, kind=event.kind, id=event.object, path=event.path, data=shown | event.data)
    return PlatformDelivery(
        webhook=webhook,
        event_id=event.id,
        type=event.type,
        body=written(fact, heading, webhook.format),
        since=moment,
        next_at=moment,
    )


def console_url(path: str) -> str:
    """Return the URL of a page of the console."""
    env = settings.EXCHEQUER
    return f"{env.operator_public_url or f'http://127.0.0.1:{env.operator_port}'}/{path}"


def due_deliveries() -> list[UUID]:
    """Return the deliveries whose next attempt is due, oldest first."""
    rows = PlatformDelivery.objects.filter(state=DeliveryState.PENDING, next_at__lte=DatabaseNow())
    return list(rows.order_by("next_at").values_list("id", flat=True)[:AT_ONCE])


def due_emails() -> list[UUID]:
    """Return the emails to send now, oldest first."""
    rows = OperatorEmail.objects.filter(sent_at=None, next_at__lte=DatabaseNow())
    recent = rows.filter(event__created_at__gt=DatabaseNow() - TRIED_FOR)
    return list(recent.order_by("next_at").values_list("id", flat=True)[:AT_ONCE])
