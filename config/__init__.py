"""Wiring: settings, routes, the Celery app. Nothing here decides anything."""

# Loaded with every process, so that a doorbell rung anywhere goes to the broker of the settings.
from config.celery import app as celery_app

__all__ = ["celery_app"]
