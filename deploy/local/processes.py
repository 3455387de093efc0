"""Parts of `make up`: each one's command, readiness check, and secrets."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

import psycopg

from deploy.local.plan import Plan
from deploy.local.postgres import Cluster
from deploy.local.services import SeaweedFS, Valkey
from deploy.local.state_dir import LOG_BYTES
from deploy.local.supervisor import Part
from deploy.server import worker
from tenants.outbound import wire

ROOT = Path(__file__).resolve().parents[2]
MANAGE = [sys.executable, str(ROOT / "manage.py")]


def postgres(cluster: Cluster) -> Part:
    """Return the database server. It shuts down in order even if the supervisor dies."""
    return Part(
        name="postgres",
        command=cluster.command(),
        environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        prepare=cluster.prepare,
        ready=cluster.ready,
        stop_signal=signal.SIGINT,
        grace_s=6,
        orphan_signal=signal.SIGINT,
        account=(cluster.account.uid, cluster.account.gid) if os.geteuid() == 0 else None,
    )


def valkey(server: Valkey) -> Part:
    """Return the message broker."""
    return Part(
        name="valkey",
        command=server.command(),
        environment={"PATH": os.defpath},
        prepare=server.prepare,
        ready=server.ready,
        grace_s=2,
    )


def seaweedfs(server: SeaweedFS, bucket: str) -> Part:
    """Return the object store.

    It writes through, so a short grace period loses nothing; its own shutdown takes fifteen seconds.
    """
    return Part(
        name="seaweedfs",
        command=server.command(),
        environment={"PATH": os.defpath, "HOME": str(server.folder)},
        prepare=server.prepare,
        ready=lambda within_s: server.ready(within_s) and server.make_bucket(bucket, within_s),
        grace_s=2,
    )


def web(plan: Plan, listener: socket.socket) -> Part:
    """Return the web server on a socket held by the supervisor: connections wait while it restarts, and do not fail."""
    return Part(
        name="web",
        command=[sys.executable, "-m", "deploy.server.web", "--fd", str(listener.fileno())],
        environment=plan.environment(
            "app", PROMETHEUS_MULTIPROC_DIR=str((plan.home.run / "web-counts").absolute()), **plan.master
        ),
        cwd=str(ROOT),
        ready=lambda within_s: answers(f"{plan.url}/readyz", within_s),
        pass_fds=(listener.fileno(),),
    )


def operator(plan: Plan, listener: socket.socket) -> Part:
    """Return the operators' console: the same web server, with a database role, a secret key and cookies of its own."""
    counts = str((plan.home.run / "operator-counts").absolute())
    return Part(
        name="operator",
        command=[sys.executable, "-m", "deploy.server.web", "--fd", str(listener.fileno()), "--processes", "1"],
        environment=plan.for_console(PROMETHEUS_MULTIPROC_DIR=counts),
        cwd=str(ROOT),
        ready=lambda within_s: answers(f"{plan.operator_url}/readyz", within_s),
        pass_fds=(listener.fileno(),),
    )


def serving(plan: Plan, listener: socket.socket) -> Part:
    """Return the node that serves predictions.

    It is one process, so that all requests of an endpoint are batched together. At shutdown it answers, records and
    settles what waits, and releases held money.
    """
    return Part(
        name="serving",
        command=[sys.executable, "-m", "deploy.server.serving", "--fd", str(listener.fileno())],
        environment=plan.for_serving(),
        cwd=str(ROOT),
        ready=lambda within_s: answers(f"{plan.serving_url}/readyz", within_s),
        pass_fds=(listener.fileno(),),
    )


def usage(plan: Plan, listener: socket.socket) -> Part:
    """Return the usage server. At shutdown it stores what waits, and answers."""
    return Part(
        name="usage",
        command=[sys.executable, "-m", "deploy.server.usage", "--fd", str(listener.fileno())],
        environment=plan.for_usage(),
        cwd=str(ROOT),
        ready=lambda within_s: answers(f"{plan.usage_url}/readyz", within_s),
        pass_fds=(listener.fileno(),),
    )


def ops(plan: Plan) -> Part:
    """Return the worker for email, webhooks, invoices, exports and events."""
    return _worker(plan, "ops", plan.environment("control", **plan.master, **plan.audit))


def node(plan: Plan) -> Part:
    """Return this machine's worker: one thread per device, each supervising a training child."""
    return _worker(plan, "node", plan.for_node())


def fetcher(plan: Plan) -> Part:
    """Return the process that asks the servers which tenants name. It holds no credential."""
    path = plan.settings.effective_fetcher_socket

    def answers_ping(within_s: float) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(within_s)
                connection.connect(str(path))
                wire.send(connection, {"op": "ping"})
                wire.receive(connection, time.monotonic() + within_s)
        except OSError:
            return False
        return True

    return Part(
        name="fetcher",
        command=[sys.executable, "-m", "deploy.server.fetcher", "--socket", str(path)],
        environment={"PATH": os.defpath, **plan.for_fetcher()},
        cwd=str(ROOT),
        ready=answers_ping,
        grace_s=2,
    )


def controller(plan: Plan) -> Part:
    """Return the leader loop: assigns, reaps, relays events, fires schedules."""
    return Part(
        name="controller", command=[*MANAGE, "controller"], environment=plan.environment("control"), cwd=str(ROOT)
    )


def stop_demo_clock(plan: Plan) -> None:
    """Restore the real time after a killed load of the demo left the database's clock moved."""
    with psycopg.connect(plan.databases["owner"], autocommit=True) as owner:
        owner.execute("DELETE FROM demo_clock")


def answers(url: str, within_s: float) -> bool:
    """Return whether a GET of a page on this machine returns 200."""
    try:
        with urllib.request.urlopen(url, timeout=within_s) as response:  # noqa: S310 (a fixed loopback address)
            return bool(response.status == 200)
    except OSError:
        return False


def _worker(plan: Plan, name: str, environment: dict[str, str]) -> Part:
    log = plan.home.log(name)
    start = 0

    def remember_end_of_log() -> None:
        nonlocal start
        start = log.stat().st_size if log.exists() and log.stat().st_size <= LOG_BYTES else 0

    def says_ready(within_s: float) -> bool:
        if not log.exists():
            return False
        with log.open("rb") as file:
            file.seek(start)
            return b" ready." in file.read()

    return Part(
        name=name,
        command=worker.command(name, plan.shared["EXCHEQUER_NODE_ID"], plan.settings.effective_cpu_devices),
        environment=environment,
        cwd=str(ROOT),
        prepare=remember_end_of_log,
        ready=says_ready,
    )
