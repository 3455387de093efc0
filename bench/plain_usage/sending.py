"""What G-b1 and G-b2 send: CloudEvents to the product, rows to the peer, each request with ids of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from bench.client import FRESH
from bench.contracts import make_tenant, open_contract
from bench.plain_drf import SCHEMA
from bench.rows import Options
from bench.servers import Server, ask
from deploy.local.services import free_ports

OURS, PLAIN = "/api/v1/events/", "/events/"
MOST_EVENTS = 1_000_000_000


def cloud_events(number: int, key: str, at: datetime) -> bytes:
    """Return a request with so many events, of two hundred resources; a single one is an object."""
    events = [
        {
            "specversion": "1.0",
            "id": f"{FRESH}-{one}",
            "source": "bench",
            "type": "inference.requests",
            "subject": f"resource-{one % 200}",
            "time": at.isoformat(),
            "data": {"quantity": one % 50 + 1, "model": "small", "tag:team": "search"},
        }
        for one in range(number)
    ]
    return ask("POST", OURS, json.dumps(events if number > 1 else events[0]).encode(), key=key)


def plain_events(number: int, token: str, at: datetime) -> bytes:
    """Return a request with the same events as rows of the peer."""
    rows = [
        {
            "key": f"{FRESH}-{one}",
            "meter": "inference.requests",
            "subject": f"resource-{one % 200}",
            "at": at.isoformat(),
            "quantity": str(one % 50 + 1),
        }
        for one in range(number)
    ]
    return _by_token(ask("POST", PLAIN, json.dumps(rows if number > 1 else rows[0]).encode(), key=token))


def _by_token(request: bytes) -> bytes:
    return request.replace(b"Authorization: Bearer", b"Authorization: Token")


@contextmanager
def servers(options: Options, name: str, taker: Sequence[str]) -> Iterator[tuple[Server, str, Server, str, datetime]]:
    """Start both for a tenant of this name; yield the product and a key, the peer and a token, and a moment of usage that has a price.

    `taker` is the module of the product's server that such requests are sent to, with its arguments (docs/running.md).

    At the end every stored key has its usage in the hourly sums, and nothing else has: else AssertionError.
    """
    options.superuser(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION exchequer_owner")
    key, tenant, at = _sender(name)
    environment = options.environment("app")
    command = [sys.executable, "-m", "bench.plain_usage"]
    made = subprocess.run([*command, "token"], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    token = made.stdout.split()[-1]
    ports = [str(port) for port in free_ports(2)]
    ours = Server(
        "shipped",
        [sys.executable, "-m", *taker, "--port", ports[0]],
        int(ports[0]), ask("GET", "/readyz"), options.home / "events.log", environment,
    )  # fmt: skip
    theirs = Server(
        "plain DRF", [*command, "serve", ports[1]], int(ports[1]), _by_token(ask("GET", PLAIN, key=token)),
        options.home / "plain.log", environment,
    )  # fmt: skip
    try:
        ours.wait()
        theirs.wait()
        yield ours, key, theirs, token, at
    finally:
        ours.close()
        theirs.close()
    options.superuser(f"DROP SCHEMA {SCHEMA} CASCADE")
    keys = options.superuser(f"SELECT count(*) FROM billing_usagekey WHERE tenant_id = '{tenant}'")
    events = options.superuser(f"SELECT sum(events)::bigint FROM billing_usagerollup WHERE tenant_id = '{tenant}'")
    if keys != events:
        raise AssertionError(f"{keys} keys, but {events} events in the sums")


def _sender(name: str) -> tuple[str, str, datetime]:
    from billing.pricing import price_books
    from billing.reported.sender_limits import set_limits
    from tenants import bootstrap
    from tenants.identity import api_keys
    from tenants.isolation.scoping import tenant_scope

    tenant = make_tenant(name, f"{name.lower()}@example.org")
    open_contract(tenant.id)
    owner = bootstrap.owner_of(tenant.id)
    set_limits(actor=owner, events=MOST_EVENTS, amount=Decimal(10) ** 12)
    key = api_keys.create_api_key(actor=owner, name="bench", scopes=["tenant.view", "usage.ingest"]).secret
    with tenant_scope(tenant.id):
        return key, str(tenant.id), price_books.terms().lists[0].effective_at
