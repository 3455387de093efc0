"""Operations on webhooks: create, change, rotate the secret, test, send again, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db import IntegrityError, transaction
from django.db.models import OuterRef

from tenants.access.actor import Actor
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.encryption import tenant_secrets
from tenants.errors import Conflict, NotFound, RateLimited
from tenants.isolation import limits
from tenants.isolation.scoping import current_tenant_id
from tenants.models import DeliveryState, Webhook, WebhookDelivery, WebhookFormat
from tenants.webhooks import catalogue, fields, publishing, signing
from tenants.webhooks.delivering import SECRET_USE, URL_USE, url_of

WEBHOOK_CREATED = AuditAction("tenants.webhook.created")
WEBHOOK_CHANGED = AuditAction("tenants.webhook.changed")
WEBHOOK_DELETED = AuditAction("tenants.webhook.deleted", while_closing=True)
ADDRESS_REVEALED = AuditAction("tenants.webhook.address_revealed")
SECRET_ROTATED = AuditAction("tenants.webhook.secret_rotated")
WEBHOOK_TESTED = AuditAction("tenants.webhook.tested")
DELIVERY_REPLAYED = AuditAction("tenants.webhook.delivery_replayed")
MOST_WEBHOOKS = 20
MOST_TESTS_AN_HOUR = 20
OVERLAP = timedelta(hours=24)


class TooManyWebhooks(Conflict):
    """An organisation has at most 20 webhooks. Delete one that is no longer needed."""

    code = "too_many_webhooks"


class WebhookNameTaken(Conflict):
    """A webhook with this name exists. Choose another name."""

    code = "webhook_name_taken"


class TooManyTests(RateLimited):
    """This webhook was tested 20 times within an hour. Try again later."""

    code = "too_many_tests"


class DeliveryWaits(Conflict):
    """This delivery still waits for its next attempt. Send it again after it has ended."""

    code = "delivery_waits"


@dataclass(frozen=True)
class NewWebhook:
    """A webhook with its signing secret, which is shown once."""

    webhook: Webhook
    secret: str


@operation(WEBHOOK_CREATED)
def create_webhook(
    *, actor: Actor, name: str, url: str, types: Sequence[str], format: str = WebhookFormat.EXCHEQUER
) -> NewWebhook:
    """Create a webhook for events of these types, with a new secret.

    Raises Invalid, WebhookNameTaken, TooManyWebhooks, and PermissionDenied for figures that the actor may not read.
    """
    actor.require("webhooks.manage")
    _require_reading(actor, types)
    if limits.is_full(Webhook.objects.all(), MOST_WEBHOOKS):
        raise TooManyWebhooks
    secret = signing.new_secret()
    tenant_id = current_tenant_id()
    given = _checked(tenant_id, {"name": name, "url": url, "types": types, "format": format})
    webhook = Webhook(**given, secret=tenant_secrets.seal(tenant_id, SECRET_USE, secret), created_by=actor.label[:254])
    _save(webhook)
    changes = {"host": [None, webhook.host], "types": [[], webhook.types], "format": [None, webhook.format]}
    record(WEBHOOK_CREATED, actor=actor, target=_target(webhook), changes=changes)
    return NewWebhook(webhook, secret)


@operation(WEBHOOK_CHANGED)
def change_webhook(*, actor: Actor, webhook_id: UUID, **wanted: Any) -> Webhook:
    """Change name, url, types, format or enabled; what is not named stays. An enabled webhook begins without failures.

    Raises NotFound, Invalid, WebhookNameTaken, PermissionDenied.
    """
    actor.require("webhooks.manage")
    webhook = _locked(webhook_id)
    _require_reading(actor, [*webhook.types, *wanted.get("types", ())])
    enabled = bool(wanted.pop("enabled", webhook.enabled))
    given = _checked(webhook.tenant_id, wanted) | {"enabled": enabled}
    shown = ("name", "host", "types", "format", "enabled")
    changes = {
        key: [getattr(webhook, key), given[key]]
        for key in shown
        if key in given and given[key] != getattr(webhook, key)
    }
    if not changes and "url" not in given:
        unchanged("nothing differs")
        return webhook
    if enabled and not webhook.enabled:
        given |= {"failures": 0, "failing_since": None, "retry_at": None, "disabled_because": ""}
    for key, value in given.items():
        setattr(webhook, key, value)
    _save(webhook)
    record(WEBHOOK_CHANGED, actor=actor, target=_target(webhook), changes=changes)
    return webhook


@operation(WEBHOOK_DELETED)
def delete_webhook(*, actor: Actor, webhook_id: UUID) -> None:
    """Delete a webhook with its deliveries; what waits is not sent. Raises NotFound."""
    actor.require(TakesAway("webhooks.manage"))
    webhook = _locked(webhook_id)
    deliveries = WebhookDelivery.objects.filter(webhook=webhook)
    deliveries._raw_delete(deliveries.db)  # one statement, however many they are
    Webhook.objects.filter(id=webhook.id).delete()
    record(WEBHOOK_DELETED, actor=actor, target=_target(webhook), changes={"host": [webhook.host, None]})


@operation(SECRET_ROTATED)
def rotate_secret(*, actor: Actor, webhook_id: UUID) -> NewWebhook:
    """Give a webhook a new secret; the previous one signs beside it for 24 hours. Raises NotFound."""
    actor.require("webhooks.manage")
    webhook = _locked(webhook_id)
    _require_reading(actor, webhook.types)
    secret = signing.new_secret()
    webhook.previous_secret, webhook.previous_until = webhook.secret, now() + OVERLAP
    webhook.secret = tenant_secrets.seal(webhook.tenant_id, SECRET_USE, secret)
    webhook.save(update_fields=["secret", "previous_secret", "previous_until"])
    record(SECRET_ROTATED, actor=actor, target=_target(webhook))
    return NewWebhook(webhook, secret)


@operation(ADDRESS_REVEALED)
def reveal_address(*, actor: Actor, webhook_id: UUID) -> str:
    """Return the whole address of a webhook, which may hold a credential of the receiver. Raises NotFound."""
    actor.require("webhooks.manage")
    webhook = Webhook.objects.filter(id=webhook_id).first()
    if webhook is None:
        raise NotFound
    _require_reading(actor, webhook.types)
    record(ADDRESS_REVEALED, actor=actor, target=_target(webhook))
    return url_of(webhook)


@operation(WEBHOOK_TESTED)
def send_test(*, actor: Actor, webhook_id: UUID) -> WebhookDelivery:
    """Send a test event, once and at once, even to a disabled webhook. Raises NotFound, TooManyTests."""
    actor.require("webhooks.manage")
    webhook = _locked(webhook_id)
    hour = timedelta(hours=1)
    tests = WebhookDelivery.objects.filter(webhook=webhook, type=catalogue.TEST, created_at__gt=DatabaseNow() - hour)
    recent = list(tests.order_by("-created_at").values_list("created_at", flat=True)[:MOST_TESTS_AN_HOUR])
    if len(recent) == MOST_TESTS_AN_HOUR:
        raise TooManyTests(retry_after=max(1, int((recent[-1] + hour - now()).total_seconds())))
    fact = catalogue.Fact(type=catalogue.TEST, kind="webhook", id=webhook.id, path=f"webhooks/{webhook.id}/")
    (delivery,) = publishing.send_to([webhook], fact, forced=True)
    record(WEBHOOK_TESTED, actor=actor, target=_target(webhook))
    return delivery


@operation(DELIVERY_REPLAYED)
def replay(*, actor: Actor, webhook_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Send an ended delivery again, at once, with the same event id; then it is retried as a new one.

    Raises NotFound, DeliveryWaits, PermissionDenied.
    """
    actor.require("webhooks.manage")
    webhook = _locked(webhook_id)
    rows = WebhookDelivery.objects.select_for_update(no_key=True)
    delivery = rows.filter(id=delivery_id, webhook=webhook).first()
    if delivery is None:
        raise NotFound
    _require_reading(actor, [delivery.type])
    if delivery.state == DeliveryState.PENDING:
        raise DeliveryWaits
    delivery.state, delivery.since, delivery.ended_at = DeliveryState.PENDING, now(), None
    delivery.next_at = delivery.since + publishing.WOKEN_FOR
    delivery.save(update_fields=["state", "since", "next_at", "ended_at"])
    publishing.wake([delivery], forced=True)
    target = ("webhook_delivery", delivery.id, f"{delivery.type} to {webhook.name}")
    record(DELIVERY_REPLAYED, actor=actor, target=target)
    return delivery


