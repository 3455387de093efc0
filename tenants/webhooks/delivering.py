"""One attempt of a delivery: sent with no transaction open, then recorded with what follows from it.

A worker that dies between the two sends again: a receiver knows an event by its id. Locks: the webhook, then its delivery.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.encryption import tenant_secrets
from tenants.events.events import WebhookDue, subscribe
from tenants.isolation.scoping import tenant_scope
from tenants.models import DeliveryState, Tenant, Webhook, WebhookDelivery, WebhookFormat
from tenants.notifications import notifications
from tenants.outbound import client
from tenants.webhooks import catalogue, signing

WEBHOOK_DISABLED = AuditAction("tenants.webhook.disabled")
LIMITS = client.Limits(timeout_s=10, max_bytes=1_000, cut=True)
#: Waits between attempts, in seconds; the last one repeats until the attempts end.
WAITS = (15, 60, 300, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
GIVE_UP_AFTER = timedelta(days=3)
#: A webhook that fails so often in a row is left alone for a growing time.
PATIENCE, LONGEST_PAUSE_S = 3, 1_800
FEWEST_FAILURES = 5
KEPT_ATTEMPTS, SHOWN_CHARACTERS = 30, 500
SECRET_USE, URL_USE = "webhook secret", "webhook url"
UNABLE_WAIT = timedelta(seconds=30)
FAILING = "webhook_failing"
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parcel:
    """A delivery as it is sent."""

    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Result:
    """What came of an attempt: the status of the answer, or the code of an error; milliseconds; the answer's start."""

    ok: bool
    status: int | None
    error: str
    took_ms: int
    said: str


@subscribe(WebhookDue)
def attempt(event: WebhookDue) -> None:
    """Make one attempt of a delivery and record it; nothing if it was made, put off or called off meanwhile."""
    with tenant_scope(event.tenant_id):
        parcel = _prepare(event)
    if parcel is None:
        return
    began = time.monotonic()
    try:
        answer = client.fetch(
            "POST", parcel.url, headers=parcel.headers, body=parcel.body, limits=LIMITS, tenant_id=event.tenant_id
        )
    except client.FetcherUnavailable:
        # The receiver is not to blame, and has seen nothing.
        with tenant_scope(event.tenant_id):
            _open(event).update(next_at=now() + UNABLE_WAIT)
        return
    except client.OutboundError as error:
        result = Result(False, None, error.code, _since(began), error.message[:SHOWN_CHARACTERS])
    else:
        ok = 200 <= answer.status < 300
        said = answer.body.decode(errors="replace").replace("\0", "\ufffd")[:SHOWN_CHARACTERS]
        result = Result(ok, answer.status, "" if ok else "status", _since(began), said)
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
    body = delivery.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Exchequer-Webhooks/1",
        "Exchequer-Event": delivery.type,
        "Exchequer-Delivery": str(delivery.id),
    }
    if webhook.format != WebhookFormat.SLACK:
        headers[signing.HEADER] = signing.header(body, secrets_of(webhook, moment), int(time.time()))
    return Parcel(url_of(webhook), body, headers)


def url_of(webhook: Webhook) -> str:
    """Return the address, which may be a secret itself, as those of Slack are."""
    return tenant_secrets.unseal(webhook.tenant_id, URL_USE, bytes(webhook.url))


def secrets_of(webhook: Webhook, moment: datetime) -> list[str]:
    """Return the secrets in force, the newest first."""
    sealed = [webhook.secret]
    if webhook.previous_secret is not None and webhook.previous_until is not None and webhook.previous_until > moment:
        sealed.append(webhook.previous_secret)
    return [tenant_secrets.unseal(webhook.tenant_id, SECRET_USE, bytes(one)) for one in sealed]


def _record(event: WebhookDue, result: Result) -> None:
    """Store the result of an attempt, and decide what comes next for the delivery and the webhook."""
    webhooks = Webhook.objects.select_for_update(no_key=True, of=("self",))
    webhook = webhooks.filter(deliveries__id=event.delivery_id).first()
    delivery = _open(event).select_for_update(no_key=True).first()
    if webhook is None or delivery is None:
        return  # removed, or recorded by another worker
    moment = now()
    delivery.attempts += 1
    delivery.log = [*delivery.log, _entry(delivery.attempts, moment, result)][-KEPT_ATTEMPTS:]
    if result.ok:
        delivery.state, delivery.next_at, delivery.ended_at = DeliveryState.DELIVERED, None, moment
        webhook.failures, webhook.failing_since, webhook.retry_at = 0, None, None
        webhook.last_delivered_at = moment
    else:
        webhook.failures += 1
        webhook.failing_since = webhook.failing_since or moment
        if webhook.failures >= PATIENCE:
            webhook.retry_at = moment + timedelta(seconds=min(5 * 2 ** min(webhook.failures, 20), LONGEST_PAUSE_S))
        wait = WAITS[min(delivery.attempts, len(WAITS)) - 1]
        delivery.next_at = moment + timedelta(seconds=wait)
        over = delivery.next_at - delivery.since > GIVE_UP_AFTER or delivery.type == catalogue.TEST
        if over or not webhook.enabled:
            delivery.state, delivery.next_at, delivery.ended_at = DeliveryState.FAILED, None, moment
    delivery.save(update_fields=["attempts", "log", "state", "next_at", "ended_at"])
    webhook.save(update_fields=["failures", "failing_since", "retry_at", "last_delivered_at"])
    if delivery.state == DeliveryState.FAILED and delivery.type != catalogue.TEST:
        if webhook.enabled:
            _given_up(webhook, moment)
        silent = webhook.last_delivered_at is None or webhook.last_delivered_at < delivery.since
        if webhook.enabled and silent and webhook.failures >= FEWEST_FAILURES:
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
    because = "Its address accepted nothing for three days."
    changed = Webhook.objects.filter(id=webhook.id, enabled=True).update(enabled=False, disabled_because=because)
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
        reason=because,
    )
    notifications.notify(
        permission="webhooks.manage",
        kind=FAILING,
        title=f"Webhook {webhook.name} was disabled",
        body=f"{because} Correct the address or the receiver, then enable the webhook again.",
        path=f"webhooks/{webhook.id}/",
    )


def _open(event: WebhookDue) -> Any:
    """Return the delivery of an event as long as this attempt of it is to be made."""
    return WebhookDelivery.objects.filter(id=event.delivery_id, state=DeliveryState.PENDING, attempts=event.attempt)


def _entry(number: int, moment: datetime, result: Result) -> dict[str, Any]:
    return {
        "number": number,
        "at": moment.isoformat(),
        "status": result.status,
        "error": result.error,
        "took_ms": result.took_ms,
        "said": result.said,
    }


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1_000)
