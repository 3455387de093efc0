"""`manage.py node join`: make this machine a node. It needs no settings: the token is all that a person carries.

    manage.py node join --url https://console.example --token TOKEN [--pool gpu] [--to node.env]

This machine makes its password and its secret itself, and sends a verifier of the one and a digest of the other. What it then starts with is written to
a file that only its owner reads.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import secrets
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from psycopg import pq

from config import node_settings
from deploy import node_file
from tenants.outbound import straight

WAIT_S = 30
EXPLAINED = (
    "Beside it a worker needs BROKER_URL, and no key: it asks {platform} for what an attempt needs.\n"
    "It refuses to start if it finds the master key, SECRET_KEY or the store's credentials in its environment."
)


class Refused(Exception):
    """This machine did not join; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Join, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="manage.py node join", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="address of the operators' console")
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="from the console's page Fleet, or from manage.py node token")
    token.add_argument("--token-file", type=Path, metavar="FILE", help="that holds it")
    parser.add_argument("--pool", default="", help="of a pool's token: this machine is POOL-, and its host's name")
    parser.add_argument("--to", type=Path, default=Path("node.env"), help="file to write (node.env)")
    given = parser.parse_args(arguments)
    try:
        shown = given.token or _read(given.token_file)
        node, platform = join(given.url, shown, given.to, member_of(given.pool, socket.gethostname()))
    except Refused as error:
        print(f"manage.py node join: {error}", file=sys.stderr)
        return 1
    print(f"This machine is the node {node}. Its credentials are in {given.to}, for its owner alone.")
    print(EXPLAINED.format(platform=platform))
    if not node_settings.is_safe(platform):
        print(
            f"That is not https: the worker will refuse it. Set {node_settings.PLATFORM} in {given.to} to an address that is."
        )
    print(f"Start it: python -m deploy.server.worker node --credentials {given.to}")
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the token cannot be read: {error}") from None


def member_of(pool: str, host: str) -> str:
    """Return the name of a host in a pool: the host's own where it begins with the pool's, as in a StatefulSet; empty without a pool."""
    first = host.partition(".")[0].lower()
    return "" if not pool else first if first.startswith(f"{pool}-") else f"{pool}-{first}"


def join(url: str, token: str, to: Path, name: str = "") -> tuple[str, str]:
    """Show the token at `url`, write the credentials to `to` (mode 0600); return the node's name and the address that it asks.

    `name`: what a token of a pool is to make of this machine; other tokens hold it. Raises Refused.
    """
    console = _console(url)
    try:  # before the token is used up
        draft = node_file.Draft(to)
    except OSError as error:
        raise Refused(f"{to} cannot be written ({error.strerror}): name another file with --to") from None
    try:
        password, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        answer = _show(console, {"token": token, "name": name}, password, secret)
        draft.finish(
            {
                "DATABASE_URL": _database_url(answer, password),
                "EXCHEQUER_DB_ROLE": "app",
                "EXCHEQUER_NODE_ID": answer["node"],
                node_settings.SECRET: secret,
                node_settings.PLATFORM: answer["platform"],
            }
        )
    finally:
        draft.discard()
    return str(answer["node"]), str(answer["platform"])


def _database_url(answer: dict[str, Any], password: str) -> str:
    database = answer["database"]
    kept = {name: value for name, value in database.items() if name not in ("name", "port") and value}
    host = kept.pop("host", "")
    if host.startswith("/"):
        kept, place = {"host": host, **kept}, ""
    else:
        place = host + (f":{database['port']}" if database.get("port") else "")
    query = f"?{urlencode(kept)}" if kept else ""
    return f"postgresql://{answer['login']}:{quote(password)}@{place}/{quote(database['name'])}{query}"


def _console(url: str) -> str:
    """Return where to show a token; raise Refused for an address at which others could read it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"{url} is no address of a console: give one like https://console.example")
    if parts.scheme == "http" and not node_settings.on_this_machine(parts.hostname):
        raise Refused("a token is not sent over http to another machine: give an address with https://")
    return url


def _show(console: str, shown: dict[str, str], password: str, secret: str) -> dict[str, Any]:
    client = pq.PGconn.connect_start(b"host=/nowhere")  # reaches no server, and needs none
    verifier = client.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()
    client.finish()
    digest = hashlib.sha256(secret.encode()).hexdigest()
    address = straight.url(console, "/fleet/join/")
    body = json.dumps({**shown, "verifier": verifier, "secret": digest}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    try:
        with straight.opener(console).open(request, timeout=WAIT_S) as response:
            answer: dict[str, Any] = json.loads(response.read())
            if not {"node", "login", "database", "platform"} <= answer.keys():
                raise ValueError
            return answer
    except urllib.error.HTTPError as error:
        try:
            detail = json.loads(error.read())["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"{address} answered {error.code}: give the address of the operators' console"
        raise Refused(detail) from None
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        raise Refused(f"{address} does not answer as a console does ({error}): check the address") from None
