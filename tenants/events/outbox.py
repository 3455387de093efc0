"""The outbox: a committed event is delivered at least once, whatever becomes of the broker.

`relay` rings a Celery task for each open message; the ring is a hint and may be lost or doubled.
`deliver` does the work under a row lock. An unanswered ring is repeated after `RING_AGAIN_S`.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Q, Value

from tenants import locks
from tenants.clock import DatabaseNow
from tenants.events import events
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import OutboxMessage

RING_AGAIN_S = 30
MAX_BACKOFF_S = 900
log = structlog.get_logger(__name__)


class DeliveryFailed(Exception):
    """A subscriber failed; the message stays open and is rung again."""


def relay(ring: Callable[[UUID, UUID], None], limit: int = 200) -> int:
    """Ring for up to `limit` open messages, oldest first; return how many were rung.

    Several relays may run: each takes rows that no other holds. A ring that fails is repeated at the next call.
    """
    with transaction.atomic(), all_tenants("the relay serves every tenant"):
        wait = ExpressionWrapper(F("attempts") * Value(timedelta(seconds=RING_AGAIN_S)), output_field=DurationField())
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
    rung = 0
    try:
        for message_id, tenant_id in messages:
            ring(message_id, tenant_id)
            rung += 1
    finally:
        if rung < len(messages):
            with transaction.atomic(), all_tenants("the relay serves every tenant"):
                OutboxMessage.objects.filter(id__in=ids[rung:]).update(rung_at=None, attempts=F("attempts") - 1)
    return rung


def deliver(message_id: UUID, tenant_id: UUID) -> bool:
    """Run the subscribers of one message once; return False when it was delivered before, or another process is at it.

    Raises `DeliveryFailed` after noting the error on the message; nothing a subscriber wrote is kept then.
    """
    try:
        with tenant_scope(tenant_id):
            event = _undelivered(message_id, tenant_id)
            if event is None:
                return False
            if not isinstance(event, events.ExternalEvent):
                _hand_over(event, message_id)
                return True
        return _run_errand(message_id, event)
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("outbox.delivery_failed", message_id=str(message_id))
        with tenant_scope(tenant_id):
            OutboxMessage.objects.filter(id=message_id).update(last_error=f"{type(error).__name__}: {error}"[:2000])
        raise DeliveryFailed(str(message_id)) from error


def is_errand(message_id: UUID, tenant_id: UUID) -> bool:
    """Return whether a message asks for something outside that may take its time."""
    with tenant_scope(tenant_id):
        return OutboxMessage.objects.filter(id=message_id, topic__in=events.errand_topics()).exists()


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


def _run_errand(message_id: UUID, event: events.Event) -> bool:
    """Run the handlers outside any transaction: whoever holds the message's lock is the only one at it.

    A process that dies in between lets go of the lock and leaves the message open, so the errand is run again.
    """
    with locks.alone(f"tenants.errand {message_id}") as mine:
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

    Errands are left to the relay: they speak with the world outside, which whoever drains may not want to wait for.
    """
    delivered = 0
    while True:
        with tenant_scope(tenant_id):
            ids = list(
                OutboxMessage.objects.filter(delivered_at__isnull=True)
                .exclude(topic__in=events.errand_topics())
                .order_by("created_at", "id")
                .values_list("id", flat=True)[:500]
            )
        if not ids:
            return delivered
        delivered += sum(deliver(message_id, tenant_id) for message_id in ids)
