"""Logins of nodes of a test: made, used by Django, stolen, and ended."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection

from compute.fleet import nodes
from compute.models import Node
from tests.conftest import SESSION

PASSWORD = "throw-away"


@contextmanager
def admitted(superuser: psycopg.Connection, name: str, by: str) -> Iterator[str]:
    """Register a node and give it a login by a function of `exchequer_roles`, until the block ends."""
    nodes.register(name=name, hostname="h", boot=uuid.uuid4(), found=[], missing_layers=[])
    node = Node.objects.get(name=name).id
    verifier = superuser.pgconn.encrypt_password(PASSWORD.encode(), b"", b"scram-sha-256").decode()
    (login,) = superuser.execute(f"SELECT exchequer_roles.{by}(%s, %s)", [node, verifier]).fetchone() or ("",)
    yield login
    superuser.execute("SELECT exchequer_roles.end_node(%s)", [node])
    superuser.execute(f"DROP OWNED BY {login}; DROP ROLE {login}")


@contextmanager
def as_login(login: str) -> Iterator[None]:
    """Let Django log in as a node."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(USER=login, PASSWORD=PASSWORD)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def stolen(login: str) -> psycopg.Connection:
    """Log in with stolen credentials, with a tool of one's own."""
    return psycopg.connect(
        host=str(SESSION.cluster.folder),
        dbname=str(connection.settings_dict["NAME"]),
        user=login,
        password=PASSWORD,
        autocommit=True,
    )
