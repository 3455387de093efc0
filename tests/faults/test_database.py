"""kill -9 of PostgreSQL while a child trains: everything recovers and nothing is billed twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, InterfaceError, connection, connections
from django.db.models import Count, Sum
from pytest_django import DjangoDbBlocker

from billing.budgets import budgets
from billing.ledger.ledger import UNHELD
from billing.metering.metering import Interval, accept
from billing.models import BudgetPeriod, LedgerPosting, UsageEvent, UsageKey, UsageRollup
from deploy.local.postgres import DATABASE, Cluster, StartError, random_passwords
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import assert_billed_as_seen, assert_no_overlap, work_cluster
from tests.support import factories
from tests.support.examples import NIGHT
from tests.support.servers import kept_data
from tests.support.waiting import wait_until

KEYS = ("NAME", "USER", "PASSWORD", "HOST", "PORT")


class Server:
    """A durable PostgreSQL of this test alone, which it may kill."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder / "postgres", random_passwords())
        self.log = folder / "postgres.log"
        self.cluster.folder.mkdir()
        assert kept_data.restore(self.cluster.data), "the session's server has kept its migrated data"
        self.cluster.prepare()
        self.process = self.start()
        self.cluster.provision()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it is ready."""
        # Again and again: processes of the killed server hold its memory for a moment.
        return wait_until(self._started, lambda: f"PostgreSQL starts; it says {self.log.read_text()[-2000:]}")

    def _started(self) -> subprocess.Popen[bytes] | None:
        process = self.cluster.start(self.log)
        try:
            self.cluster.wait_ready(process, 60)
        except StartError:
            process.kill()
            process.wait()
            return None
        return process

    def kill(self) -> None:
        """Kill the server's first process with SIGKILL; the others end by themselves."""
        self.process.kill()
        self.process.wait()

    def log_in(self, role: str) -> None:
        """Make Django use a role on this server."""
        connections["default"].close()
        login = (DATABASE, role, self.cluster.passwords[role], str(self.cluster.folder), "")
        connections["default"].settings_dict.update(dict(zip(KEYS, login, strict=True)))

    def environment(self, role: str = "app", **more: Any) -> dict[str, str]:
        """Return the variables of a process with a role on this server."""
        names = {"app": "DATABASE_URL", "control": "DATABASE_CONTROL_URL", "owner": "DATABASE_OWNER_URL"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "PYTEST"))}
        url = self.cluster.url(f"exchequer_{role}")
        return kept | {names[role]: url, "EXCHEQUER_DB_ROLE": role} | {name: str(value) for name, value in more.items()}


@pytest.fixture
def server(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="exq-", dir="/tmp"))
    before = {key: connections["default"].settings_dict[key] for key in KEYS}
    opened = Server(folder)
    with django_db_blocker.unblock():
        opened.log_in("exchequer_app")
        yield opened
        connections["default"].close()
        connections["default"].settings_dict.update(before)
    opened.process.send_signal(signal.SIGQUIT)
    opened.process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def test_training_goes_on_while_the_database_is_killed(server: Server, tmp_path: Path, own_valkey: str) -> None:
    with work_cluster(server.environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=20) as home:
        home.controller()
        home.node()
        steps = 400 if NIGHT else 250
        job_id = home.submit(steps=steps, step_s=0.05)
        home.wait_step(job_id, 10)
        for _ in range(2 if NIGHT else 1):
            server.kill()
            time.sleep(1)  # the outage
            server.process = server.start()
            server.log_in("exchequer_app")
            reached = home.job(job_id).progress["done"]
            wait_until(
                lambda seen=reached: home.job(job_id).final or home.job(job_id).progress["done"] > seen,
                "progress after the kill",
            )
        job = home.wait(job_id)
        assert (job.state, job.result["digest"]) == ("succeeded", digest_of(steps))
        assert len(job.attempts) == 1, "the child outlived the database"
        assert_no_overlap(home.intervals(job_id))
        assert_billed_as_seen(home, job_id, per_kill=0)
        assert home.wait(home.submit(steps=2)).state == "succeeded"
        assert "controller.database_away" in home.log("controller")


