"""One attempt of a delivery: sent with no transaction open, then recorded with what follows from it.

A worker that dies between the two sends again: a receiver knows an event by its id. Locks: the webhook, then its delivery.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.encryption import tenant_secrets
from tenants.events.events import WebhookDue, subscribe
from tenants.isolation.scoping import tenant_scope
from tenants.models import DeliveryState, Tenant, Webhook, WebhookDelivery
from tenants.notifications import notifications
from tenants.outbound import client
from tenants.webhooks import attempts
from tenants.webhooks.attempts import NOTHING_ACCEPTED, UNABLE_WAIT, Parcel, Result

WEBHOOK_DISABLED = AuditAction("tenants.webhook.disabled")
SECRET_USE, URL_USE = "webhook secret", "webhook url"
FAILING = "webhook_failing"


@subscribe(WebhookDue)
def attempt(event: WebhookDue) -> None:
    """Make one attempt of a delivery and record it; nothing if it was made, put off or called off meanwhile."""
    with tenant_scope(event.tenant_id):
        parcel = _prepare(event)
    if parcel is None:
        return
    try:
        result = attempts.send(parcel, event.tenant_id)
    except client.FetcherUnavailable:
        # The receiver is not to blame, and has seen nothing.
        with tenant_scope(event.tenant_id):
            _open(event).update(next_at=now() + UNABLE_WAIT)
        return
    with tenant_scope(event.tenant_id):
        _record(event, result)


def _prepare(event: WebhookDue) -> Parcel | None:
    delivery = _open(event).select_related("webhook").first()
    if delivery is None:
        return None
    webhook, moment = delivery.webhook, now()
    standing = Tenant.objects.values_list("standing", flat=True).get(id=event.tenant_id)
    if standing == "closed" or not (webhook.enabled or event.forced):
        _open(event).update(state=DeliveryState.FAILED, next_at=None, ended_at=moment)
        return None
    if webhook.retry_at is not None and webhook.retry_at > moment and not event.forced:
        _open(event).update(next_at=webhook.retry_at)
        return None
    return attempts.pack(delivery, webhook, url_of(webhook), secrets_of(webhook, moment))


def url_of(webhook: Webhook) -> str:
    """Return the address, which may be a secret itself, as those of Slack are."""
    return tenant_secrets.unseal(webhook.tenant_id, URL_USE, bytes(webhook.url))


def secrets_of(webhook: Webhook, moment: datetime) -> list[str]:
    """Return the secrets in force, the newest first."""
    sealed = attempts.sealed_secrets(webhook, moment)
    return [tenant_secrets.unseal(webhook.tenant_id, SECRET_USE, one) for one in sealed]


def _record(event: WebhookDue, result: Result) -> None:
    """Store the result of an attempt, and decide what comes next for the delivery and the webhook."""
    webhooks = Webhook.objects.select_for_update(no_key=True, of=("self",))
    webhook = webhooks.filter(deliveries__id=event.delivery_id).first()
    delivery = _open(event).select_for_update(no_key=True).first()
    if webhook is None or delivery is None:
        return  # removed, or recorded by another worker
    moment = now()
    attempts.note(webhook, delivery, result, moment)
    if attempts.given_up(webhook, delivery):
        _given_up(webhook, moment)
        if attempts.dead(webhook, delivery):
            disable(actor=Actor.system(event.tenant_id, "webhooks"), webhook=webhook)


def _given_up(webhook: Webhook, moment: datetime) -> None:
    """Notify those who manage webhooks that deliveries are given up, once a day for one webhook."""
    if webhook.notified_at is not None and moment - webhook.notified_at < timedelta(days=1):
        return
    Webhook.objects.filter(id=webhook.id).update(notified_at=moment)
    notifications.notify(
        permission="webhooks.manage",
        kind=FAILING,
        title=f"Webhook {webhook.name}: a delivery was given up",
        body="Its address did not accept an event for three days. The webhook’s page lists what was not delivered, and sends it again.",
        path=f"webhooks/{webhook.id}/",
    )


@operation(WEBHOOK_DISABLED)
def disable(*, actor: Actor, webhook: Webhook) -> None:
    """Disable a webhook that has failed for three days, give up what waits for it, and notify those who manage it."""
    changed = Webhook.objects.filter(id=webhook.id, enabled=True).update(
        enabled=False, disabled_because=NOTHING_ACCEPTED
    )
    if not changed:
        unchanged("it is disabled already")
        return
    waiting = WebhookDelivery.objects.filter(webhook=webhook, state=DeliveryState.PENDING)
    waiting.update(state=DeliveryState.FAILED, next_at=None, ended_at=now())
    record(
        WEBHOOK_DISABLED,
        actor=actor,
        target=("webhook", webhook.id, webhook.name),
        changes={"enabled": [True, False]},
        reason=NOTHING_ACCEPTED,
    )
    notifications.notify(
        permission="webhooks.manage",
        kind=FAILING,
        title=f"Webhook {webhook.name} was disabled",
        body=f"{NOTHING_ACCEPTED} Correct the address or the receiver, then enable the webhook again.",
        path=f"webhooks/{webhook.id}/",
    )


def _open(event: WebhookDue) -> Any:
    """Return the delivery of an event as long as this attempt of it is to be made."""
    return WebhookDelivery.objects.filter(id=event.delivery_id, state=DeliveryState.PENDING, attempts=event.attempt)
