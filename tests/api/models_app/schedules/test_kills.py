"""Controllers that are killed between the launch of a tick, its note, and the first step: real processes, real transactions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from compute.models import Job
from models_app.models import PipelineRun, Schedule
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.api.models_app.schedules.world import World
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nightly]
ROOT = Path(__file__).resolve().parents[4]
ROUND = "import django; django.setup(); from models_app import tasks; tasks.fire_schedules(); tasks.advance_pipelines()"
HERE = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
WAITING = f"SELECT pid FROM pg_locks WHERE relation = %s::regclass AND NOT granted AND {HERE}"
WRITTEN = "SELECT count(*) FROM pg_locks WHERE pid = %s AND relation = %s::regclass AND mode = 'RowExclusiveLock'"
LIVES = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"


class Rounds:
    """Rounds of a controller, each a process of its own, over one schedule that is due now and then not for a year."""

    def __init__(self, environment: dict[str, str], launches: str) -> None:
        self.environment, self.world = environment, World()
        self.tick = now().replace(second=0, microsecond=0)
        cron = f"{self.tick.minute} {self.tick.hour} {self.tick.day} {self.tick.month} *"
        target = {"pipeline": str(self.world.pipeline.id)} if launches == "pipeline" else {}
        self.schedule = self.world.save(cron=cron, zone="UTC", **target)
        with tenant_scope(self.world.tenant.id):
            Schedule.objects.filter(id=self.schedule).update(next_at=self.tick)
            self.before = Job.objects.count(), PipelineRun.objects.count()

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", ROUND], cwd=ROOT, env=self.environment)

    def go(self) -> None:
        assert self.start().wait(timeout=120) == 0

    def made(self) -> tuple[int, int, list[str]]:
        """Return the new jobs and runs of pipelines, and the outcome of each tick."""
        with tenant_scope(self.world.tenant.id):
            jobs, runs = Job.objects.count(), PipelineRun.objects.count()
        outcomes = [outcome for _, outcome in self.world.runs(self.schedule)]
        return jobs - self.before[0], runs - self.before[1], outcomes


def killed_at(rounds: Rounds, superuser: psycopg.Connection, held: str, wrote: str) -> None:
    """Kill a round that waits to write `held`, after it has written `wrote` in the same transaction if that is named."""

    def waiting() -> Any:
        return superuser.execute(WAITING, [held]).fetchone()

    with superuser.transaction():
        superuser.execute(f"LOCK TABLE {held} IN SHARE MODE")
        process = rounds.start()
        wait_until(waiting, f"to write {held}")
        (pid,) = waiting()
        assert not wrote or superuser.execute(WRITTEN, [pid, wrote]).fetchone() == (1,), "it has launched"
        process.kill()
        process.wait()
    wait_until(lambda: superuser.execute(LIVES, [pid]).fetchone() == (0,), "its session ends")


@pytest.mark.parametrize(
    ("launches", "held", "wrote", "left", "whole"),
    [
        ("preset", "models_app_schedulerun", "compute_job", (0, 0, []), (1, 0, ["launched"])),
        ("pipeline", "models_app_schedulerun", "models_app_pipelinerun", (0, 0, []), (1, 1, ["launched"])),
        ("pipeline", "models_app_steptry", "", (0, 1, ["launched"]), (1, 1, ["launched"])),
    ],
)
def test_a_killed_round_launches_no_tick_twice_and_loses_none(
    process_environment: Callable[..., dict[str, str]],
    own_valkey: str,
    superuser: psycopg.Connection,
    launches: str,
    held: str,
    wrote: str,
    left: Any,
    whole: Any,
) -> None:
    rounds = Rounds(process_environment(role="control", BROKER_URL=own_valkey), launches)
    killed_at(rounds, superuser, held, wrote)
    assert rounds.made() == left
    for _ in range(2):
        rounds.go()
        assert rounds.made() == whole
    with tenant_scope(rounds.world.tenant.id):
        assert Schedule.objects.get(id=rounds.schedule).next_at > rounds.tick + timedelta(days=300)
