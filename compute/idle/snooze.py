"""Snooze the stop of an idle job: by its person, for a reason, for hours, and not without end."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from compute.jobs.jobs import own_job
from compute.models import Attempt, AttemptState
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import now
from tenants.errors import Conflict, Invalid

SNOOZED = AuditAction("compute.job.idle_snoozed")
MOST_HOURS = 24
MOST_SNOOZES = 3
REASON_CHARS = 500


class JobNotIdle(Conflict):
    """This job has no idle warning, so there is nothing to snooze."""

    code = "job_not_idle"


class SnoozedOut(Conflict):
    """This attempt was snoozed three times already. Put the devices to work, or pause the job."""

    code = "snoozed_out"


@operation(SNOOZED)
def snooze(*, actor: Actor, job_id: UUID, hours: int, reason: str) -> None:
    """Let an idle job keep its devices for `hours` from now, 1 to 24; three times an attempt.

    Raises NotFound, Invalid, JobNotIdle, SnoozedOut.
    """
    job = own_job(actor, job_id, "jobs.cancel")
    if not 1 <= hours <= MOST_HOURS:
        raise Invalid(fields={"hours": [f"Snooze for 1 to {MOST_HOURS} hours."]})
    said = reason.strip()
    if not 0 < len(said) <= REASON_CHARS:
        raise Invalid(fields={"reason": [f"Say why, in at most {REASON_CHARS} characters."]})
    rows = Attempt.objects.filter(job_id=job.id, idle_since__isnull=False, stops_as="")
    attempt = rows.exclude(state=AttemptState.ENDED).select_for_update(no_key=True).first()
    if attempt is None or attempt.idle_stop_at is None:
        raise JobNotIdle
    if attempt.snoozes >= MOST_SNOOZES:
        raise SnoozedOut
    until = now() + timedelta(hours=hours)
    Attempt.objects.filter(id=attempt.id).update(idle_stop_at=until, snoozes=attempt.snoozes + 1, snooze_reason=said)
    shown = {"idle_stop_at": [attempt.idle_stop_at.isoformat(), until.isoformat()]}
    record(SNOOZED, actor=actor, target=("job", job.id, job.name), changes=shown, reason=said)
