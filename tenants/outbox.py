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

from tenants import events
from tenants.clock import DatabaseNow
from tenants.models import OutboxMessage
from tenants.scoping import all_tenants, tenant_scope

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
            .select_for_update(skip_locked=True)
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
    """Run the subscribers of one message once; return False when it was delivered before.

    Raises `DeliveryFailed` after noting the error on the message; nothing a subscriber wrote is kept then.
    """
    try:
        with tenant_scope(tenant_id):
            message = OutboxMessage.objects.select_for_update().filter(id=message_id, delivered_at__isnull=True).first()
            if message is None:
                return False
            event = events.load(message.topic, tenant_id, message.payload)
            for handler in events.handlers(type(event)):
                handler(event)
            OutboxMessage.objects.filter(id=message_id).update(delivered_at=DatabaseNow(), last_error="")
            return True
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("outbox.delivery_failed", message_id=str(message_id))
        with tenant_scope(tenant_id):
            OutboxMessage.objects.filter(id=message_id).update(last_error=f"{type(error).__name__}: {error}"[:2000])
        raise DeliveryFailed(str(message_id)) from error


def drain(tenant_id: UUID) -> int:
    """Deliver all open messages of one tenant in this process, also those that deliveries publish; return how many."""
    delivered = 0
    while True:
        with tenant_scope(tenant_id):
            ids = list(
                OutboxMessage.objects.filter(delivered_at__isnull=True)
                .order_by("created_at", "id")
                .values_list("id", flat=True)[:500]
            )
        if not ids:
            return delivered
        delivered += sum(deliver(message_id, tenant_id) for message_id in ids)
