"""Return expired attempts' jobs to the queue: the only place that does. Times are the database's."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from billing import counters
from compute import transitions, wire
from compute.models import Attempt, AttemptState, Outcome
from compute.scheduling.assign import CONTROLLER
from tenants.actor import Actor
from tenants.audit import operation, unchanged
from tenants.clock import DatabaseNow
from tenants.scoping import all_tenants

log = structlog.get_logger(__name__)


def reap() -> int:
    """End attempts whose lease ran out, and unclaimed ones whose node is gone; return how many."""
    with transaction.atomic(), all_tenants("leases of every tenant expire alike"):
        late = list(_expired().values_list("tenant_id", "job_id", "id")[:500])
    ended, session = 0, wire.session()
    for tenant_id, job_id, attempt_id in late:
        try:
            ended += _end(actor=Actor.system(tenant_id, CONTROLLER), job_id=job_id, attempt_id=attempt_id)
        except Exception:
            if not wire.lives(session):
                raise
            log.exception("controller.reaping_failed", attempt=str(attempt_id))  # the others shall not wait for it
    return ended


def _expired() -> QuerySet[Attempt]:
    """Claimed attempts past their lease; unclaimed ones whose node was not seen for a lease."""
    silent = DatabaseNow() - timedelta(seconds=max(settings.EXCHEQUER.lease_s, 2 * settings.EXCHEQUER.heartbeat_s))
    lost = Q(state=AttemptState.RUNNING, lease_until__lt=DatabaseNow())
    unclaimed = Q(state=AttemptState.ASSIGNED, node__last_seen_at__lt=silent, assigned_at__lt=silent)
    return Attempt.objects.filter(lost | unclaimed)


@operation(transitions.ATTEMPT_ENDED)
def _end(*, actor: Actor, job_id: UUID, attempt_id: UUID) -> int:
    """End one expired attempt, unless it was renewed meanwhile; return 1 if it ended.

    An attempt that was never claimed cost the job nothing and is not counted against it.
    """
    job = transitions.lock(job_id)
    counters.pin_set()
    attempt = _expired().select_for_update(of=("self",), no_key=True).filter(id=attempt_id).first()
    if job is None or attempt is None:
        unchanged("it was renewed, or ended, meanwhile")
        return 0
    outcome = Outcome.LOST if attempt.state == AttemptState.RUNNING else Outcome.STOPPED
    message = "Its node stopped answering." if outcome == Outcome.LOST else "Its node went away before it began."
    transitions.end_attempt(job, attempt, outcome, actor=actor, message=message)
    return 1
