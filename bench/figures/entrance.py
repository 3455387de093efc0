"""G-h1: what it costs to find out who asks: an authenticated read of the API, against plain DRF without tenancy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from bench.contracts import make_tenant
from bench.plain_drf import SCHEMA
from bench.rows import Options, Row, figure, interleaved

REQUESTS, FEW = 400, 5
AIM = 1 / 1.5


class Loop:
    """A process that sends requests to one application."""

    def __init__(self, side: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.wsgi_loop", side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.token = self._line().partition(" ")[2]

    def rate(self, number: int, header: str, value: str) -> float:
        """Return requests a second."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number} {header} {value}\n")
        self.process.stdin.flush()
        return number / float(self._line())

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        if not line:
            raise RuntimeError(f"the loop ended with {self.process.wait()}")
        return line


@figure("G-h1")
def entrance(options: Options) -> Iterator[Row]:
    """Measure GET /api/v1/me/ by key and by session in one process each, row security and grants on."""
    options.superuser(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION exchequer_owner")
    key, cookie = _credentials()
    number = options.size(REQUESTS, FEW)
    with ExitStack() as stack:
        loops = {side: Loop(side, options.environment("app")) for side in ("shipped", "plain")}
        for loop in loops.values():
            stack.callback(loop.close)
        sides: dict[str, Callable[[], float]] = {
            "by key": lambda: loops["shipped"].rate(number, "Authorization", f"Bearer {key}"),
            "by session": lambda: loops["shipped"].rate(number, "Cookie", cookie),
            "plain DRF": lambda: loops["plain"].rate(number, "Authorization", f"Token {loops['plain'].token}"),
        }
        found = interleaved(options.rounds, sides)
    options.superuser(f"DROP SCHEMA {SCHEMA} CASCADE")
    absolute = {f"{name} req/s": value for name, value in found.items()}
    against = "plain DRF with token authentication, no tenancy"
    yield Row("G-h1", "GET /me/ by key", found["by key"] / found["plain DRF"], AIM, against, absolute)
    yield Row("G-h1", "GET /me/ by session", found["by session"] / found["plain DRF"], AIM, against)


def _credentials() -> tuple[str, str]:
    """Return the key of a member who holds grants of three kinds, and the cookie of their session."""
    from django.conf import settings
    from django.test import Client

    from tenants import bootstrap
    from tenants.grants import grants, groups
    from tenants.identity import api_keys, members
    from tenants.isolation.scoping import tenant_scope

    tenant = make_tenant("Entrance", "boss@example.org")
    owner = bootstrap.owner_of(tenant.id)
    member = members.add_member(actor=owner, email="entrance@example.org", role="admin", password="a long one here")  # noqa: S106 (a benchmark's)
    group = groups.create_group(actor=owner, name="Team")
    groups.add_member(actor=owner, group_id=group.id, user_id=member.user_id)
    grants.give(actor=owner, holder=grants.Holder(group_id=group.id), role="engineer")
    with tenant_scope(tenant.id):
        from tenants.identity.authentication import actor_today

        actor = actor_today(tenant.id, member.user_id)
    key = api_keys.create_api_key(actor=actor, name="bench", scopes=sorted(actor.permissions)).secret
    client = Client()
    client.force_login(member.user)
    return key, f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
