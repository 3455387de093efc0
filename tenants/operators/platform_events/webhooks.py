"""Operations on platform webhooks: create, change, rotate the secret, test, send again, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from tenants.clock import DatabaseNow, now
from tenants.encryption import platform_secrets
from tenants.errors import Conflict, NotFound
from tenants.ids import uuid7
from tenants.isolation import limits
from tenants.models import DeliveryState, PlatformDelivery, PlatformEvent, PlatformWebhook, WebhookFormat
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.platform_events import catalogue, spreading
from tenants.operators.platform_events.delivering import secret_use, url_use
from tenants.webhooks import fields, signing
from tenants.webhooks.catalogue import TEST
from tenants.webhooks.webhooks import MOST_TESTS_AN_HOUR, OVERLAP, DeliveryWaits, TooManyTests, WebhookNameTaken

MANAGE = "webhooks.manage"
CREATED = "tenants.platform_webhook.created"
CHANGED = "tenants.platform_webhook.changed"
DELETED = "tenants.platform_webhook.deleted"
ROTATED = "tenants.platform_webhook.secret_rotated"
TESTED = "tenants.platform_webhook.tested"
REPLAYED = "tenants.platform_webhook.delivery_replayed"
MOST_WEBHOOKS = 20


class TooManyPlatformWebhooks(Conflict):
    """The platform has at most 20 webhooks. Delete one that is no longer needed."""

    code = "too_many_platform_webhooks"


@dataclass(frozen=True)
class NewPlatformWebhook:
    """A webhook with its signing secret, which is shown once."""

    webhook: PlatformWebhook
    secret: str


def create(
    *, operator: Operator, name: str, url: str, types: Sequence[str], format: str = WebhookFormat.EXCHEQUER
) -> NewPlatformWebhook:
    """Create a webhook for platform events of these types, with a new secret.

    Raises Invalid, WebhookNameTaken, TooManyPlatformWebhooks, NoPlatformKey.
    """
    operator.require(MANAGE)
    webhook_id, secret = uuid7(), signing.new_secret()
    given = _checked(webhook_id, {"name": name, "url": url, "types": types, "format": format})
    sealed = platform_secrets.seal(secret_use(webhook_id), secret)
    webhook = PlatformWebhook(id=webhook_id, **given, secret=sealed, created_by=operator.label[:254])
    with transaction.atomic():
        if limits.is_full(PlatformWebhook.objects.all(), MOST_WEBHOOKS):
            raise TooManyPlatformWebhooks
        _save(webhook)
        _record(operator, CREATED, webhook, f"{webhook.name} at {webhook.host}")
    return NewPlatformWebhook(webhook, secret)


def change(*, operator: Operator, webhook_id: UUID, **wanted: Any) -> PlatformWebhook:
    """Change name, url, types, format or enabled; what is not named stays. An enabled webhook begins without failures.

    Raises NotFound, Invalid, WebhookNameTaken.
    """
    operator.require(MANAGE)
    with transaction.atomic():
        webhook = _locked(webhook_id)
        enabled = bool(wanted.pop("enabled", webhook.enabled))
        given = _checked(webhook_id, wanted) | {"enabled": enabled}
        shown = ("name", "host", "types", "format", "enabled")
        changed = [name for name in shown if name in given and given[name] != getattr(webhook, name)]
        if not changed and "url" not in given:
            return webhook
        if enabled and not webhook.enabled:
            given |= {"failures": 0, "failing_since": None, "retry_at": None, "disabled_because": ""}
        for name, value in given.items():
            setattr(webhook, name, value)
        _save(webhook)
        _record(operator, CHANGED, webhook, f"{webhook.name}: {', '.join(changed) or 'url'}")
    return webhook


def delete(*, operator: Operator, webhook_id: UUID) -> str:
    """Delete a webhook with its deliveries, and return its name; what waits is not sent. Raises NotFound."""
    operator.require(MANAGE)
    with transaction.atomic():
        webhook = _locked(webhook_id)
        deliveries = PlatformDelivery.objects.filter(webhook=webhook)
        deliveries._raw_delete(deliveries.db)  # one statement, however many they are
        PlatformWebhook.objects.filter(id=webhook.id).delete()
        _record(operator, DELETED, webhook, f"{webhook.name} at {webhook.host}")
    return webhook.name


def rotate_secret(*, operator: Operator, webhook_id: UUID) -> NewPlatformWebhook:
    """Give a webhook a new secret; the previous one signs beside it for 24 hours. Raises NotFound, NoPlatformKey."""
    operator.require(MANAGE)
    secret = signing.new_secret()
    with transaction.atomic():
        webhook = _locked(webhook_id)
        webhook.previous_secret, webhook.previous_until = webhook.secret, now() + OVERLAP
        webhook.secret = platform_secrets.seal(secret_use(webhook_id), secret)
        webhook.save(update_fields=["secret", "previous_secret", "previous_until"])
        _record(operator, ROTATED, webhook, webhook.name)
    return NewPlatformWebhook(webhook, secret)


def send_test(*, operator: Operator, webhook_id: UUID) -> PlatformDelivery:
    """Send a test event, once, even to a disabled webhook. Raises NotFound, TooManyTests."""
    operator.require(MANAGE)
    hour = timedelta(hours=1)
    with transaction.atomic():
        webhook = _locked(webhook_id)
        tests = PlatformDelivery.objects.filter(webhook=webhook, type=TEST, created_at__gt=DatabaseNow() - hour)
        recent = list(tests.order_by("-created_at").values_list("created_at", flat=True)[:MOST_TESTS_AN_HOUR])
        if len(recent) == MOST_TESTS_AN_HOUR:
            raise TooManyTests(retry_after=max(1, int((recent[-1] + hour - now()).total_seconds())))
        event = PlatformEvent(type=TEST, kind="webhook", object=str(webhook_id), path=f"webhooks/{webhook_id}/")
        event.created_at = now()
        row = spreading.delivery(webhook, event, {}, event.created_at)
        row.forced = True
        row.save(force_insert=True)
        _record(operator, TESTED, webhook, webhook.name)
    return row


def replay(*, operator: Operator, webhook_id: UUID, delivery_id: UUID) -> PlatformDelivery:
    """Send an ended delivery again, with the same event id; then it is retried as a new one. Raises NotFound, DeliveryWaits."""
    operator.require(MANAGE)
    with transaction.atomic():
        webhook = _locked(webhook_id)
        rows = PlatformDelivery.objects.select_for_update(no_key=True)
        row = rows.filter(id=delivery_id, webhook=webhook).first()
        if row is None:
            raise NotFound
        if row.state == DeliveryState.PENDING:
            raise DeliveryWaits
        row.state, row.since, row.ended_at, row.forced = DeliveryState.PENDING, now(), None, True
        row.next_at = row.since
        row.save(update_fields=["state", "since", "next_at", "ended_at", "forced"])
        _record(operator, REPLAYED, webhook, f"{row.type} to {webhook.name}")
    return row


def _checked(webhook_id: UUID, wanted: dict[str, Any]) -> dict[str, Any]:
    known = fields.Known([one.name for one in catalogue.types()], "GET /api/operator/v1/webhooks/types/")
    return fields.checked(wanted, known, lambda url: platform_secrets.seal(url_use(webhook_id), url), None)


def _locked(webhook_id: UUID) -> PlatformWebhook:
    webhook = PlatformWebhook.objects.select_for_update(no_key=True).filter(id=webhook_id).first()
    if webhook is None:
        raise NotFound
    return webhook


def _save(webhook: PlatformWebhook) -> None:
    try:
        with transaction.atomic():
            webhook.save()
    except IntegrityError as taken:
        raise WebhookNameTaken from taken


def _record(operator: Operator, action: str, webhook: PlatformWebhook, label: str) -> None:
    record_act(operator, action, target=("platform_webhook", webhook.id, label))
