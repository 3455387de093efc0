"""Celery tasks of billing: wake-ups only, idempotent."""

from __future__ import annotations

from celery import shared_task

from billing import retention
from billing.usage import partitions


@shared_task(name="billing.ensure_partitions")
def ensure_partitions() -> int:
    """Create the coming months' partitions; scheduled daily. Without it the default partition is used."""
    return partitions.ensure_ahead()


@shared_task(name="billing.retention")
def purge_expired() -> None:
    """Remove expired quotes and released holds."""
    retention.purge_expired()
