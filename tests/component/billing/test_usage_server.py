"""The usage server answers as the web server does, stores what waits in groups, and holds what it may and no more."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.test import Client

from billing.models import UsageBatch
from billing.reported.sender_limits import set_limits
from billing.usage_server import lanes
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Tenant
from tests.api.billing.test_events import BATCH, SINGLE, counted, event
from tests.support import factories
from tests.support.servers.usage_server import PATH, Answer, UsageServer, ask, held_up
from tests.support.usage import priced_tenant
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
TWIN = {"id": "twin", "source": "a"}
HELD = {"id": "old", "time": "2026-08-01T00:00:00Z"}
#: Body and headers of a POST: what both servers are asked, one after the other. `None` leaves a header out.
POSTS: list[tuple[Any, dict[str, Any]]] = [
    (event(id="first"), {}),
    ([event(id="first"), event(id="second", data={"quantity": "1.5"})], {}),
    (event(id="third"), {"Content_Type": "application/json; charset=utf-8"}),
    ([event(id="4")], {"Content_Type": "application/json", "Accept": "application/json, text/plain, */*"}),
    ([], {}),
    (event(**TWIN), {"User_Agent": "another"}),
    ([event(**TWIN, data={"quantity": 9}), event(id=""), event(id="good"), event(**HELD)], {}),
    ([event(**HELD), event(id="counts")], {}),
    ([event(type="no.such"), 5, None], {}),
    ([event(id="deep", data={"quantity": 1, "d": [[[[]]]]})], {}),
    (b"{", {}),
    (b"\xff\xfe", {"Content_Type": SINGLE}),
    (b"[" * 100_000, {}),
    (b'{"data": {"quantity": NaN}}', {}),
    (b"5", {"Content_Type": "application/json"}),
    (b"[]", {"Content_Type": SINGLE}),
    (b"{}", {"Content_Type": BATCH}),
    (b"{}", {"Content_Type": "text/plain"}),
    (b"{}", {"Content_Type": None}),
    ([{}] * 1001, {}),
    (b" " * (2 * 1024 * 1024) + b"[]", {}),
    (event(id="5"), {"Authorization": None}),
    (event(id="5"), {"Authorization": "Bearer exq_abcdefgh_unknown"}),
    (event(id="5"), {"Authorization": "Bearer "}),
    (event(id="5"), {"Authorization": f"Bearer {'x' * 300}"}),
    (event(id="5"), {"Authorization": "Basic abc"}),
    (event(id="5"), {"Accept": "text/html"}),
    (event(id="once"), {"Idempotency_Key": "k"}),
    (event(id="once"), {"Idempotency_Key": "k"}),
    (event(id="6"), {"X_Request_Id": "not one of ours!"}),
]
OTHERS = [
    ("GET", PATH),
    ("PUT", PATH),
    ("DELETE", PATH),
    ("OPTIONS", PATH),
    ("POST", f"{PATH}?dry=1"),
    ("POST", PATH[:-1]),
]
NAMED = ("content-type", "www-authenticate", "allow", "cache-control", "idempotent-replayed", "x-request-id")


@pytest.fixture
def server() -> Iterator[UsageServer]:
    running = UsageServer()
    yield running
    running.stop()


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, NOW, for_=timedelta(days=40))


def by_web(method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    kind = headers.pop("Content_Type", "")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    got = Client().generic(method, path, body, kind, headers=named)
    read = json.loads(got.content) if got.content and "json" in got["content-type"] else got.content.decode()
    return Answer(got.status_code, {name.lower(): value for name, value in got.items()}, read)


def alike(answer: Answer) -> tuple[Any, ...]:
    """Return what is the same from both servers; how long to wait depends on the moment, an id of its own on chance."""
    body, headers = answer.body, {name: answer.headers.get(name) for name in NAMED}
    if isinstance(body, dict):
        body = {**body, "retry_after": "retry_after" in body}
    if answer.status != 405:
        del headers["allow"]  # REST framework sends it always
    if headers["x-request-id"] != "asked":
        headers["x-request-id"] = "of its own"
        body = {**body, "request_id": "of its own"} if isinstance(body, dict) else body
    return answer.status, headers, "retry-after" in answer.headers, body


def test_both_servers_answer_alike_and_leave_the_same(
    server: UsageServer, tenant: Tenant, demo_clock: DemoClock
) -> None:
    twin = priced_tenant(demo_clock, NOW, for_=timedelta(days=40))
    doors: list[tuple[Tenant, Callable[..., Answer]]] = [
        (tenant, by_web),
        (twin, lambda *asked, **headers: ask(server.port, *asked, **headers)),
    ]
    left = []
    answers: list[list[Any]] = []
    for one, door in doors:
        key, narrow = factories.make_api_key(one), factories.make_api_key(one, ["usage.view"])
        usual = {"Authorization": f"Bearer {key}", "X_Request_Id": "asked"}
        found = []
        for body, more in POSTS:
            kind = BATCH if isinstance(body, list | bytes) else SINGLE
            headers = {**usual, "Content_Type": kind, **more}
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            found.append(door("POST", PATH, sent, **{name: text for name, text in headers.items() if text is not None}))
        for method, path in OTHERS:
            body = json.dumps(event(id="by path")).encode() if method in ("POST", "PUT") else b""
            found.append(door(method, path, body, **usual, Content_Type=SINGLE))
        refused = {**usual, "Authorization": f"Bearer {narrow}", "Content_Type": SINGLE}
        found += [door("POST", PATH, json.dumps(event(id="7")).encode(), **refused) for _ in range(2)]
        set_limits(actor=factories.actor_for(one), events=7, amount=Decimal(1000))
        found.append(
            door(
                "POST",
                PATH,
                json.dumps([event(id="a"), event(id="b"), event(id="c")]).encode(),
                **usual,
                Content_Type=BATCH,
            )
        )
        answers.append([alike(answer) for answer in found])
        with tenant_scope(one.id):
            entries = AuditEntry.objects.filter(action__regex="^(billing.usage|tenants.request)")
            batches = UsageBatch.objects.order_by("id").values_list("accepted", "held", "amount")
            left.append((counted(one), sorted(entries.values_list("action", "outcome")), [*batches]))
    both = zip([*POSTS, *OTHERS, "without rights", "again", "over the limit"], *answers, strict=True)
    assert [one for one in both if one[1] != one[2]] == []
    assert left[0] == left[1]
    assert {status for status, *_ in answers[0]} == {202, 204, 400, 401, 403, 405, 406, 409, 413, 415, 429}
    with tenant_scope(twin.id):
        assert ApiKey.objects.get(name="test key", scopes__contains=["usage.ingest"]).last_used_at is not None


def test_requests_that_wait_for_their_key_are_stored_together_and_each_gets_its_own_answer(
    server: UsageServer, tenant: Tenant, superuser: psycopg.Connection
) -> None:
    key, known = factories.make_api_key(tenant), event(id="known")
    assert server.send(key, [known]).status == 204
    with held_up(superuser, NOW.date()):
        calls = [
            server.begin(key, sent, **more)
            for sent, more in [
                ([event()], {}),
                ([event()], {}),
                ([event(data={"quantity": -1})], {"X_Request_Id": "mine"}),
                ([event()], {"User_Agent": "another"}),
                ([{**known, "data": {"quantity": 4}}], {}),
                ([event(), event(), known], {}),
            ]
        ]
    found = [call.result() for call in calls]
    assert [answer.status for answer in found] == [204, 204, 400, 204, 409, 204]
    assert (found[2].body["request_id"], found[2].headers["x-request-id"]) == ("mine", "mine")
    assert counted(tenant) == 18
    with tenant_scope(tenant.id):
        # The first; then what came first, what came meanwhile, and what came meanwhile from another program.
        assert [*UsageBatch.objects.order_by("id").values_list("accepted", flat=True)] == [1, 1, 3, 1]
    figures = ask(server.port, "GET", "/metrics")
    assert (
        "exchequer_usage_group_requests_count" in figures.body
        and "exchequer_usage_waiting_requests 0.0" in figures.body
    )
    assert 'exchequer_http_requests_total{method="POST",route="/api/v1/events/",status="409"}' in figures.body
    assert ask(server.port, "GET", "/readyz").status == 200
    for path in ("/", "/api/v1/me/", "/accounts/login/", "/api/v1/events/x", "/t/acme/"):
        assert (ask(server.port, "GET", path).status, ask(server.port, "POST", path, b"{}").status) == (404, 404)


def test_a_request_over_the_limit_spoils_no_other_and_a_full_lane_says_when_to_come_back(
    server: UsageServer, tenant: Tenant, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = factories.make_api_key(tenant)
    assert server.send(key, [event()]).status == 204
    set_limits(actor=factories.actor_for(tenant), events=4, amount=Decimal(1000))
    monkeypatch.setattr(lanes, "MOST_OF_KEY", 3)
    monkeypatch.setattr(lanes, "MOST", 5)
    with held_up(superuser, NOW.date()):
        sent = [[event()], [event()], [event() for _ in range(4)], [event()]]
        calls = [server.begin(key, events) for events in sent]
        full = server.send(key, [event()])
        assert (full.status, full.body["code"], full.headers["retry-after"]) == (429, "rate_limited", "1")
        other = server.begin(factories.make_api_key(tenant), [event()])
        none = server.send(factories.make_api_key(tenant), [event()])
        assert (none.status, none.body["code"], none.headers["retry-after"]) == (503, "unavailable", "1")
    assert [call.result().status for call in [*calls, other]] == [204, 204, 429, 204, 204]
    assert counted(tenant) == 15


def test_a_revoked_key_and_a_closing_organisation_are_refused_with_the_next_group(
    server: UsageServer, tenant: Tenant, superuser: psycopg.Connection
) -> None:
    key, kept = factories.make_api_key(tenant), factories.make_api_key(tenant)
    assert [server.send(one, [event()]).status for one in (key, kept)] == [204, 204]
    with held_up(superuser, NOW.date()):
        first, second = server.begin(key, [event()]), server.begin(key, [event()])
        with tenant_scope(tenant.id):
            row = ApiKey.objects.get(prefix=key[4:12])
        api_keys.revoke_api_key(actor=factories.actor_for(tenant), key_id=row.id)
    assert (first.result().status, second.result().status, server.send(key, [event()]).status) == (204, 401, 401)
    assert second.result().headers["www-authenticate"] == 'Bearer realm="exchequer"'
    superuser.execute("UPDATE tenants_tenant SET standing = 'suspended' WHERE id = %s", [tenant.id])
    assert server.send(kept, [event()]).status == 204, "what was used is taken"
    with held_up(superuser, NOW.date()):
        calls = [server.begin(kept, [event()]) for _ in range(2)]
        superuser.execute("UPDATE tenants_tenant SET standing = 'closing' WHERE id = %s", [tenant.id])
    assert calls[0].result().status == 204
    # The lock and the standing ended together.
    refused = server.send(kept, [event()])
    assert (calls[1].result().status, refused.status, refused.body["code"]) == (403, 403, "tenant_suspended")
    assert counted(tenant) == 15


def head(length: int, key: str) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", f"Content-Type: {BATCH}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def begun(server: UsageServer, length: int, key: str, sent: int) -> socket.socket:
    """Send the head of a request and the first bytes of its body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(head(length, key) + b" " * sent)
    return connection


