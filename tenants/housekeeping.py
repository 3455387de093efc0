"""Rows that have served their time: delivered events, old idempotency keys and notifications, expired sessions
and counters."""

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.models import IdempotencyKey, Notification, OutboxMessage
from tenants.scoping import all_tenants

DELIVERED_DAYS = 7
IDEMPOTENCY_DAYS = 30
READ_DAYS, UNREAD_DAYS = 90, 400


def tidy() -> dict[str, int]:
    """Remove what is past its time, of every tenant (control role); return how many rows by kind."""
    with transaction.atomic(), all_tenants("housekeeping serves every tenant"):
        delivered = DatabaseNow() - timedelta(days=DELIVERED_DAYS)
        answered = DatabaseNow() - timedelta(days=IDEMPOTENCY_DAYS)
        read, unread = (DatabaseNow() - timedelta(days=days) for days in (READ_DAYS, UNREAD_DAYS))
        removed = {
            "events": OutboxMessage.objects.filter(delivered_at__lt=delivered).delete()[0],
            "idempotency keys": IdempotencyKey.objects.filter(created_at__lt=answered).delete()[0],
            "notifications": Notification.objects.filter(Q(read_at__lt=read) | Q(created_at__lt=unread)).delete()[0],
            "sessions": Session.objects.filter(expire_date__lt=DatabaseNow()).delete()[0],
        }
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM tenants_ratelimit WHERE expires < clock_timestamp()")
            removed["counters"] = cursor.rowcount
    return removed
