"""The whole path with real processes: submit, assign, claim, run, bill, end; and a person's actions meanwhile."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import connection
from django.db.models import Sum

from billing.budgets import budgets
from billing.models import BudgetPeriod, UsageRollup
from billing.queries import billed_attempts
from compute import queries
from compute.jobs import jobs
from compute.models import Attempt, DeviceHold, DeviceHour
from compute.procfs import group_members
from tenants import quotas
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import HEARTBEAT_S, WorkCluster, assert_billed_as_seen, assert_no_overlap, work_cluster
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

pytestmark = pytest.mark.xdist_group("path of a job")


@pytest.fixture(scope="module")
def running(
    process_environment: Callable[..., dict[str, str]],
    django_db_setup: Callable[[], None],
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_of_module: str,
) -> Iterator[WorkCluster]:
    """One controller and one node for all tests here, on a database that is emptied after the last."""
    folder = tmp_path_factory.mktemp("path")
    # Nobody is killed here: no pause of a busy machine may cost an attempt its lease.
    with django_db_blocker.unblock():
        with work_cluster(process_environment, folder, valkey_of_module, EXCHEQUER_LEASE_S=30) as opened:
            opened.controller()
            opened.node()
            yield opened
        django_db_setup()


@pytest.fixture
def home(running: WorkCluster) -> WorkCluster:
    """What runs, with a new tenant that knows nothing of the tests before."""
    if any(process.poll() is not None for process in running.processes[-1:]):
        running.node()
    running.truth.lag = 0.0
    running.use_new_tenant()
    return running


def assert_nothing_is_kept(home: WorkCluster) -> None:
    wait_until(lambda: not DeviceHold.objects.exists(), "devices to be free")
    with tenant_scope(home.tenant.id):
        assert all(use.in_use == 0 for use in quotas.usage() if use.period == quotas.AT_ONCE)


def test_a_job_runs_to_its_end_and_every_second_is_billed(home: WorkCluster) -> None:
    job_id = home.submit(steps=20, step_s=0.1)
    job = home.wait(job_id)
    assert (job.state, job.result["digest"]) == ("succeeded", digest_of(20))
    assert_billed_as_seen(home, job_id, per_kill=0)
    assert job.cost.amount == job.billed_seconds * job.unit_amount > 0
    assert 0 < (job.attempts[0].startup_s or 0) < job.billed_seconds, "its start-up is measured apart"
    assert_no_overlap(home.intervals(job_id))
    with tenant_scope(home.tenant.id):
        assert [point.step for point in queries.metrics(job_id)] == list(range(1, 21))
        assert "step 20" in [line.line for line in queries.logs_after(job_id)]
        acts = list(
            AuditEntry.objects.filter(action__startswith="compute.").order_by("seq").values_list("action", flat=True)
        )
    assert acts == ["compute.job.submitted", "compute.job.started", "compute.attempt.ended", "compute.job.ended"]
    assert_nothing_is_kept(home)


def test_a_hostile_job_cannot_escape_the_real_worker(home: WorkCluster, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another tenant's file")
    database = Path(connection.settings_dict["HOST"]) / ".s.PGSQL.5432"
    assert database.is_socket()
    job = home.wait(home.submit(kind="canary", port=1, socket=str(database), secret=str(tmp_path / "secret")))
    assert job.state == "succeeded", job.message
    assert len(job.result["blocked"]) == 66
    assert [name for name, blocked in job.result["blocked"].items() if not blocked] == []


def test_a_node_keeps_its_connections_from_job_to_job(home: WorkCluster, superuser: psycopg.Connection) -> None:
    seen: list[set[int]] = []
    for _ in range(5):
        job_id = home.submit(steps=5)
        home.wait_step(job_id, 1)
        rows = superuser.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'exchequer_node_%'"
        )
        seen.append({pid for (pid,) in rows})
        home.wait(job_id)
    first, *others = seen
    assert first
    assert len(set().union(*others) - first) <= 2, "two more threads, since a node has one more than devices"


def test_a_node_runs_as_many_jobs_as_it_has_devices(home: WorkCluster) -> None:
    together = [home.submit(steps=1000), home.submit(steps=1000)]
    for job_id in together:
        home.wait_step(job_id, 3)
    assert sorted(home.job(job_id).attempts[0].device[:5] for job_id in together) == ["CPU 0", "CPU 1"]
    for job_id in together:
        jobs.cancel(actor=home.actor, job_id=job_id)
        wait_until(lambda one=job_id: home.job(one).attempts[0].state == "ended", "the end")
    assert_nothing_is_kept(home)


def test_a_paused_job_resumes_from_its_checkpoint(home: WorkCluster) -> None:
    job_id = home.submit(steps=40, step_s=0.1, every=1000)
    home.wait_step(job_id, 5)
    jobs.pause(actor=home.actor, job_id=job_id)
    wait_until(lambda: home.job(job_id).attempts[0].state == "ended", "the attempt to end")
    paused = home.job(job_id)
    assert (paused.state, paused.cause, paused.has_checkpoint, paused.attempts[0].cause) == (
        "paused",
        "user",
        True,
        "paused",
    )
    assert_nothing_is_kept(home)
    jobs.resume(actor=home.actor, job_id=job_id)
    job = home.wait(job_id)
    assert (job.state, job.result["digest"]) == ("succeeded", digest_of(40))
    assert job.result["resumed_at"] >= 5
    assert_billed_as_seen(home, job_id, per_kill=0)
    assert_nothing_is_kept(home)


def test_b11_a_budget_lowered_under_a_running_job_pauses_it_with_a_checkpoint_that_loads(home: WorkCluster) -> None:
    budget = budgets.create_budget(actor=home.actor, amount=Decimal(1000), at_limit="stop_running")
    job_id = home.submit(steps=100, step_s=0.1, every=1000)
    home.wait_step(job_id, 5)
    spent = home.job(job_id).cost.amount
    assert spent > 0
    lowered = (spent + home.job(job_id).unit_amount).quantize(Decimal("0.000001"))
    budgets.change_budget(actor=home.actor, budget_id=budget.id, amount=lowered)
    paused = home.wait(job_id, "paused")
    assert (paused.cause, paused.has_checkpoint) == ("budget", True)
    wait_until(lambda: home.job(job_id).attempts[0].state == "ended", "the attempt to end")
    with tenant_scope(home.tenant.id):
        month = BudgetPeriod.objects.get(budget=budget)
        used = UsageRollup.objects.aggregate(total=Sum("amount"))["total"]
        assert (month.held, month.spent) == (0, used)
        assert spent <= used <= lowered, "overspend is 0"
    budgets.change_budget(actor=home.actor, budget_id=budget.id, amount=Decimal(1000))
    jobs.resume(actor=home.actor, job_id=job_id)
    job = home.wait(job_id)
    assert (job.state, job.result["digest"]) == ("succeeded", digest_of(100))
    assert job.result["resumed_at"] >= 5
    assert_nothing_is_kept(home)


def assert_cancel_wins(home: WorkCluster, wait: float) -> None:
    job_id = home.submit(steps=2000, step_s=0.05, stubborn=True)
    time.sleep(wait)  # to cancel it at any moment of its life
    jobs.cancel(actor=home.actor, job_id=job_id)
    with tenant_scope(home.tenant.id):
        cancelled_at = now()
    assert home.job(job_id).state == "cancelled"
    runs = home.job(job_id).attempts
    wait_until(lambda: all(run.state == "ended" for run in home.job(job_id).attempts), "the attempt to end")
    groups = [home.truth.groups[str(run.id)] for run in runs if str(run.id) in home.truth.groups]
    assert [members for group in groups if (members := group_members(group))] == []
    assert all(end <= cancelled_at + timedelta(seconds=HEARTBEAT_S) for _, end in home.intervals(job_id))
    assert home.job(job_id).state == "cancelled"
    assert_nothing_is_kept(home)


def test_cancel_wins_and_leaves_no_process(home: WorkCluster) -> None:
    for wait in (0.0, 0.02, 0.3, 1.5):
        assert_cancel_wins(home, wait)


@pytest.mark.nightly
def test_cancel_wins_at_fifty_random_instants(home: WorkCluster) -> None:
    chance = random.Random(8)
    for _ in range(50):
        assert_cancel_wins(home, chance.uniform(0, 2))


def test_the_time_limit_saves_a_checkpoint_and_fails_the_job(home: WorkCluster) -> None:
    job = home.wait(home.submit(steps=1000, step_s=0.1, every=1000, max_seconds=2))
    assert (job.state, job.cause, job.has_checkpoint) == ("failed", "time_limit", True)
    assert 2 <= job.billed_seconds <= Decimal("2.6") + 4 * Decimal(home.truth.lag)
    assert_nothing_is_kept(home)


def test_the_cost_limit_is_never_passed(home: WorkCluster) -> None:
    limit = Decimal("0.0035")  # seven seconds of a CPU device, of which the last five are kept for the stop
    job = home.wait(home.submit(steps=1000, step_s=0.1, every=1000, max_cost=limit))
    assert (job.state, job.cause, job.has_checkpoint) == ("failed", "cost_limit", True)
    assert 0 < job.cost.amount <= limit
    assert_nothing_is_kept(home)


def test_the_users_own_fault_is_shown_and_ends_the_job(home: WorkCluster) -> None:
    job = home.wait(home.submit(exit=65))
    assert (job.state, job.cause, job.message) == ("failed", "user_error", "the spec asks for this exit")
    assert len(job.attempts) == 1


def test_a_job_that_crashes_three_times_is_poison(home: WorkCluster) -> None:
    job = home.wait(home.submit(exit=3))
    assert (job.state, job.cause) == ("failed", "poison")
    assert [run.cause for run in job.attempts] == ["crashed"] * 3
    assert_nothing_is_kept(home)


def test_a_job_on_two_devices_runs_a_rank_on_each_and_pays_for_both(home: WorkCluster) -> None:
    job = home.wait(home.submit(steps=10, step_s=0.1, devices=2))
    assert (job.state, job.result["digest"]) == ("succeeded", digest_of(10))
    with tenant_scope(home.tenant.id):
        (attempt,) = Attempt.objects.filter(job_id=job.id)
        billed = billed_attempts([attempt.id])[attempt.id]
        assert billed.measured == 2 * attempt.measured_s > 2
        assert {hour.rank for hour in DeviceHour.objects.filter(attempt_id=attempt.id)} == {0, 1}
    assert_nothing_is_kept(home)


def test_a_worker_that_is_asked_to_stop_puts_its_job_back_with_a_checkpoint(home: WorkCluster) -> None:
    job_id = home.submit(steps=60, step_s=0.1, every=1000)
    home.wait_step(job_id, 5)
    worker = home.processes[-1]
    started = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.wait(20)
    assert time.monotonic() - started < 10
    job = home.job(job_id)
    assert (job.state, job.has_checkpoint, job.attempts[0].cause) == ("queued", True, "stopped")
    home.node()
    job = home.wait(job_id)
    assert (job.state, job.result["digest"], len(job.attempts)) == ("succeeded", digest_of(60), 2)
    assert_billed_as_seen(home, job_id, per_kill=0)
