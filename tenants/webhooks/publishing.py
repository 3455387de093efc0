"""From a fact to its deliveries: one for each webhook that is enabled and chose the type."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import QuerySet

from tenants.clock import now
from tenants.events import events
from tenants.ids import uuid7
from tenants.models import Tenant, Webhook, WebhookDelivery
from tenants.webhooks import catalogue
from tenants.webhooks.payloads import body

#: After this time a delivery that nobody attempted is woken again.
WOKEN_FOR = timedelta(minutes=15)


def receivers(event_type: str) -> QuerySet[Webhook]:
    """Return the webhooks of the open scope that receive a type of events now."""
    return Webhook.objects.filter(enabled=True, types__contains=[event_type])


def send_fact(fact: catalogue.Fact) -> None:
    """Make the deliveries of a fact in the open scope; they are attempted after the commit."""
    wanting = list(receivers(fact.type).order_by("id"))
    if wanting:
        send_to(wanting, fact)


def send_to(webhooks: Iterable[Webhook], fact: catalogue.Fact, *, forced: bool = False) -> list[WebhookDelivery]:
    """Make a delivery of one event for each of these webhooks; with the same event id for all."""
    event_id, moment = uuid7(), now()
    tenant: Tenant | None = None
    made = []
    for webhook in webhooks:
        tenant = tenant or Tenant.objects.get(id=webhook.tenant_id)
        text = body(fact, tenant, event_id, moment, webhook.format)
        made.append(
            WebhookDelivery(
                webhook=webhook, event_id=event_id, type=fact.type, body=text, next_at=moment + WOKEN_FOR, since=moment
            )
        )
    WebhookDelivery.objects.bulk_create(made)
    wake(made, forced=forced)
    return made


def wake(deliveries: Iterable[WebhookDelivery], *, forced: bool = False) -> None:
    """Publish that the next attempt of these deliveries of the open scope is due."""
    events.publish_all(
        [
            events.WebhookDue(tenant_id=one.tenant_id, delivery_id=one.id, attempt=one.attempts, forced=forced)
            for one in deliveries
        ]
    )


catalogue.on_fact(send_fact)
