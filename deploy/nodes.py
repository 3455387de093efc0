"""The login of a node: made by the owner of the tables, who learns no password of another node."""

from __future__ import annotations

import secrets
from urllib.parse import quote, urlsplit

import psycopg

# A node that is new takes no work until its worker registers.
KNOWN = """
INSERT INTO compute_node (id, name, hostname, boot, accepting, missing_layers)
VALUES (gen_random_uuid(), %(name)s, %(name)s, gen_random_uuid(), false, '[]') ON CONFLICT (name) DO UPDATE SET ended_at = NULL
"""
ADMIT = "SELECT exchequer_roles.admit_node(id, %(verifier)s) FROM compute_node WHERE name = %(name)s"


def admit(owner_url: str, name: str, password: str = "") -> str:
    """Give the node of that name a login and return its URL; an earlier password of it ends.

    `password`: a new random one unless given. Raises `psycopg.Error`.
    """
    password = password or secrets.token_urlsafe(24)
    with psycopg.connect(owner_url, connect_timeout=5) as owner:
        verifier = owner.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()
        owner.execute(KNOWN, {"name": name})
        (login,) = owner.execute(ADMIT, {"name": name, "verifier": verifier}).fetchone() or ("",)
    parts = urlsplit(owner_url)
    return parts._replace(netloc=f"{login}:{quote(password)}@{parts.netloc.rpartition('@')[2]}").geturl()
