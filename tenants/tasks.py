"""Doorbells of the tenancy room."""

from uuid import UUID

from celery import shared_task

from tenants import cleanup
from tenants.events import outbox
from tenants.events.external_work import EXTERNAL
from tenants.operators import tenant_metrics


@shared_task(name="tenants.deliver")
def deliver(message_id: str, tenant_id: str) -> None:
    """Deliver one outbox message; an errand aside, so that a server outside that hangs holds no worker's thread."""
    message, tenant = UUID(message_id), UUID(tenant_id)
    if outbox.is_errand(message, tenant):
        EXTERNAL.put(message, lambda: outbox.deliver(message, tenant))
    else:
        outbox.deliver(message, tenant)


@shared_task(name="tenants.housekeeping")
def tidy() -> None:
    """Remove rows that have served their time."""
    cleanup.purge_expired()


@shared_task(name="tenants.digests")
def refresh_digests() -> None:
    """Bring the figures that operators see of each tenant up to date."""
    tenant_metrics.refresh()


def wake_delivery(message_id: UUID, tenant_id: UUID) -> None:
    """Ask an ops worker to deliver a message; raises when the broker is away."""
    deliver.delay(str(message_id), str(tenant_id))
