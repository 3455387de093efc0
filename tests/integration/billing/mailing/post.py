"""The ops worker of these tests: it delivers what waits, emails too."""

from __future__ import annotations

from tenants.events import events, outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage, Tenant
from tests.support import selling

BILLING = "billing@acme.example"


def deliver(*tenants: Tenant) -> int:
    """Deliver what waits, external events too, as the ops worker does; return how many failed."""
    failed = 0
    with selling.role("exchequer_control"):
        for tenant in tenants:
            outbox.drain(tenant.id)
            with tenant_scope(tenant.id):
                topics = events.external_topics()
                rows = OutboxMessage.objects.filter(delivered_at=None, topic__in=topics)
                waiting = list(rows.order_by("created_at").values_list("id", flat=True))
            for message in waiting:
                try:
                    outbox.deliver(message, tenant.id)
                except outbox.DeliveryFailed:
                    failed += 1
    return failed
