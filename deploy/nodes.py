"""The login and the secret of a node: made by the owner of the tables, who learns no password of another node."""

from __future__ import annotations

import hashlib
import secrets
from urllib.parse import quote, urlsplit

import psycopg

# A node that is new takes no work until its worker registers.
KNOWN = """
INSERT INTO compute_node (id, name, hostname, boot, accepting, missing_layers)
VALUES (gen_random_uuid(), %(name)s, %(name)s, gen_random_uuid(), false, '[]') ON CONFLICT (name) DO UPDATE SET ended_at = NULL
"""
ENROL = """
INSERT INTO compute_nodesecret (node_id, digest) SELECT id, %(digest)s FROM compute_node WHERE name = %(name)s
ON CONFLICT (node_id) DO UPDATE SET digest = EXCLUDED.digest, created_at = exchequer_now()
"""
KNOWS = """
SELECT FROM compute_nodesecret s JOIN compute_node n ON n.id = s.node_id WHERE n.name = %(name)s AND s.digest = %(digest)s AND n.ended_at IS NULL
"""
ADMIT = "SELECT exchequer_roles.admit_node(id, %(verifier)s) FROM compute_node WHERE name = %(name)s"
ADMIT_SERVING = ADMIT.replace("admit_node", "admit_serving")


def admit(owner_url: str, name: str, password: str = "", *, serving: bool = False) -> str:
    """Give the node of that name a login and return its URL; an earlier password of it ends.

    `password`: a new random one unless given; `serving`: for a serving node, which runs no attempt. Raises `psycopg.Error`.
    """
    password = password or secrets.token_urlsafe(24)
    with psycopg.connect(owner_url, connect_timeout=5) as owner:
        verifier = owner.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()
        owner.execute(KNOWN, {"name": name})
        (login,) = owner.execute(
            ADMIT_SERVING if serving else ADMIT, {"name": name, "verifier": verifier}
        ).fetchone() or ("",)
    parts = urlsplit(owner_url)
    return parts._replace(netloc=f"{login}:{quote(password)}@{parts.netloc.rpartition('@')[2]}").geturl()


def enrol(owner_url: str, name: str) -> str:
    """Return a new secret by which the node of that name is handed what its live work needs; an earlier one ends.

    Raises `psycopg.Error`.
    """
    secret = secrets.token_urlsafe(32)
    with psycopg.connect(owner_url, connect_timeout=5) as owner:
        owner.execute(KNOWN, {"name": name})
        owner.execute(ENROL, {"name": name, "digest": _digest(secret)})
    return secret


def knows(owner_url: str, name: str, secret: str) -> bool:
    """Return whether this is the secret of the node of that name, which has not ended. Raises `psycopg.Error`."""
    with psycopg.connect(owner_url, connect_timeout=5) as owner:
        return owner.execute(KNOWS, {"name": name, "digest": _digest(secret)}).fetchone() is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
