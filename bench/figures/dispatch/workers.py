"""The processes that figures of dispatch measure: a controller, a node of one device, and the peers, on one broker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.contracts import make_tenant, open_contract
from bench.dispatch_worker import ANSWERED, NothingKind
from bench.rows import Options
from deploy.local.services import Valkey, free_ports

ROOT = Path(__file__).resolve().parents[3]
#: A busy machine is slow, not wrong.
PATIENCE_S = 300


@dataclass(frozen=True)
class Peers:
    """Bare Celery and a plain list on the same broker. Each call waits for the worker's answer."""

    plain: Any
    notes: Any

    def started(self) -> float:
        """Return the seconds from sending a task to its process."""
        return self._asked(lambda: self.plain.send_task("bench.start_process", queue="bare", ignore_result=True))

    def received(self) -> float:
        """Return the seconds from sending a task to its first line."""
        return self._asked(lambda: self.plain.send_task("bench.note", queue="bare", ignore_result=True))

    def popped(self) -> float:
        """Return the seconds from a push to a list to the end of its BRPOP in another process."""
        return self._asked(lambda: self.notes.lpush("bench:raw", "1"))

    def burst(self, count: int) -> float:
        """Return the seconds in which so many tasks were sent, one by one, and their processes ended."""
        asked = time.time()
        for _ in range(count):
            self.plain.send_task("bench.start_process", args=[True], queue="bare", ignore_result=True)
        return max(self._answer() for _ in range(count)) - asked

    def _asked(self, send: Callable[[], object]) -> float:
        asked = time.time()
        send()
        return self._answer() - asked

    def _answer(self) -> float:
        answer = self.notes.blpop([ANSWERED], timeout=PATIENCE_S)
        if answer is None:
            raise TimeoutError("a peer did not answer")
        return float(answer[1])


class Product:
    """An organisation that submits jobs which do nothing."""

    def __init__(self) -> None:
        from compute import kinds
        from tenants.access.actor import Actor
        from tenants.isolation.scoping import tenant_scope
        from tenants.models import Membership, Project

        if "nothing" not in kinds.names():
            kinds.register(NothingKind())
        name = f"Dispatch-{time.time_ns()}"  # other figures of the same run have one, too
        self._tenant = make_tenant(name, f"{name}@example.org").id
        open_contract(self._tenant)
        with tenant_scope(self._tenant):
            self._project = Project.objects.get(slug="default").id
            owner = Membership.objects.select_related("user").get()
        self._actor = Actor.member(tenant_id=self._tenant, user_id=owner.user_id, email=owner.user.email, role="owner")

    def one(self, moment: str) -> float:
        """Submit a job, wait for its end, and return the seconds from its commit to a moment of its only attempt."""
        from tenants.clock import now
        from tenants.isolation.scoping import tenant_scope

        job = self._submit()
        with tenant_scope(self._tenant):
            committed = now()
        (run,) = self._ended([job])
        return float((getattr(run, moment) - committed).total_seconds())

    def burst(self, count: int) -> float:
        """Return the seconds in which so many jobs were submitted, one by one, and their processes ended.

        Raises AssertionError if one was lost or ran twice.
        """
        from tenants.clock import now
        from tenants.isolation.scoping import tenant_scope

        with tenant_scope(self._tenant):
            asked = now()
        runs = self._ended([self._submit() for _ in range(count)])
        return float((max(run.ended_at for run in runs) - asked).total_seconds())

    def _submit(self) -> UUID:
        from compute.jobs import jobs

        asked = jobs.Submission(
            name="nothing", kind="nothing", project_id=self._project, spec={}, device_class="cpu", max_seconds=60
        )
        return jobs.submit(actor=self._actor, asked=asked).id

    def _ended(self, ids: list[UUID]) -> list[Any]:
        """Wait until all these jobs have ended and return their attempts, one each."""
        from compute.models import FINAL_STATES, Attempt, Job
        from tenants.isolation.scoping import tenant_scope

        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with tenant_scope(self._tenant):
                states = list(Job.objects.filter(id__in=ids, state__in=FINAL_STATES).values_list("state", flat=True))
                if len(states) == len(ids):
                    runs = list(Attempt.objects.filter(job_id__in=ids))
                    if set(states) != {"succeeded"} or len({run.job_id for run in runs}) != len(runs) != len(ids):
                        raise AssertionError(f"{len(ids)} jobs had {len(runs)} attempts and ended as {set(states)}")
                    return runs
            time.sleep(0.02)
        raise TimeoutError("a job did not end")


@contextmanager
def workers(options: Options) -> Iterator[tuple[Product, Peers]]:
    """Run a controller, a node and the peers until the block ends, and warm them all."""
    with _valkey(options.home) as broker, _processes(options, broker):
        import redis
        from celery import Celery

        notes = redis.Redis.from_url(broker, socket_timeout=PATIENCE_S + 30)  # longer than it waits for an answer
        plain = Celery("bare", broker=broker)
        product, peers = Product(), Peers(plain, notes)
        for _ in range(3):  # connections open, code loaded
            product.one("started_at")
            peers.started()
            peers.popped()
        yield product, peers
        notes.close()
        plain.close()


@contextmanager
def _valkey(home: Path) -> Iterator[str]:
    server = Valkey(home / "valkey", free_ports(1)[0], "throw-away")
    server.prepare()
    process = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL)
    try:
        _until(server.ready, "Valkey")
        os.environ["BROKER_URL"] = server.url
        yield server.url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _processes(options: Options, broker: str) -> Iterator[None]:
    worker = [sys.executable, "-m", "bench.dispatch_worker"]
    commands = {
        "controller": ("control", [sys.executable, "manage.py", "controller", "--skip-checks"]),
        "node": ("app", [*worker, "node"]),
        "bare": ("app", [*worker, "bare"]),
        "raw": ("app", [*worker, "raw"]),
    }
    running = []
    try:
        for name, (role, command) in commands.items():
            more = {"BROKER_URL": broker, "EXCHEQUER_NODE_ID": "bench", "EXCHEQUER_CPU_DEVICES": "1"}
            with (options.home / f"{name}.log").open("ab") as log:
                environment = options.environment(role) | more
                running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        from compute.models import Device

        # Another figure may have left a serving device in the same database.
        _until(Device.objects.filter(serves=False, state="ready", node__accepting=True).exists, "the node")
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come up")
        time.sleep(0.1)
