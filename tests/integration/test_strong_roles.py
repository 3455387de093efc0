"""No process of the product starts with a database role that row security does not hold (trust T1)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from tenants.checks import UnsafeRole, refuse_unsafe_role
from tests.conftest import SESSION
from tests.support.ports import free_port
from tests.support.services import BYPASSING_ROLE

ROOT = Path(__file__).resolve().parents[2]
WORKER = ["-m", "celery", "-A", "config", "worker", "--pool=threads", "--without-gossip", "--without-mingle"]
WEB, SERVING = ["-m", "deploy.web", "--port"], ["-m", "deploy.serving", "--port"]
#: Each entrance with what it holds, and one way in which its login is too strong.
STARTS = {
    "web as superuser": (WEB, "app", "postgres", "is a superuser"),
    "web as the controller": (WEB, "app", "exchequer_control", "works as exchequer_control"),
    "web that says it is the owner": (WEB, "owner", "exchequer_owner", "owns tables"),
    "serving node without row security": (SERVING, "app", BYPASSING_ROLE, "bypasses row-level security"),
    "ops worker as owner of the tables": ([*WORKER, "--queues=ops"], "control", "exchequer_owner", "owns tables"),
    "node worker as superuser": ([*WORKER, "--queues=node.test-node"], "app", "postgres", "is a superuser"),
    "controller as superuser": (["manage.py", "controller"], "control", "postgres", "is a superuser"),
    "command without row security": (["manage.py", "verify_ledger"], "control", BYPASSING_ROLE, "bypasses row-level"),
}


@pytest.mark.parametrize("start", STARTS)
def test_a_process_with_too_strong_a_role_ends_at_once_and_says_why(
    start: str, process_environment: Callable[..., dict[str, str]]
) -> None:
    command, role, login, fault = STARTS[start]
    variable = {"app": "DATABASE_URL", "control": "DATABASE_CONTROL_URL", "owner": "DATABASE_OWNER_URL"}[role]
    environment = process_environment(role=role)
    known = SESSION.cluster.passwords.get(login)
    database = str(connection.settings_dict["NAME"])
    # The system's user who started the server is let in as its superuser without a password.
    password = f":{known}" if known else ""
    environment[variable] = f"postgresql://{login}{password}@/{database}?host={SESSION.cluster.folder}"
    command = [*command, str(free_port())] if command[-1] == "--port" else command
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Exchequer refuses to start." in done.stderr, done.stderr[-2000:]
    assert f"Database role {login!r} {fault}" in done.stderr, done.stderr[-2000:]
    assert "deploy/roles.sql" in done.stderr


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_at_the_start_is_asked_at_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(connection.settings_dict["HOST"])
    connection.close()
    try:
        monkeypatch.setitem(connection.settings_dict, "HOST", "/nonexistent")
        refuse_unsafe_role()
        monkeypatch.setitem(connection.settings_dict, "HOST", here)
        connection.ensure_connection()
        connection.close()
        monkeypatch.setitem(connection.settings_dict, "USER", BYPASSING_ROLE)
        for _ in range(2):
            with pytest.raises(UnsafeRole, match="bypasses row-level security"):
                connection.ensure_connection()
    finally:
        connection_created.disconnect(dispatch_uid="tenants.refuse_unsafe_role")
        connection.close()
