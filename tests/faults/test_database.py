"""kill -9 of PostgreSQL while a child trains: everything recovers and nothing is billed twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from deploy.local.postgres import DATABASE, Cluster, StartError, random_passwords
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import assert_billed_as_seen, assert_no_overlap, work_cluster
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
        names = {"app": "DATABASE_URL", "control": "DATABASE_CONTROL_URL"}
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
        job_id = home.submit(steps=400, step_s=0.05)
        home.wait_step(job_id, 10)
        for _ in range(2):
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
        assert (job.state, job.result["digest"]) == ("succeeded", digest_of(400))
        assert len(job.attempts) == 1, "the child outlived the database"
        assert_no_overlap(home.intervals(job_id))
        assert_billed_as_seen(home, job_id, per_kill=0)
        assert home.wait(home.submit(steps=2)).state == "succeeded"
        assert "controller.database_away" in home.log("controller")


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