def check_reading(actor: Actor, webhook_id: UUID) -> None:
    """Raise PermissionDenied unless the actor may read what a webhook receives and was sent. Raises NotFound."""
    sent = WebhookDelivery.objects.filter(webhook=OuterRef("pk")).order_by().values("type").distinct()
    found = Webhook.objects.filter(id=webhook_id).values_list("types", ArraySubquery(sent)).first()
    if found is None:
        raise NotFound
    own, of_deliveries = found
    _require_reading(actor, [*own, *of_deliveries])


def _require_reading(actor: Actor, types: Sequence[str]) -> None:
    """Raise PermissionDenied unless the actor may read the figures of these types: a webhook takes them elsewhere."""
    for permission in sorted(catalogue.reads(types)):
        actor.require(permission)


def _checked(tenant_id: UUID, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the columns for these values; raise `Invalid` naming each wrong one."""
    known = fields.Known([one.name for one in catalogue.types()], "GET /api/v1/webhooks/types/")
    return fields.checked(wanted, known, lambda url: tenant_secrets.seal(tenant_id, URL_USE, url), tenant_id)


def _locked(webhook_id: UUID) -> Webhook:
    webhook = Webhook.objects.select_for_update(no_key=True).filter(id=webhook_id).first()
    if webhook is None:
        raise NotFound
    return webhook


def _save(webhook: Webhook) -> None:
    try:
        with transaction.atomic():
            webhook.save()
    except IntegrityError as taken:
        raise WebhookNameTaken from taken


def _target(webhook: Webhook) -> tuple[str, UUID, str]:
    return ("webhook", webhook.id, webhook.name)
