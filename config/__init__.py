"""Wiring: settings, routes, the Celery app. No domain logic."""

# Loaded with every process, so that every wake-up goes to the broker of the settings.
from config.celery import app as celery_app

__all__ = ["celery_app"]