@pytest.mark.nightly
def test_a_database_that_stays_away_ends_the_lease_and_the_child(
    server: Server, tmp_path: Path, own_valkey: str
) -> None:
    with work_cluster(server.environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=5) as home:
        home.controller()
        home.node()
        job_id = home.submit(steps=200, step_s=0.05)
        home.wait_step(job_id, 10)
        child = home.child_of(job_id)
        server.kill()
        wait_until(lambda: "attempt.fenced" in home.log("n1"), "the supervisor to give up")
        wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")
        server.process = server.start()
        server.log_in("exchequer_app")
        job = home.wait(job_id)
        assert (job.state, job.result["digest"]) == ("succeeded", digest_of(200))
        assert [run.cause for run in job.attempts] == ["lost", "succeeded"]
        assert_no_overlap(home.intervals(job_id))
        assert float(job.attempts[0].billed_seconds) <= home.truth.seconds(job.attempts[0].id) + 0.05


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.nightly)])
def test_b3_usage_acknowledged_before_a_kill_is_kept_and_repeated_after_it_counts_once(
    server: Server, kills: int
) -> None:
    tenant = factories.make_tenant()
    budget = budgets.create_budget(
        actor=factories.actor_for(tenant), amount=Decimal(10**6), at_limit="notify", alerts=[]
    )
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        moment = now()  # its prices begin with the tenant
    over, sent, repeated = threading.Event(), [list[str]() for _ in range(8)], [0] * 8

    def report(writer: int) -> None:
        number = 0
        while not over.is_set():
            key, number = f"{writer}-{number}", number + 1
            usage = Interval(
                key=key,
                meter="device_seconds",
                resource=f"outside:{writer}",
                project_id=project,
                start=moment,
                end=moment + timedelta(seconds=1),
                dims={"device_class": "cpu", "tier": "on_demand"},
                source="b3",
            )
            while not acknowledged(tenant.id, usage):
                repeated[writer] += 1
                time.sleep(0.05)  # for the server to come back
            sent[writer].append(key)
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(report, number) for number in range(8)]
        for _ in range(kills):
            seen = [len(keys) for keys in sent]
            wait_until(lambda before=seen: all(len(k) > b for k, b in zip(sent, before, strict=True)), "usage of all")
            server.kill()
            server.process = server.start()
        seen = [len(keys) for keys in sent]
        wait_until(lambda: all(len(k) > b for k, b in zip(sent, seen, strict=True)), "usage of all after the kill")
        over.set()
        for writer in writers:
            writer.result()
    server.log_in("exchequer_app")
    accepted = sum(map(len, sent))
    assert sum(repeated) >= kills
    with tenant_scope(tenant.id):
        stored = UsageEvent.objects.aggregate(rows=Count("key_hash", distinct=True), amount=Sum("amount"))
        assert (stored["rows"], UsageKey.objects.count(), UsageEvent.objects.count()) == (accepted,) * 3
        assert stored["amount"] > 0
        sums = UsageRollup.objects.aggregate(events=Sum("events"), amount=Sum("amount"))
        assert sums == {"events": accepted, "amount": stored["amount"]}
        month = BudgetPeriod.objects.get(budget=budget)
        assert (month.held, month.unheld + month.spent) == (0, stored["amount"])
        posted = LedgerPosting.objects.filter(account=UNHELD, pot=month.pk).aggregate(total=Sum("amount"))["total"]
        assert posted == stored["amount"]


def acknowledged(tenant_id: UUID, usage: Interval) -> bool:
    """Send usage once, as a client does that repeats what was not acknowledged; return whether it was."""
    try:
        accept(tenant_id=tenant_id, intervals=[usage])
    except (DatabaseError, InterfaceError):
        connection.close()
        return False
    return True
