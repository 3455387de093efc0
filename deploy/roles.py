"""The roles of the database: `roles.sql`, and their passwords."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

ROLES_SQL = Path(__file__).parent / "roles.sql"


def grant(administrator: psycopg.Connection) -> None:
    """Run `roles.sql` in the connection's database: the roles, its owner and who may connect."""
    administrator.execute(ROLES_SQL.read_bytes())


def set_passwords(administrator: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Give each role its password. The server gets a verifier, so that no log of statements shows one."""
    for role, password in passwords.items():
        verifier = administrator.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
        administrator.execute(statement)
