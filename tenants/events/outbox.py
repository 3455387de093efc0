"""The outbox: a committed event is delivered at least once, whatever happens to the broker.

`relay` wakes a Celery task for each open message; the wake-up is a hint and may be lost or repeated. `deliver` does the
work under a row lock. An unanswered wake-up is repeated after `WAKE_AGAIN_S`.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Q, Value

from tenants.clock import DatabaseNow
from tenants.events import events
from tenants.isolation import locks
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import OutboxMessage

WAKE_AGAIN_S = 30
MAX_BACKOFF_S = 900
log = structlog.get_logger(__name__)


class DeliveryFailed(Exception):
    """A subscriber failed; the message stays open and is retried."""


def relay(wake: Callable[[UUID, UUID], None], limit: int = 200) -> int:
    """Send wake-ups for up to `limit` open messages, oldest first; return how many were sent.

    Several relays may run: each takes rows that no other has locked. A failed wake-up is repeated at the next call.
    """
    with transaction.atomic(), all_tenants("the relay serves every tenant"):
        wait = ExpressionWrapper(F("attempts") * Value(timedelta(seconds=WAKE_AGAIN_S)), output_field=DurationField())
        due = (
            Q(rung_at__isnull=True)
            | Q(rung_at__lt=DatabaseNow() - wait)
            | Q(rung_at__lt=DatabaseNow() - timedelta(seconds=MAX_BACKOFF_S))
        )
        messages = list(
            OutboxMessage.objects.filter(due, delivered_at__isnull=True)
            .order_by("created_at")
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("id", "tenant_id")[:limit]
        )
        ids = [message_id for message_id, _ in messages]
        OutboxMessage.objects.filter(id__in=ids).update(rung_at=DatabaseNow(), attempts=F("attempts") + 1)
    sent = 0
    try:
        for message_id, tenant_id in messages:
            wake(message_id, tenant_id)
            sent += 1
    finally:
        if sent < len(messages):
            with transaction.atomic(), all_tenants("the relay serves every tenant"):
                OutboxMessage.objects.filter(id__in=ids[sent:]).update(rung_at=None, attempts=F("attempts") - 1)
    return sent


def deliver(message_id: UUID, tenant_id: UUID) -> bool:
    """Run the subscribers of one message once.

    Returns False if it was delivered before, or another process is delivering it. Raises `DeliveryFailed` after
    recording the error on the message; a subscriber's writes are rolled back.
    """
    try:
        with tenant_scope(tenant_id):
            event = _undelivered(message_id, tenant_id)
            if event is None:
                return False
            if not isinstance(event, events.ExternalEvent):
                _hand_over(event, message_id)
                return True
        return _run_external(message_id, event)
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("outbox.delivery_failed", message_id=str(message_id))
        with tenant_scope(tenant_id):
            OutboxMessage.objects.filter(id=message_id).update(last_error=f"{type(error).__name__}: {error}"[:2000])
        raise DeliveryFailed(str(message_id)) from error


def kind_of(message_id: UUID, tenant_id: UUID) -> type[events.Event]:
    """Return the class of a message: `Event`, `ExternalEvent` (may take long) or `SlowEvent` (its server is a tenant's)."""
    with tenant_scope(tenant_id):
        topic = OutboxMessage.objects.filter(id=message_id).values_list("topic", flat=True).first()
    if topic in events.slow_topics():
        return events.SlowEvent
    return events.ExternalEvent if topic in events.external_topics() else events.Event


def _undelivered(message_id: UUID, tenant_id: UUID) -> events.Event | None:
    message = (
        OutboxMessage.objects.select_for_update(no_key=True).filter(id=message_id, delivered_at__isnull=True).first()
    )
    return events.load(message.topic, tenant_id, message.payload) if message else None


def _hand_over(event: events.Event, message_id: UUID) -> None:
    for handler in events.handlers(type(event)):
        handler(event)
    _mark_delivered(message_id)


def _mark_delivered(message_id: UUID) -> None:
    OutboxMessage.objects.filter(id=message_id).update(delivered_at=DatabaseNow(), last_error="")


def _run_external(message_id: UUID, event: events.Event) -> bool:
    """Run the handlers outside any transaction, in the one process that holds the message's lock.

    A process that dies in between loses the lock and leaves the message open, so the handlers run again.
    """
    with locks.alone(f"tenants.external {message_id}") as mine:
        if not mine:
            return False
        with tenant_scope(event.tenant_id):
            if _undelivered(message_id, event.tenant_id) is None:
                return False
        for handler in events.handlers(type(event)):
            handler(event)
        with tenant_scope(event.tenant_id):
            _mark_delivered(message_id)
    return True


def drain(tenant_id: UUID) -> int:
    """Deliver all open messages of one tenant in this process, also those that deliveries publish; return how many.

    External events are left to the relay, because outside servers may take long.
    """
    delivered = 0
    while True:
        with tenant_scope(tenant_id):
            ids = list(
                OutboxMessage.objects.filter(delivered_at__isnull=True)
                .exclude(topic__in=events.external_topics())
                .order_by("created_at", "id")
                .values_list("id", flat=True)[:500]
            )
        if not ids:
            return delivered
        delivered += sum(deliver(message_id, tenant_id) for message_id in ids)
