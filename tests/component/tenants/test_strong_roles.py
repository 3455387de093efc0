"""No process of the product starts with a database role that row security does not hold (trust T1)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from config.databases import DATABASE_URLS
from tenants.checks import UnsafeRole, refuse_unsafe_role, role_faults
from tests.conftest import SESSION
from tests.support.servers.ports import free_port
from tests.support.servers.services import BYPASSING_ROLE, GROUPED_ROLE, TEST_ROLE

ROOT = Path(__file__).resolve().parents[3]
WORKER = ["-m", "celery", "-A", "config", "worker", "--pool=threads", "--without-gossip", "--without-mingle"]
WEB, SERVING, USAGE = (["-m", f"deploy.server.{name}", "--port"] for name in ("web", "serving", "usage"))
#: Each entry point with its settings, and one way in which its login is too strong.
STARTS = {
    "web as superuser": (WEB, "app", "postgres", "is a superuser"),
    "web as the controller": (WEB, "app", "exchequer_control", "works as exchequer_control"),
    "web that may become the controller": (WEB, "app", TEST_ROLE, "works as exchequer_control"),
    "web as the console": (WEB, "app", "exchequer_operator", "works as exchequer_operator"),
    "console as the web": (WEB, "operator", "exchequer_app", "works as exchequer_app"),
    "console as the controller": (WEB, "operator", "exchequer_control", "works as exchequer_control"),
    "web that says it is the owner": (WEB, "owner", "exchequer_owner", "owns tables"),
    "serving node without row security": (SERVING, "app", BYPASSING_ROLE, "bypasses row-level security"),
    "usage server as the controller": (USAGE, "app", "exchequer_control", "works as exchequer_control"),
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
    variable = DATABASE_URLS[role]
    environment = process_environment(role=role)
    known = SESSION.cluster.passwords.get(login)
    database = str(connection.settings_dict["NAME"])
    # The system user who started the server is admitted as its superuser without a password.
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


@pytest.mark.django_db(transaction=True)
def test_a_login_of_its_own_waits_as_long_as_the_role_in_whose_group_it_is(
    monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    """PostgreSQL grants a role's rights to its members, but none of its settings. Existing settings stay."""
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "USER", GROUPED_ROLE)

    def limits() -> list[str]:
        connection.close()
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        with connection.cursor() as cursor:
            return [cursor.execute(f"SHOW {name}").fetchone()[0] for name in names]

    database = connection.settings_dict["NAME"]
    try:
        refuse_unsafe_role(one_tenant=True)
        assert limits() == ["30s", "10s", "1min"]
        superuser.execute(f"ALTER ROLE {GROUPED_ROLE} IN DATABASE \"{database}\" SET statement_timeout = '7s'")
        superuser.execute(f'ALTER ROLE {GROUPED_ROLE} IN DATABASE "{database}" SET lock_timeout = 0')
        assert limits() == ["7s", "0", "1min"]
    finally:
        superuser.execute(f'ALTER ROLE {GROUPED_ROLE} IN DATABASE "{database}" RESET ALL')
        connection_created.disconnect(dispatch_uid="tenants.refuse_unsafe_role")
        connection.close()


#: Possible settings of a login, in `{0}`, and the expected finding.
STRENGTHS = {
    "SELECT": "",
    "GRANT exchequer_control TO {0} WITH INHERIT FALSE, SET TRUE": "works as exchequer_control",
    "GRANT exchequer_control TO {0} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE": "works as exchequer_control",
    "GRANT exchequer_owner TO {0} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE": "owns tables",
    "CREATE ROLE {0}_far BYPASSRLS; CREATE ROLE {0}_near IN ROLE {0}_far; GRANT {0}_near TO {0} WITH INHERIT FALSE": "bypasses row-level security",
    "GRANT pg_read_all_data TO {0}": "PostgreSQL brings along",
    "GRANT pg_maintain TO {0}": "PostgreSQL brings along",
    "ALTER ROLE {0} CREATEDB": "may make databases",
    "GRANT SET ON PARAMETER session_replication_role TO {0}": "may turn triggers off",
    "SET LOCAL session_replication_role = replica": "works without them",
    "GRANT TRIGGER ON tenants_user TO {0}": "may put triggers",
    "GRANT REFERENCES ON tenants_user TO {0}": "may put triggers",
    "GRANT UPDATE ON tenants_auditentry TO {0}": "has rights on tables",
    "GRANT INSERT ON demo_clock TO {0}": "has rights on tables",
    "CREATE SEQUENCE theirs; ALTER SEQUENCE theirs OWNER TO {0}": "owns tables or other parts",
    "ALTER FUNCTION exchequer_now() OWNER TO {0}": "owns tables or other parts",
    "CREATE MATERIALIZED VIEW theirs AS SELECT 1; ALTER MATERIALIZED VIEW theirs OWNER TO {0}": "owns tables or other parts",
    "CREATE SCHEMA theirs AUTHORIZATION {0}": "owns tables or other parts",
}


@pytest.mark.parametrize("given", STRENGTHS)
def test_a_login_that_may_do_more_than_it_needs_is_known_by_each_way(given: str, superuser: psycopg.Connection) -> None:
    login = f"exchequer_strong_{os.getpid()}"
    with superuser.transaction(force_rollback=True):
        superuser.execute(f"CREATE ROLE {login} IN ROLE exchequer_app")
        superuser.execute(given.format(login))
        superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {login}")
        found = role_faults(superuser, one_tenant=True)
    said = STRENGTHS[given]
    assert bool(found) is bool(said), found
    assert said in " ".join(found)


@pytest.mark.parametrize("role", ["exchequer_app", "exchequer_control"])
def test_the_plain_roles_are_not_too_strong(role: str, superuser: psycopg.Connection) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")
        assert role_faults(superuser) == []
