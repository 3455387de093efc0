"""Ten thousand generated payloads, replayed by eight writers while the server and its connections are killed (B1)."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.test import Client

from tests.api.billing.test_events import counted, event
from tests.support import factories
from tests.support.servers.usage_server import BATCH, PATH, Answer, UsageProcess, ask
from tests.support.usage import priced_tenant
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nightly]
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
PAYLOADS, WRITERS, KILLS = 10_000, 8, 3
#: Of so many payloads one is no JSON at all, or no list of events.
BROKEN = 25
JUNK = (b"{", b"\xff\xfe", b"[" * 5_000, b"5", b"null", b'{"data": {"quantity": NaN}}', b"[[[]]]", b'"x"', b"\x00" * 64)
QUANTITIES: tuple[Any, ...] = (
    1, 2.5, "0.000001", 7, "1e2", 0, -1, 1e30, "NaN", "Infinity", True, None, "", "3 apples", [], {}, "0x10", 10**40, "-0",
)  # fmt: skip
TIMES: tuple[Any, ...] = (
    "2026-10-05T11:00:00Z", "2026-10-04T23:59:59.999999Z", "2026-10-05T13:00:00+02:00", "yesterday", 5, None,
    "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "2026-10-05T11:00:00", "0001-01-01T00:00:00Z",
)  # fmt: skip
TEXTS: tuple[Any, ...] = ("customer-7", "ü" * 40, "x" * 201, "", None, 7, ["x"], "a\x00b", "\u202e", "=1+1", "'; --")
TYPES: tuple[Any, ...] = ("inference.requests", "device.seconds", "no.such", "", 7, None)


def generated(chance: Random) -> dict[str, Any]:
    """Return an event: most are as they should be, in others one to three attributes are not."""
    made = event(id=f"{chance.getrandbits(96):x}", data={"quantity": chance.choice(QUANTITIES[:5])})
    if chance.random() < 0.7:
        return made
    for _ in range(chance.randint(1, 3)):
        name, values = chance.choice(
            [("time", TIMES), ("subject", TEXTS), ("type", TYPES), ("source", TEXTS), ("quantity", QUANTITIES)]
        )
        value = chance.choice(values)
        if name == "quantity":
            made["data"] = {"quantity": value, chance.choice(["a", "tag:team", "project", "a b"]): chance.choice(TEXTS)}
        else:
            made[name] = value
    return made


def payloads(chance: Random) -> Iterator[bytes]:
    """Yield bodies: an event alone, batches of several, and some that are none."""
    for number in range(PAYLOADS):
        if number % BROKEN == 0:
            yield chance.choice(JUNK)
        else:
            yield json.dumps([generated(chance) for _ in range(chance.choice((1, 1, 1, 2, 5)))]).encode()


def test_b1_hostile_payloads_replayed_by_eight_writers_through_kills_count_as_if_delivered_once(
    demo_clock: DemoClock,
    process_environment: Callable[..., dict[str, str]],
    superuser: psycopg.Connection[Any],
    tmp_path: Path,
) -> None:
    tenant, once = (priced_tenant(demo_clock, NOW, for_=timedelta(days=40)) for _ in range(2))
    keys = {one: factories.make_api_key(one) for one in (tenant, once)}
    bodies = list(payloads(Random(11)))
    chance, statuses, answered = Random(12), set[int](), 0
    server = UsageProcess(process_environment(role="app", EXCHEQUER_HOME=tmp_path), tmp_path / "log")

    def deliver(body: bytes) -> Answer | None:
        nonlocal answered
        try:
            answer = ask(server.port, "POST", PATH, body, Authorization=f"Bearer {keys[tenant]}", Content_Type=BATCH)
        except (OSError, HTTPException):  # killed meanwhile
            return None
        statuses.add(answer.status)
        answered += 1
        return answer

    def write(number: int) -> None:
        # Each payload is brought by two of the writers at least, in an order of their own, until it is answered by more than "later".
        mine = [body for at, body in enumerate(bodies) if number in (at % WRITERS, (at * 7 + 3) % WRITERS)]
        Random(number).shuffle(mine)
        for body in mine:
            wait_until(lambda body=body: (it := deliver(body)) is not None and it.status != 503, "an answer")

    try:
        server.start()
        with ThreadPoolExecutor(WRITERS) as pool:
            writers = [pool.submit(write, number) for number in range(WRITERS)]
            for number in range(2 * KILLS):
                before = answered
                wait_until(lambda before=before: answered > before + PAYLOADS // (3 * KILLS), "answers", 300)
                if number % 2:
                    assert server.end(signal.SIGKILL) == -signal.SIGKILL
                    server.start()
                else:
                    # As when PostgreSQL dies: what is under way is lost, and the server connects again.
                    superuser.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'exchequer_app'"
                        " AND datname = current_database()"
                    )
            for writer in writers:
                writer.result()
        for body in chance.sample(bodies, 500):
            wait_until(lambda body=body: (it := deliver(body)) is not None and it.status != 503, "a late replay")
    finally:
        server.close()
    assert statuses <= {204, 400, 409, 503}, statuses
    client = Client(headers={"Authorization": f"Bearer {keys[once]}"})
    for body in bodies:
        assert client.generic("POST", PATH, body, BATCH).status_code in (204, 400, 409)
    assert counted(tenant) == counted(once) > PAYLOADS
