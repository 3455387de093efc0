"""Figures of dispatch: from a committed job to its node and its process, beside bare Celery."""