def status_of(connection: socket.socket) -> int:
    with connection:
        return int(connection.recv(4096).split(b" ", 2)[1])


def test_slow_and_large_bodies_hold_bounded_memory_for_a_bounded_time(
    server: UsageServer, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, megabyte = factories.make_api_key(tenant), 1024 * 1024
    budget = server.app._budget

    def limit(**some: float) -> None:
        monkeypatch.setattr(budget, "limits", replace(budget.limits, **some))

    limit(discard_s=0.2)
    # Nobody's body is read on beyond 64 KB.
    assert status_of(begun(server, megabyte, "exq_abcdefgh_unknown", 100_000)) == 401
    assert status_of(begun(server, megabyte, factories.make_api_key(tenant, ["usage.view"]), 100_000)) == 403
    assert budget.held == 0
    limit(of_key=2 * megabyte, in_all=3 * megabyte)
    open_ones = [begun(server, 2 * megabyte, key, 1_900_000)]
    wait_until(lambda: budget.held == 1_900_000, "it is read")
    assert status_of(begun(server, megabyte, key, 300_000)) == 429
    other = factories.make_api_key(tenant)
    open_ones.append(begun(server, 2 * megabyte, other, 1_200_000))
    wait_until(lambda: budget.held == 3_100_000, "it is read")
    assert status_of(begun(server, megabyte, factories.make_api_key(tenant), 60_000)) == 503
    assert server.send(other, [event()]).status == 204  # a small one has room
    for connection in open_ones:
        connection.close()
    wait_until(lambda: budget.held == 0, "what they held is free")
    assert not budget.by_key
    limit(arrive_s=0.3)
    assert status_of(begun(server, 1_000, key, 10)) == 408
    assert server.send(key, [event()]).status == 204
