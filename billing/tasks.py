"""Celery tasks of billing: doorbells only; what they do is idempotent."""

from __future__ import annotations

from celery import shared_task

from billing import retention
from billing.usage import partitions


@shared_task(name="billing.ensure_partitions")
def ensure_partitions() -> int:
    """Make the coming months' partitions; ring it daily from the ops queue. Without it the default partition serves."""
    return partitions.ensure_ahead()


@shared_task(name="billing.retention")
def tidy() -> None:
    """Remove quotes and released holds that have served their time."""
    retention.tidy()
