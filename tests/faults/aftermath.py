"""What must be true once every job of a run has ended, whatever happened to it meanwhile (J1, J2, J3, J7, J8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from billing.ledger.reconcile import ledger_faults
from billing.models import Hold
from billing.models.holds import OPEN
from billing.reconciling import checking
from compute import queries
from compute.models import Attempt, DeviceHold, Job
from compute.procfs import group_members
from tenants import quotas
from tenants.audit.verify import verify
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OutboxMessage
from tests.faults.chaos import NODES, Chaos
from tests.faults.harness import HEARTBEAT_S, assert_no_overlap
from tests.support.waiting import wait_until

UNBILLED = {"cancelled", "lost", "killed"}
"""Ends by which seconds are left unbilled: at most a heartbeat's, or all after a stopped worker's lease."""


def assert_all_is_well(run: Chaos, right: Callable[[queries.JobDetail, Attempt], None]) -> None:
    """Check every job and what is left over. `right` checks the result that a succeeded attempt made."""
    entries, ends = _entries(run), _ends(run)
    spans = {job_id: run.home.intervals(job_id) for job_id in run.submitted}
    beat = max([timedelta(seconds=HEARTBEAT_S), *(end - start for one in spans.values() for start, end in one)])
    for job_id in run.submitted:
        job = run.home.job(job_id)
        with tenant_scope(run.home.tenant.id):
            attempts = list(Attempt.objects.filter(job_id=job_id).order_by("token"))
        made = [one for one in attempts if one.outcome == "succeeded"]
        assert job.state == ("cancelled" if job_id in run.cancelled else "succeeded"), job
        assert len(made) == (job.state == "succeeded"), "one completion"
        assert ends[str(job_id)] == 1, "one end is announced"
        assert entries[job_id]["compute.job.ended"] + entries[job_id]["compute.job.cancelled"] == 1
        assert sum(entries[one.id]["compute.attempt.ended"] for one in attempts) == len(attempts)
        if made:
            with tenant_scope(run.home.tenant.id):
                right(job, made[0])
        assert_no_overlap(spans[job_id])
        if job.state == "cancelled":
            with tenant_scope(run.home.tenant.id):
                late = Job.objects.get(id=job_id).ended_at + timedelta(seconds=HEARTBEAT_S)
            assert all(end <= late for _, end in spans[job_id]), "no interval after cancel and a heartbeat"
        _assert_billed(run, job, attempts, beat.total_seconds())
    _assert_nothing_is_left(run)


def _assert_billed(run: Chaos, job: queries.JobDetail, attempts: list[Attempt], beat: float) -> None:
    """J2 with the longest heartbeat of this run for a heartbeat: a busy machine sends them late, in the customer's favour."""
    slack = 0.05 + 4 * run.home.truth.lag
    outcomes = {one.id: str(one.outcome) for one in attempts}
    for one in job.attempts:
        truth, billed = run.home.truth.seconds(one.id), float(one.billed_seconds)
        assert billed <= truth + slack, ("too much", truth, billed, slack, one)
        if one.id not in run.stopped:  # its child went on without it
            lost = beat if outcomes[one.id] in UNBILLED else 0
            assert billed >= truth - lost - slack, ("too little", truth, billed, lost, slack, one)
    assert job.billed_seconds == sum(one.billed_seconds for one in job.attempts)
    if job.unit_amount:
        assert job.cost.amount == job.billed_seconds * job.unit_amount


def _entries(run: Chaos) -> dict[UUID, Counter[str]]:
    found: dict[UUID, Counter[str]] = {}
    with tenant_scope(run.home.tenant.id):
        rows = AuditEntry.objects.filter(action__startswith="compute.").values_list("target_id", "action")
        for target, action in rows:
            found.setdefault(UUID(str(target)), Counter())[action] += 1
    return found


def _ends(run: Chaos) -> Counter[str]:
    with tenant_scope(run.home.tenant.id):
        ended = OutboxMessage.objects.filter(topic="compute.JobEnded").values_list("payload", flat=True)
        return Counter(one["job_id"] for one in ended)


def _assert_nothing_is_left(run: Chaos) -> None:
    """No device, money or quota is held, no process and no folder is there, the ledger agrees, and the log verifies."""
    home = run.home
    wait_until(lambda: not set().union(*run.zombies.values()) - home.fenced(), "each zombie to notice")
    wait_until(lambda: not [one for one in home.truth.groups.values() if group_members(one)], "no process is left")
    wait_until(lambda: not [one for name in NODES for one in _folders(run, name)], "no folder is left")
    assert not DeviceHold.objects.exists()
    with tenant_scope(home.tenant.id):
        after = {row["id"]: row for row in Attempt.objects.filter(id__in=run.frozen).values()}
        assert after == run.frozen, "a node that resumes after its lease writes nothing"
        assert not Hold.objects.filter(state=OPEN).exists()
        assert not Job.objects.exclude(hold_id=None).exists()
        in_use = {one.resource: one.in_use for one in quotas.usage() if one.resource.startswith("devices:")}
        assert not any(in_use.values()), in_use
        assert list(ledger_faults()) == []
        assert verify().ok
    assert checking.look(home.tenant.id) == []


def _folders(run: Chaos, name: str) -> list[Any]:
    work = run.home.folder / name / "work" / name
    return list(work.iterdir()) if work.exists() else []
