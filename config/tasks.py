"""Celery tasks of the wiring."""

from celery import shared_task

from config.monitoring import metrics


@shared_task(name="config.figures")
def take_figures() -> None:
    """Take the figures that /metrics answers; the controller's schedule rings it."""
    metrics.take()
