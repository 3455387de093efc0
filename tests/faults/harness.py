"""Real processes of compute on a test's database: controllers and node workers that a test may kill and stop.

`Truth` watches the process table from outside: billing is compared with the lifetime of each attempt's child.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection

from compute import queries
from compute.jobs import jobs
from compute.models import FINAL_STATES, Device
from compute.procfs import group_members
from deploy import nodes
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.fakes.runner import kind
from tests.support import factories
from tests.support.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).resolve().parents[2]

HEARTBEAT_S, LEASE_S, SWEEP_S = 0.5, 2.0, 0.5
ATTEMPT = re.compile(r"attempt\W+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
LOOKS = 1000
"""How often a process is looked at before it counts as none of ours: starting one takes long on a busy machine."""


def processes() -> set[int]:
    """Return the numbers of the processes that there are now."""
    return {int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()}


@dataclass
class Truth:
    """First and last sighting of each attempt's child, and its group. Only children at work under `folder` count."""

    folder: Path
    seen: dict[str, list[float]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    lag: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Read the process table every 10 ms until stopped."""
        known: dict[int, str | None] = {}
        looks = dict.fromkeys(processes(), LOOKS)  # these are no children
        before = time.monotonic()
        while not self._stop.wait(0.01):
            now = time.monotonic()
            self.lag, before = max(self.lag, now - before), now
            present = processes()
            for gone in looks.keys() - present:  # its number may come back as a child's
                del looks[gone]
                known.pop(gone, None)
            for pid in present:
                if known.get(pid) is None and looks.get(pid, 0) < LOOKS:  # it may not have started its program yet
                    looks[pid] = looks.get(pid, 0) + 1
                    known[pid] = self._attempt_of(pid)
                attempt = known.get(pid)
                if attempt and self.runs(pid):
                    self.seen.setdefault(attempt, [now, now])[1] = now
                    self.groups[attempt] = pid

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()

    def seconds(self, attempt: UUID) -> float:
        """Return the lifetime of the attempt's child."""
        first, last = self.seen.get(str(attempt), [0.0, 0.0])
        return last - first

    def _attempt_of(self, pid: int) -> str | None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            ours = os.readlink(f"/proc/{pid}/cwd").startswith(str(self.folder))
        except OSError:
            return None
        if not ours:
            return None
        return words[words.index(b"--attempt") + 1].decode() if b"--attempt" in words else None

    @staticmethod
    def runs(pid: int) -> bool:
        """Return whether a process is there and not merely unburied."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
        except OSError:
            return False


class WorkCluster:
    """Controllers and workers of one test, and a tenant to submit for."""

    def __init__(self, environment: Callable[..., dict[str, str]], folder: Path, broker: str, **settings: Any) -> None:
        kind.install()
        self._environment = environment
        self.folder = folder
        (folder / "store").mkdir()
        self._settings = {
            "BROKER_URL": broker,
            "EXCHEQUER_HEARTBEAT_S": HEARTBEAT_S,
            "EXCHEQUER_LEASE_S": LEASE_S,
            "EXCHEQUER_SWEEP_S": SWEEP_S,
            "EXCHEQUER_CPU_DEVICES": 2,
            **settings,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.truth = Truth(folder)
        self._watcher = threading.Thread(target=self.truth.watch, daemon=True)
        self._watcher.start()
        self.use_new_tenant()

    def use_new_tenant(self) -> None:
        """Make a new tenant and submit for it."""
        self.tenant: Tenant = factories.make_tenant()
        self.actor: Actor = factories.actor_for(self.tenant)
        self.project = factories.default_project_id(self.tenant)

    def controller(self) -> subprocess.Popen[bytes]:
        """Start a controller."""
        return self._start("control", [sys.executable, "manage.py", "controller", "--skip-checks"], "controller")

    def node(self, name: str = "n1", **more: Any) -> subprocess.Popen[bytes]:
        """Start a node worker and wait until its devices are registered."""
        known = self.boots(name)
        process = self.start_node(name, **more)
        wait_until(lambda: self.boots(name) - known, f"node {name}")
        return process

    @staticmethod
    def boots(name: str) -> set[UUID]:
        """Return the start of that node's worker which registered its devices last, if any has."""
        return set(Device.objects.filter(node__name=name).values_list("node__boot", flat=True))

    def start_node(self, name: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a node worker."""
        command = [sys.executable, "-m", "tests.fakes.runner.node_worker"]
        # The same password for a second worker of a node: a killed or paused one may still be there.
        url = nodes.admit(self._environment(role="owner")["DATABASE_OWNER_URL"], name, password=f"of-{name}")
        more = {"DATABASE_URL": url, "EXCHEQUER_NODE_ID": name, "EXCHEQUER_HOME": self.folder / name, **more}
        return self._start("app", command, name, **more)

    def _start(self, role: str, command: list[str], log: str, **more: Any) -> subprocess.Popen[bytes]:
        environment = self._environment(role=role, **{**self._settings, **more})
        with (self.folder / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        self.processes.append(process)
        return process

    def log(self, name: str) -> str:
        """Return the log of the process of that name."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def fenced(self) -> set[UUID]:
        """Return the attempts that their nodes gave up because they were not theirs any more."""
        lines = "\n".join(self.log(path.stem) for path in self.folder.glob("*.log")).splitlines()
        return {UUID(found[0]) for line in lines if "attempt.fenced" in line and (found := ATTEMPT.findall(line))}

    def submit(self, *, steps: int = 20, step_s: float = 0.05, **more: Any) -> UUID:
        """Submit a counting job; keywords of `submit` go there, others into the spec."""
        known = {
            key: more.pop(key)
            for key in ("kind", "device_class", "devices", "share", "one_node", "max_seconds", "max_cost", "tier")
            if key in more
        }
        spec = {"steps": steps, "step_s": step_s, "store": str(self.folder / "store"), **more}
        request: dict[str, Any] = {"kind": "tick", "device_class": "cpu", "max_seconds": 600, **known}
        return jobs.submit(
            actor=self.actor, asked=jobs.Submission(name="count", project_id=self.project, spec=spec, **request)
        ).id

    def job(self, job_id: UUID) -> queries.JobDetail:
        """Return the job as queries show it."""
        with tenant_scope(self.tenant.id):
            return queries.job_detail(job_id)

    def wait(self, job_id: UUID, *states: str, seconds: float = PATIENCE_S) -> queries.JobDetail:
        """Wait for a state, by default any final one."""
        wanted = states or tuple(FINAL_STATES)
        wait_until(lambda: self.job(job_id).state in wanted, lambda: f"{wanted}, is {self.job(job_id)}", seconds)
        return self.job(job_id)

    def wait_step(self, job_id: UUID, step: int, seconds: float = PATIENCE_S) -> None:
        """Wait until the job has reported a step."""
        wait_until(
            lambda: (self.job(job_id).progress.get("done") or 0) >= step,
            lambda: f"step {step}, is {self.job(job_id)}",
            seconds,
        )

    def child_of(self, job_id: UUID) -> int:
        """Return the process id of the job's running child."""
        live = [run for run in self.job(job_id).attempts if run.state != "ended"]
        wait_until(lambda: str(live[0].id) in self.truth.groups, "the child")
        return self.truth.groups[str(live[0].id)]

    def intervals(self, job_id: UUID) -> list[tuple[datetime, datetime]]:
        """Return the stored usage of a job, (start, end) in order, without adjustments."""
        with tenant_scope(self.tenant.id), connection.cursor() as cursor:
            cursor.execute(
                "SELECT e.started_at, e.ended_at FROM billing_usageevent e "
                "JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash "
                "WHERE s.job_id = %s AND e.kind = 'usage' ORDER BY e.started_at",
                [job_id],
            )
            return cursor.fetchall()

    def close(self) -> None:
        """Kill every process started here, stopped ones too."""
        self.truth.stop()
        self._watcher.join()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        wait_until(lambda: not [one for one in self.truth.groups.values() if group_members(one)], "children to be gone")
        connection.close()


@contextmanager
def work_cluster(
    environment: Callable[..., dict[str, str]], folder: Path, broker: str, **settings: Any
) -> Iterator[WorkCluster]:
    """Start a harness for a test; on failure print its logs."""
    opened = WorkCluster(environment, folder, broker, **settings)
    try:
        yield opened
    except BaseException:
        for path in sorted(folder.glob("*.log")):
            print(f"==== {path.name}\n{path.read_text(errors='replace')[-6000:]}")  # noqa: T201
        raise
    finally:
        opened.close()


def assert_no_overlap(spans: list[tuple[Any, Any]]) -> None:
    """Assert that no two half-open intervals share a moment."""
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end <= start, f"{end} overlaps {start}"


def assert_billed_as_seen(opened: WorkCluster, job_id: UUID, *, per_kill: float = HEARTBEAT_S) -> None:
    """J2 for each attempt: truth - (heartbeat + slack) <= billed <= truth + slack.

    The slack is 0.05 s plus the error of watcher and node on a busy machine: the longest pause, for each at both ends.
    """
    slack = 0.05 + 4 * opened.truth.lag
    for run in opened.job(job_id).attempts:
        truth, billed = opened.truth.seconds(run.id), float(run.billed_seconds)
        assert truth - per_kill - slack <= billed <= truth + slack, (truth, billed, run)


def signal_group(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to one process if it still exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
