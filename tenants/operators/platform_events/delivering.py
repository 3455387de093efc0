"""One attempt of a delivery to a platform webhook: sent with no transaction open, then recorded with what follows from it.

A worker that dies between the two sends again: a receiver knows an event by its id.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from tenants.clock import now
from tenants.encryption import KeyUnavailable, platform_secrets
from tenants.isolation import locks
from tenants.models import DeliveryState, PlatformDelivery, PlatformWebhook
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.platform_events.raising import raise_event
from tenants.outbound import client
from tenants.webhooks import attempts

DISABLED = "tenants.platform_webhook.disabled"
FAILING = "webhook.failing"
#: Who disables a webhook that has failed for three days, in the operator log.
SYSTEM = Operator(id=UUID(int=0), label="webhooks")


def attempt(delivery_id: UUID) -> None:
    """Make one attempt of a delivery and record it; nothing if it was made or put off meanwhile (control role)."""
    with locks.alone(f"tenants.platform_delivery {delivery_id}") as mine:
        if not mine:
            return
        try:
            with transaction.atomic():
                parcel = _prepare(delivery_id)
            if parcel is None:
                return
            result = attempts.send(parcel, None)
        except (client.FetcherUnavailable, KeyUnavailable):
            # The receiver is not to blame, and has seen nothing.
            _open(delivery_id).update(next_at=now() + attempts.UNABLE_WAIT)
            return
        with transaction.atomic():
            _record(delivery_id, result)


def url_use(webhook_id: UUID) -> str:
    """Return the use under which an address is sealed: it opens for this webhook alone."""
    return f"webhook url {webhook_id}"


def secret_use(webhook_id: UUID) -> str:
    """Return the use under which a secret is sealed."""
    return f"webhook secret {webhook_id}"


def _prepare(delivery_id: UUID) -> attempts.Parcel | None:
    delivery = _open(delivery_id).select_related("webhook").first()
    if delivery is None:
        return None
    webhook, moment = delivery.webhook, now()
    if not (webhook.enabled or delivery.forced):
        _open(delivery_id).update(state=DeliveryState.FAILED, next_at=None, ended_at=moment)
        return None
    if webhook.retry_at is not None and webhook.retry_at > moment and not delivery.forced:
        _open(delivery_id).update(next_at=webhook.retry_at)
        return None
    url = platform_secrets.unseal(url_use(webhook.id), bytes(webhook.url))
    sealed = attempts.sealed_secrets(webhook, moment)
    secrets = [platform_secrets.unseal(secret_use(webhook.id), one) for one in sealed]
    return attempts.pack(delivery, webhook, url, secrets)


def _record(delivery_id: UUID, result: attempts.Result) -> None:
    """Store the result of an attempt, and decide what comes next. Locks: the webhook, then its delivery."""
    webhooks = PlatformWebhook.objects.select_for_update(no_key=True, of=("self",))
    webhook = webhooks.filter(deliveries__id=delivery_id).first()
    delivery = _open(delivery_id).select_for_update(no_key=True).first()
    if webhook is None or delivery is None:
        return  # removed meanwhile
    moment = now()
    attempts.note(webhook, delivery, result, moment)
    PlatformDelivery.objects.filter(id=delivery_id).update(forced=False)
    if not attempts.given_up(webhook, delivery):
        return
    disabled = attempts.dead(webhook, delivery)
    raise_event(
        FAILING,
        of=("webhook", webhook.id),
        path=f"webhooks/{webhook.id}/",
        once=f"{webhook.id} {disabled} {moment:%Y-%m-%d}",
        data={"disabled": disabled},
    )
    if disabled:
        _disable(webhook)


def _disable(webhook: PlatformWebhook) -> None:
    because = attempts.NOTHING_ACCEPTED
    PlatformWebhook.objects.filter(id=webhook.id).update(enabled=False, disabled_because=because)
    waiting = PlatformDelivery.objects.filter(webhook=webhook, state=DeliveryState.PENDING)
    waiting.update(state=DeliveryState.FAILED, next_at=None, ended_at=now())
    record_act(SYSTEM, DISABLED, target=("platform_webhook", webhook.id, webhook.name), reason=because)


def _open(delivery_id: UUID) -> Any:
    """Return the delivery as long as an attempt of it is to be made now."""
    return PlatformDelivery.objects.filter(id=delivery_id, state=DeliveryState.PENDING, next_at__lte=now())
