"""A durable PostgreSQL server for the benchmarks, migrated, with the product's roles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.postgres import DATABASE, ROLES, Cluster

ROOT = Path(__file__).resolve().parent.parent
#: On a shared server; and migrated and empty, for figures that need their own database.
SHARED, FRESH = "bench", "bench_fresh"


@contextmanager
def database(
    home: Path, shared: Path | None = None
) -> Iterator[tuple[Callable[[str], dict[str, str]], Callable[[str], str]]]:
    """Start a server in `home` and yield two functions: the environment of a process of a role, and the superuser.

    `shared`: the folder of a running server with both databases; it is left running.
    """
    name = SHARED if shared else DATABASE
    cluster = Cluster(shared or home / "postgres", dict.fromkeys(ROLES, "throw-away"), durable=True)

    def environment(role: str) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "EXCHEQUER_HOME": str(home),
            "EXCHEQUER_DB_ROLE": role,
            "EXCHEQUER_SANDBOX": "best_effort",
            "EXCHEQUER_API_RATE": "0",
            "SECRET_KEY": "a secret key for benchmarks, known to everybody",
            "EXCHEQUER_MASTER_KEY": "dGhlIG1hc3RlciBrZXkgb2YgZXZlcnkgdGVzdCBydW4=",
            "DATABASE_URL": cluster.url("exchequer_app", name),
            "DATABASE_CONTROL_URL": cluster.url("exchequer_control", name),
            "DATABASE_OWNER_URL": cluster.url("exchequer_owner", name),
            "DATABASE_OPERATOR_URL": cluster.url("exchequer_operator", name),
        }

    def superuser(statements: str) -> str:
        with cluster.superuser(name) as admin:
            cursor = admin.execute(statements)
            row = cursor.fetchone() if cursor.description else None
            return str(row[0]) if row else ""

    if shared is not None:
        yield environment, superuser
        return
    with _running(cluster, home):
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=environment("owner"), check=True)
        with cluster.superuser("postgres") as admin:
            admin.execute(f"CREATE DATABASE {FRESH} TEMPLATE {DATABASE} OWNER exchequer_owner")
        yield environment, superuser


@contextmanager
def _running(cluster: Cluster, home: Path) -> Iterator[None]:
    cluster.prepare()
    server = cluster.start(home / "postgres.log")
    try:
        cluster.wait_ready(server)
        cluster.provision()
        yield
    finally:
        # SIGINT ends open sessions; SIGTERM would wait for them.
        server.send_signal(signal.SIGINT)
        server.wait(20)
