"""Doorbells of the tenancy room."""

from uuid import UUID

from celery import shared_task

from tenants import outbox


@shared_task(name="tenants.deliver")
def deliver(message_id: str, tenant_id: str) -> None:
    """Deliver one outbox message."""
    outbox.deliver(UUID(message_id), UUID(tenant_id))


def ring(message_id: UUID, tenant_id: UUID) -> None:
    """Ask an ops worker to deliver a message; raises when the broker is away."""
    deliver.delay(str(message_id), str(tenant_id))
