"""The Celery app: wake-ups only. PostgreSQL holds the work, so no result backend, no ETA, no chord, no beat."""

from typing import Any

import structlog
from celery import Celery
from celery.signals import celeryd_init, heartbeat_sent, task_postrun, task_prerun
from django.db import close_old_connections, connections

from compute import liveness
from config.env import use_django_settings

use_django_settings()

app = Celery("exchequer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@celeryd_init.connect
def refuse_unsafe_role(**_: Any) -> None:
    """Check the database role and the master key before the worker starts.

    A node works for one tenant at a time, ops for all.
    """
    from django.conf import settings

    from tenants import checks

    checks.refuse_unsafe_role(one_tenant=settings.EXCHEQUER.db_role == "app")
    checks.refuse_wrong_master_key()


@task_prerun.connect
def begin_logging(task: Any, **_: Any) -> None:
    """Put the task's name into its logs, and clear what an earlier task left on the thread."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name)


@task_prerun.connect
def renew_connections(task: Any, **_: Any) -> None:
    """Let a task go on with its thread's connection to the database if it still works and is not old."""
    if not task.request.is_eager:
        close_old_connections()


@task_postrun.connect
def drop_connections(task: Any, state: str | None = None, **_: Any) -> None:
    """Close the connections of a failed task: whatever it left in its session, such as a lock, ends with it."""
    if state != "SUCCESS" and not task.request.is_eager:
        connections.close_all()


@heartbeat_sent.connect
def show_life(**_: Any) -> None:
    """Show that the worker still consumes: it sends a heartbeat every few seconds while it is connected to the broker."""
    liveness.beat("worker")
