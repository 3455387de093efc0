"""Removal of expired rows.

Those are delivered events, old idempotency keys, notifications and credentials, expired sessions and counters.
"""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import (
    ApiKey,
    Credential,
    IdempotencyKey,
    Invitation,
    LogInAttempt,
    Notification,
    OperatorIdempotencyKey,
    OperatorKey,
    OperatorSession,
    OutboxMessage,
    PlatformDelivery,
    PlatformEvent,
    ScimToken,
    Session,
    Tenant,
    UsedAssertion,
)

DELIVERED_DAYS = 7
PLATFORM_EVENT_DAYS, PLATFORM_DELIVERY_DAYS = 90, 30
IDEMPOTENCY_DAYS = 30
READ_DAYS, UNREAD_DAYS = 90, 400
CREDENTIAL_DAYS = 90
ATTEMPT_DAYS = 1


def purge_expired() -> dict[str, int]:
    """Remove expired rows of every tenant (control role); return how many by kind."""
    with transaction.atomic(), all_tenants("housekeeping serves every tenant"):
        delivered = DatabaseNow() - timedelta(days=DELIVERED_DAYS)
        answered = DatabaseNow() - timedelta(days=IDEMPOTENCY_DAYS)
        read, unread = (DatabaseNow() - timedelta(days=days) for days in (READ_DAYS, UNREAD_DAYS))
        ended = DatabaseNow() - timedelta(days=CREDENTIAL_DAYS)
        removed = {
            "events": OutboxMessage.objects.filter(delivered_at__lt=delivered).delete()[0],
            "idempotency keys": sum(
                kind._default_manager.filter(created_at__lt=answered).delete()[0]
                for kind in (IdempotencyKey, OperatorIdempotencyKey)
            ),
            "notifications": Notification.objects.filter(Q(read_at__lt=read) | Q(created_at__lt=unread)).delete()[0],
            "sessions": sum(
                kind.objects.filter(expire_date__lt=DatabaseNow()).delete()[0] for kind in (Session, OperatorSession)
            ),
            "operators' keys": OperatorKey.objects.filter(Q(revoked_at__lt=ended) | Q(expires_at__lt=ended)).delete()[
                0
            ],
        }
        removed |= _platform_events()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM tenants_ratelimit WHERE expires < clock_timestamp()")
            removed["counters"] = cursor.rowcount
    removed |= {"invitations": 0, "SCIM tokens": 0, "API keys": 0, "log-ins by providers": 0}
    over = DatabaseNow() - timedelta(days=ATTEMPT_DAYS)
    with sweep("ended credentials") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            # Credentials are visible only in their tenant's scope, even to the control role.
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                removed["invitations"] += remove_ended(Invitation)
                removed["SCIM tokens"] += remove_ended(ScimToken)
                removed["API keys"] += remove_ended(ApiKey)
                for kind in (LogInAttempt, UsedAssertion):
                    removed["log-ins by providers"] += kind.objects.filter(expires_at__lt=over).delete()[0]
    return removed


def _platform_events() -> dict[str, int]:
    old = DatabaseNow() - timedelta(days=PLATFORM_DELIVERY_DAYS)
    ended = PlatformDelivery.objects.filter(created_at__lt=old, ended_at__isnull=False)
    events = PlatformEvent.objects.filter(created_at__lt=DatabaseNow() - timedelta(days=PLATFORM_EVENT_DAYS))
    return {"platform deliveries": ended.delete()[0], "platform events": events.delete()[0]}


def remove_ended(kind: type[Credential]) -> int:
    """Remove the credentials of a kind that ended 90 days ago, in the open scope; return how many rows.

    A key stays while a credential that it created exists.
    """
    before = DatabaseNow() - timedelta(days=CREDENTIAL_DAYS)
    ended = kind.objects.filter(Q(revoked_at__lt=before) | Q(expires_at__lt=before))
    if kind is ApiKey:
        for made in Credential.__subclasses__():
            ended = ended.exclude(Exists(made._base_manager.filter(parent_key=OuterRef("pk"))))
    return ended.delete()[0]
