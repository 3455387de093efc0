"""Wiring: settings, routes, the Celery app. Nothing here decides anything."""
