"""G-d3: from a committed job to its process, through outbox, controller and Celery, against bare Celery."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from bench.contracts import make_tenant, open_contract
from bench.dispatch_worker import STARTED, NothingKind
from bench.rows import Options, Row, figure, interleaved
from deploy.local.services import Valkey, free_ports

ROOT = Path(__file__).resolve().parents[2]
RUNS, FEW_RUNS = 15, 1
#: A busy machine is slow, not wrong.
PATIENCE_S = 300
AIM = 1 / 1.3


@figure("G-d3")
def dispatch(options: Options) -> Iterator[Row]:
    """Measure the median from commit to process started, one job at a time, and from `apply_async` for bare Celery."""
    with _valkey(options.home) as broker, _processes(options, broker):
        import redis
        from celery import Celery

        plain = Celery("bare", broker=broker)
        notes = redis.Redis.from_url(broker, socket_timeout=PATIENCE_S + 30)  # longer than it waits for a response
        submit, runs = _submitter(), options.size(RUNS, FEW_RUNS)

        def bare() -> float:
            waits = []
            for _ in range(runs):
                asked = time.time()
                plain.send_task("bench.start_process", queue="bare", ignore_result=True)
                answer = notes.blpop([STARTED], timeout=PATIENCE_S)
                if answer is None:
                    raise TimeoutError("bare Celery did not answer")
                waits.append(float(answer[1]) - asked)
            return statistics.median(waits)

        def product() -> float:
            return statistics.median(submit() for _ in range(runs))

        bare()
        product()  # both warm: connections open, code loaded
        found = interleaved(options.rounds, {"bare": bare, "product": product})
        notes.close()
        plain.close()
    absolute = {"bare p50 ms": 1000 * found["bare"], "product p50 ms": 1000 * found["product"]}
    yield Row(
        "G-d3", "commit to process started", found["bare"] / found["product"], AIM, "bare Celery, prefork", absolute
    )


def _submitter() -> Callable[[], float]:
    """Return a function that submits one job and returns the seconds from its commit to its process.

    It waits for the job's end.
    """
    from compute import kinds, queries
    from compute.jobs import jobs
    from compute.models import Attempt
    from tenants.access.actor import Actor
    from tenants.clock import now
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Membership, Project

    kinds.register(NothingKind())
    tenant = make_tenant("Dispatch", "dispatch@example.org")
    open_contract(tenant.id)
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default").id
        owner = Membership.objects.select_related("user").get()
    actor = Actor.member(tenant_id=tenant.id, user_id=owner.user_id, email=owner.user.email, role="owner")

    def wait_for_end(job_id: UUID) -> float:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with tenant_scope(tenant.id):
                job = queries.job_detail(job_id)
                if job.final:
                    started = Attempt.objects.get(job_id=job_id).started_at
                    if job.state != "succeeded" or started is None:
                        raise AssertionError(f"the job ended as {job.state}: {job.message}")
                    return started.timestamp()
            time.sleep(0.02)
        raise TimeoutError("the job did not end")

    def one() -> float:
        job = jobs.submit(
            actor=actor,
            asked=jobs.Submission(
                name="nothing", kind="nothing", project_id=project, spec={}, device_class="cpu", max_seconds=60
            ),
        )
        with tenant_scope(tenant.id):
            committed = now().timestamp()
        return wait_for_end(job.id) - committed

    return one


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
    """Run a controller, a node worker and a bare worker until the block ends."""
    worker = [sys.executable, "-m", "bench.dispatch_worker"]
    commands = {
        "controller": ("control", [sys.executable, "manage.py", "controller", "--skip-checks"]),
        "node": ("app", [*worker, "node"]),
        "bare": ("app", [*worker, "bare"]),
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
