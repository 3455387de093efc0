"""Reap expired attempts and requeue their jobs: the only place that does. Times are the database's.

A live node may still be unresponsive: its worker may have lost the broker, or have stopped reading from it. So it must
claim in time; otherwise it gets no more work until it answers (`nodes.answer`).
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from billing.budgets import counters
from compute import limits, pg_session
from compute.jobs import transitions
from compute.models import Attempt, AttemptState, Job, Node, Outcome
from compute.queries.capacity import silent_before
from compute.scheduling.assign import CONTROLLER
from tenants.access.actor import Actor
from tenants.audit import operation, unchanged
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import all_tenants

log = structlog.get_logger(__name__)


def reap() -> int:
    """End attempts with an expired lease, and those left unclaimed by their node; return how many."""
    with transaction.atomic(), all_tenants("leases of every tenant expire alike"):
        late = list(_expired().order_by("id").values_list("tenant_id", "job_id", "id", "state", "node_id")[:500])
    ended, unresponsive, session = 0, set(), pg_session.session()
    for tenant_id, job_id, attempt_id, state, node_id in late:
        try:
            one = _end(actor=Actor.system(tenant_id, CONTROLLER), job_id=job_id, attempt_id=attempt_id)
        except Exception:
            if not pg_session.is_same_session(session):
                raise
            log.exception("controller.reaping_failed", attempt=str(attempt_id))  # the others must not wait for it
            continue
        ended += one
        if one and state == AttemptState.ASSIGNED:
            unresponsive.add(node_id)
    _pass_over(unresponsive)
    return ended


def _pass_over(unresponsive: set[UUID]) -> None:
    """Give these nodes no more work until they answer; silent ones get none anyway."""
    if unresponsive and Node.objects.filter(id__in=unresponsive, last_seen_at__gte=silent_before()).update(
        accepting=False
    ):
        log.warning("controller.nodes_left_attempts_unclaimed", nodes=[str(node_id) for node_id in unresponsive])


def _expired() -> QuerySet[Attempt]:
    """Return attempts to reap: claimed ones past their lease, and unclaimed ones.

    Unclaimed ones count if their node was silent for a lease or did not claim for two.
    """
    silent = silent_before()
    overdue = DatabaseNow() - timedelta(seconds=max(2 * settings.EXCHEQUER.lease_s, limits.UNRESPONSIVE_AFTER_S))
    lost = Q(state=AttemptState.RUNNING, lease_until__lt=DatabaseNow())
    gone = Q(node__last_seen_at__lt=silent, assigned_at__lt=silent)
    return Attempt.objects.filter(lost | Q(gone | Q(assigned_at__lt=overdue), state=AttemptState.ASSIGNED))


@operation(transitions.ATTEMPT_ENDED)
def _end(*, actor: Actor, job_id: UUID, attempt_id: UUID) -> int:
    """End one expired attempt, unless it was renewed meanwhile; return 1 if it ended.

    An unclaimed attempt cost the job nothing and is not counted against it. A locked job is left to the next sweep: a worker
    that was stopped within a transaction keeps its lock until the server ends its session, and the others must not wait for it.
    """
    job = Job.objects.select_for_update(skip_locked=True, no_key=True).filter(id=job_id).first()
    if job is None:
        unchanged("it is in use; the next sweep looks again")
        return 0
    counters.lock_budget_set()
    attempt = _expired().select_for_update(of=("self",), no_key=True).filter(id=attempt_id).first()
    if attempt is None:
        unchanged("it was renewed, or ended, meanwhile")
        return 0
    outcome = Outcome.LOST if attempt.state == AttemptState.RUNNING else Outcome.STOPPED
    message = "Its node stopped answering." if outcome == Outcome.LOST else "Its node did not start it."
    transitions.end_attempt(job, attempt, outcome, actor=actor, message=message)
    return 1
