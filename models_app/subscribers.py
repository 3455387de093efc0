"""What this room does when another one tells it something."""

from __future__ import annotations

from django.db import transaction

from compute.events import JobEnded
from models_app import doorbells
from tenants.events import subscribe


@subscribe(JobEnded)
def remove_what_the_job_left(event: JobEnded) -> None:
    """Have checkpoints and fenced results of an ended job removed, once its end is committed."""
    transaction.on_commit(lambda: doorbells.ring_remove_job_files(event.job_id, event.tenant_id))
