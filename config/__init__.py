"""Wiring: settings, routes, the Celery app. No domain logic."""

import gc

# Before anything else is loaded: a start makes a million objects that stay. Looking for garbage among them is a sixth of
# the start; `ConfigConfig.ready` sets what holds afterwards.
gc.set_threshold(1_000_000, 10, 10)

# Loaded with every process, so that every wake-up goes to the broker of the settings.
from config.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
