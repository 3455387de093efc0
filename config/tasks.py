"""Celery tasks of the wiring."""

from celery import shared_task

from config.monitoring import metrics


@shared_task(name="config.figures")
def take_figures() -> None:
    """Collect the figures for /metrics; scheduled by the controller."""
    metrics.take()
