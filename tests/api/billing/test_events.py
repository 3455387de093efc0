"""Reported usage: CloudEvents are counted once, and valid ones are stored whatever the others are."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing import queries
from billing.api import events
from billing.budgets import budgets
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import UsageBatch, UsageEvent, UsageSeries
from billing.reported.cloudevents import EventRefused, parse
from billing.reported.sender_limits import set_limits
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import priced_tenant
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
#: Statements of a request, with the beginning and the end of its transaction, and the one that finds the key.
ONE_REQUEST, KNOWN_AGAIN = 16, 11


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, NOW, for_=timedelta(days=40))


def event(**more: Any) -> dict[str, Any]:
    """Return a valid event with its own id; None removes an attribute."""
    whole = {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "gateway",
        "type": "inference.requests",
        "subject": "customer-7",
        "time": "2026-10-05T11:00:00Z",
        "data": {"quantity": 3},
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


class Sender:
    def __init__(self, tenant: Tenant) -> None:
        self.key = factories.make_api_key(tenant)

    def __call__(self, body: Any, kind: str = "", path: str = "events", status: int = 204, **headers: str) -> Any:
        raw = body if isinstance(body, bytes | str) else json.dumps(body)
        kind = kind or (BATCH if isinstance(body, list) else SINGLE)
        headers["Authorization"] = f"Bearer {self.key}"
        answer = Client().generic("POST", f"/api/v1/{path}", raw, kind, headers=headers)
        assert answer.status_code == status, (answer.status_code, answer.content[:600])
        return json.loads(answer.content) if answer.content else None


@pytest.fixture
def send(tenant: Tenant) -> Sender:
    return Sender(tenant)


def counted(tenant: Tenant) -> Decimal:
    with tenant_scope(tenant.id):
        rows = queries.spend(queries.span(), group_by=["meter"])
        assert list(ledger_faults()) == []
        assert list(reconcile_faults()) == []
        return sum((row.quantity or Decimal(0) for row in rows), Decimal(0))


def test_one_event_and_a_batch_are_counted_with_and_without_the_last_slash(tenant: Tenant, send: Sender) -> None:
    assert send(event()) is None
    send(event(), path="events/")
    send([event(), event(data={"quantity": "1.5"})])
    send(event(), kind="application/json; charset=utf-8")
    send([event()], kind="application/json")
    send([])
    assert counted(tenant) == Decimal("16.5")


def test_the_same_event_counts_once_for_ever(tenant: Tenant, send: Sender, demo_clock: DemoClock) -> None:
    one, timeless = event(), event(time=None)
    for _ in range(3):
        send([one, one, timeless])
    demo_clock.move_to(NOW + timedelta(days=20))
    send([timeless, one])
    send({**one, "source": "another"})
    assert counted(tenant) == 9


def test_the_same_id_with_another_content_is_a_conflict_and_the_good_ones_are_stored(
    tenant: Tenant, send: Sender
) -> None:
    known = event(id="a")
    send(known)
    twin = {**known, "data": {"quantity": 4}}
    elsewhere = {**twin, "source": "another", "data": {"quantity": -1}}
    answer = send([event(), twin, elsewhere, known], status=409)
    assert answer["code"] == "usage_conflict"
    assert answer["conflicts"] == [
        {"index": 1, "source": "gateway", "id": "a", "reason": "already known with different content"}
    ]
    assert [(row["index"], row["source"]) for row in answer["refused"]] == [(2, "another")]
    assert counted(tenant) == 6
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="billing.usage.conflicted").count() == 1


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"source": None}, "source"),
        ({"subject": None}, "subject"),
        ({"type": "no.such"}, "type"),
        ({"type": 7}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-10-05T11:00:00"}, "time"),
        ({"time": "2026-10-05T12:06:00Z"}, "5 minutes"),
        ({"time": 5}, "time"),
        ({"data": None}, "data"),
        ({"data": []}, "data"),
        ({"data": {}}, "data.quantity"),
        ({"data": {"quantity": True}}, "data.quantity"),
        ({"data": {"quantity": "3 apples"}}, "data.quantity"),
        ({"data": {"quantity": 0}}, "positive"),
        ({"data": {"quantity": -1}}, "positive"),
        ({"data": {"quantity": 1e30}}, "positive"),
        ({"data": {"quantity": 1e-9}}, "six decimals"),
        ({"data": {"quantity": "1.00000000000000000000000000001"}}, "six decimals"),
        ({"id": ["x"]}, "id"),
        ({"id": "\ud800"}, "surrogates"),
        ({"data": {"quantity": 1, "a b": 1}}, "dimension"),
        ({"data": {"quantity": 1, "a": "x" * 201}}, "data.a"),
        ({"data": {"quantity": 1, **{f"d{n}": 1 for n in range(21)}}}, "dimensions"),
        ({"data": {"quantity": 1, "project": "nowhere"}}, "project"),
        ({"project": 5}, "project"),
        ({"datacontenttype": "text/plain"}, "datacontenttype"),
        ({"data_base64": "AA=="}, "data_base64"),
        ({"subject": "a\x00b"}, "NUL"),
        ({"type": "device.seconds", "data": {"quantity": 86_401}}, "24 hours"),
        ({"type": "device.seconds", "data": {"quantity": "NaN"}}, "data.quantity"),
    ],
)
def test_a_bad_event_is_named_with_its_reason_and_the_others_are_stored(
    tenant: Tenant, send: Sender, more: dict[str, Any], word: str
) -> None:
    answer = send([event(), event(**more), event()], status=400)
    assert answer["code"] == "usage_refused"
    (refused,) = answer["refused"]
    assert refused["index"] == 1
    assert word in refused["reason"], refused
    assert counted(tenant) == 6


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        ("{", SINGLE, 400, "invalid"),
        ("\xff\xfe", SINGLE, 400, "invalid"),
        ("[" * 100_000, BATCH, 400, "invalid"),
        ('{"data": {"quantity": NaN}}', SINGLE, 400, "invalid"),
        ("5", SINGLE, 400, "invalid"),
        ("[5, null]", BATCH, 400, "usage_refused"),
        ("[]", SINGLE, 400, "invalid"),
        ("{}", BATCH, 400, "invalid"),
        ("{}", SINGLE, 400, "usage_refused"),
        ("{}", "text/plain", 415, "unsupported_media_type"),
        (json.dumps([{}] * 1001), BATCH, 413, "too_large"),
        (" " * (2 * 1024 * 1024) + "[]", BATCH, 413, "too_large"),
    ],
)
def test_an_invalid_batch_of_events_is_refused_and_stores_nothing(
    tenant: Tenant, send: Sender, body: str, kind: str, status: int, code: str
) -> None:
    raw = body.encode("latin-1")
    assert send(raw, kind=kind, status=status)["code"] == code
    assert counted(tenant) == 0


@pytest.mark.parametrize("header", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize("levels", [40, 480, 900])
def test_an_event_nested_deep_is_refused_by_itself(
    tenant: Tenant, send: Sender, levels: int, header: dict[str, str]
) -> None:
    deep = json.dumps(event(id="deep")).replace('"quantity": 3', '"quantity": 3, "d": ' + "[" * levels + "]" * levels)
    answer = send(f"[{json.dumps(event())}, {deep}]", kind=BATCH, status=400, **header)
    if answer["code"] == "usage_refused":
        assert [(row["index"], "deep" in row["reason"]) for row in answer["refused"]] == [(1, True)]
        assert counted(tenant) == 3
    else:
        assert (levels, answer["code"]) == (900, "invalid")


@pytest.mark.parametrize(
    "number", ["1E1000000", "1E999999", "1E-999999", "1E-1000000", "1E99999999999999999999", "9" * 4000, "-1E999999"]
)
def test_a_number_of_few_characters_never_becomes_a_million(tenant: Tenant, send: Sender, number: str) -> None:
    whole = json.dumps(event()).replace('"quantity": 3', f'"quantity": {number}')
    send("[]", kind=BATCH)  # so that imports of the first request do not count
    tracemalloc.start()
    try:
        answer = send(f"[{json.dumps(event())}, {whole}]", kind=BATCH, status=400)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(row["index"], row["reason"].partition(":")[0]) for row in answer["refused"]] == [(1, "data.quantity")]
    assert most < 4_000_000, most
    assert counted(tenant) == 3


def test_zeros_behind_a_number_count_for_nothing() -> None:
    read, plain = (parse(event(id="a", data={"quantity": Decimal(text)})) for text in ("1.5" + "0" * 20_000, "1.5"))
    assert read.content == plain.content
    assert len(str(read.quantity)) < 40


def test_a_thousand_events_are_one_batch(tenant: Tenant, send: Sender) -> None:
    send([event(data={"quantity": 1}) for _ in range(1000)])
    assert counted(tenant) == 1000


def test_a_thousand_events_take_as_many_statements_as_one(tenant: Tenant, send: Sender) -> None:
    def taken(*sent: Any) -> Counter[str]:
        with CaptureQueriesContext(connection) as seen:
            for body in sent:
                send(body)
        return Counter(one["sql"].split()[0] for one in seen)

    known = event()
    send(known)  # prices are read once by each process, and the audit log gets its head
    one, many = taken(event()), taken([event(data={"quantity": 1}) for _ in range(1000)])
    assert one == many
    assert one.total() == ONE_REQUEST, one
    assert "SAVEPOINT" not in one
    # A known event finds its content, and stores nothing.
    assert taken(known).total() == KNOWN_AGAIN
    with tenant_scope(tenant.id):
        budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(1000), at_limit="notify")
    taken(event())  # its counter is opened
    # Counters are looked for, locked and moved.
    assert taken(event()).total() == ONE_REQUEST + 3
    assert taken([event() for _ in range(100)]).total() == ONE_REQUEST + 3


def test_data_and_extensions_say_the_dimensions_and_the_project(tenant: Tenant, send: Sender) -> None:
    with tenant_scope(tenant.id):
        project = factories.make_project(tenant, "research")
    data = {
        "quantity": 1,
        "region": "eu",
        "calls": 7,
        "cached": True,
        "none": None,
        "price": 1.50,
        "project": "research",
    }
    send(event(data=data))
    send(event(project=str(project.id)))
    send(event(project="default", data={"quantity": 5, "project": "research"}))
    with tenant_scope(tenant.id):
        dims = [row.dims for row in UsageSeries.objects.exclude(dims={})]
        assert dims == [{"region": "eu", "calls": "7", "cached": "true", "price": "1.5"}]
        by_project = {row.project_name: row.quantity for row in queries.spend(queries.span(), group_by=["project"])}
        assert by_project == {"A project": 4, "Default": 5}
        assert {row.keys["dim:region"] for row in queries.spend(queries.span(), group_by=["dim:region"])} == {
            "eu",
            None,
        }


def test_seconds_are_over_when_they_are_reported(tenant: Tenant, send: Sender) -> None:
    send(event(type="device.seconds", data={"quantity": 5400.5, "device_class": "cpu"}))
    with tenant_scope(tenant.id):
        segments = UsageEvent.objects.order_by("started_at")
        assert len(segments) == 7
        assert segments[0].started_at == datetime(2026, 10, 5, 9, 29, 59, 500_000, tzinfo=UTC)
        assert segments[6].ended_at == datetime(2026, 10, 5, 11, tzinfo=UTC)
        assert sum(segment.measured for segment in segments) == Decimal("5400.5")


def test_an_own_meter_is_defined_counted_and_priced(tenant: Tenant, send: Sender) -> None:
    client = client_for(tenant, "finance")
    body = {"title": "Storage", "unit": "GiB-hour", "event_type": "storage.gib_hours"}
    made = client.post("/api/v1/meters/", body, content_type="application/json")
    assert (made.status_code, made.json()["key"]) == (201, "storage_gib_hours")
    assert client.post("/api/v1/meters/", body, content_type="application/json").json()["code"] == "meter_exists"
    for wrong in ({**body, "event_type": "=1+1"}, {**body, "key": "Ä"}, {"title": "x"}, {**body, "unit": ""}):
        assert client.post("/api/v1/meters/", wrong, content_type="application/json").status_code == 400
    unpriced = event(type="storage.gib_hours", data={"quantity": 12.25})
    for _ in range(2):  # a repetition gets the same response: it is stored and not counted
        (held,) = send(unpriced, status=202)["held"]
        assert (held["id"], held["reason"], held["state"]) == (unpriced["id"], "no price matches", "waiting")
    with tenant_scope(tenant.id):
        assert queries.spend(queries.span(), group_by=["meter"]) == []
    (row,) = client.get("/api/v1/usage/held/").json()["results"]
    body = {"events": [row["id"]], "decision": "accept", "reason": "it was free then"}
    done = client.post("/api/v1/usage/held/decide/", body, content_type="application/json")
    assert done.json() == {"decided": 1, "amount": {"amount": "0.000000", "currency": "EUR"}}
    with tenant_scope(tenant.id):
        (row,) = queries.spend(queries.span(), group_by=["meter"])
        assert (row.quantity, row.measured, row.unit, row.cost.amount) == (0, Decimal("12.25"), "GiB-hour", 0)
    stranger = client_for(factories.make_tenant(), "owner").get("/api/v1/meters/").json()["results"]
    assert "storage_gib_hours" not in {meter["key"] for meter in stranger}


def test_only_those_who_may_send_usage_do(tenant: Tenant) -> None:
    key = factories.make_api_key(tenant, ["usage.view"])
    answer = Client().post(
        "/api/v1/events", json.dumps(event()), content_type=SINGLE, headers={"Authorization": f"Bearer {key}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert (
        client_for(tenant, "finance").post("/api/v1/events", event(), content_type="application/json").status_code
        == 403
    )
    assert (
        client_for(tenant, "engineer").post("/api/v1/events", event(), content_type="application/json").status_code
        == 204
    )
    assert counted(tenant) == 3


def test_a_sum_takes_a_handful_of_groups_and_a_body_a_handful_of_levels(tenant: Tenant) -> None:
    client = client_for(tenant, "finance")
    groups = ",".join(f"tag:t{number}" for number in range(1_700))
    for path in ("usage", "spend"):
        answer = client.get(f"/api/v1/{path}/?group_by={groups}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    for levels in (40, 480):
        body = '{"title": ' + "[" * levels + "]" * levels + "}"
        answer = client.post("/api/v1/meters/", body, content_type="application/json")
        assert answer.status_code == 400
        assert "deep" in text_of(answer)


def test_reported_events_cannot_use_the_platforms_sources(tenant: Tenant, send: Sender) -> None:
    taken = [{"source": name} for name in ("serving", "compute", " Serving ")]
    taken += [{"subject": f"{prefix}:{uuid4()}"} for prefix in ("endpoint", "job", "attempt", "JOB", "job ")]
    taken += [
        {"source": name}
        for name in ("ｃompute", "com\u200bpute", "соmpute", "cοmpute", "c0mpute", "cornpute", "compute.")
    ]
    taken += [
        {"source": name}
        for name in ("\u202eserving", "ѕerving", "s\u0435rv\u0456ng", "serv1ng", "ser\u00adving", "ꓢerving")
    ]
    taken += [
        {"source": name}
        for name in ("🅲ompute", "🅒ompute", "🇨ompute", "¢ompute", "comput℮", "\u202eetupmoc", "a\u2066b")
    ]
    taken += [{"subject": name} for name in ("🅹ob:7", "🇯ob:7", "jobꓽ7", "job︰7", "jobः7", "\u202e7:boj", "vm\u200b1")]
    taken += [
        {"subject": f"{name}7"} for name in ("job：", "ｊob:", "jοb∶", "\ufeffjob:", "j\u0301ob:", "end\u2060point:")
    ]
    free = [
        {"source": "serving-gateway"},
        {"source": "Сервер"},
        {"source": "客户机"},
        {"subject": "jobs"},
        {"subject": "customer:job:7"},
    ]
    answer = send([event(**more) for more in taken + free], status=400)
    assert [row["index"] for row in answer["refused"]] == list(range(len(taken)))
    reasons = [row["reason"] for row in answer["refused"]]
    assert all("is reserved for" in reason or "invisible" in reason for reason in reasons)
    assert counted(tenant) == 3 * len(free)


def test_two_tenants_may_use_the_same_ids(tenant: Tenant, send: Sender) -> None:
    other = factories.make_tenant()
    one = event(time=None)
    send(one)
    Sender(other)({**one, "data": {"quantity": 9}})
    assert counted(tenant) == 3


def test_eight_senders_of_the_same_events_count_each_once(tenant: Tenant, send: Sender) -> None:
    batches = [[event(data={"quantity": 1}) for _ in range(20)] for _ in range(4)]

    def work(number: int) -> None:
        try:
            for turn in range(4):
                send(batches[(number + turn) % 4])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert counted(tenant) == 80


@pytest.fixture
def together(send: Sender, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[int], list[Any]]]:
    """Send the first body, the others while it is being stored; return how many were taken at once, and the answers."""
    lanes, begins, groups = events.GROUPS, Event(), list[int]()
    usual = lanes._together

    def take(actor: Actor, requests: Any) -> Any:
        groups.append(len(requests))
        begins.wait(PATIENCE_S)
        return usual(actor, requests)

    def post(body: Any, status: int) -> Any:
        try:
            return send(body, status=status)
        finally:
            connection.close()

    def run(*bodies: tuple[Any, int]) -> tuple[list[int], list[Any]]:
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(post, *bodies[0])]
            wait_until(lambda: bool(groups), "the first is taken")
            for number, one in enumerate(bodies[1:], 1):
                calls.append(pool.submit(post, *one))
                wait_until(lambda number=number: len(next(iter(lanes._waiting.values()))) == number, "it waits")
            begins.set()
            return groups, [call.result() for call in calls]

    monkeypatch.setattr(lanes, "_together", take)
    return run


def test_requests_that_wait_for_their_sender_are_stored_together_and_each_gets_its_own_answer(
    tenant: Tenant, together: Any
) -> None:
    known, old = event(id="known"), event(time="2026-08-01T00:00:00Z")
    negative, twin = event(data={"quantity": -1}), {**known, "data": {"quantity": 4}}
    groups, answers = together(
        (known, 204), (event(), 204), (negative, 400), (twin, 409), ([event(), known, old], 202)
    )  # fmt: skip
    assert groups == [1, 4]
    assert answers[0] is answers[1] is None
    assert [row["index"] for row in answers[2]["refused"]] == [0]
    assert [row["id"] for row in answers[3]["conflicts"]] == ["known"]
    assert (answers[4]["accepted"], [row["index"] for row in answers[4]["held"]]) == (1, [2])
    assert counted(tenant) == 9
    with tenant_scope(tenant.id):
        assert sorted(UsageBatch.objects.values_list("accepted", "held")) == [(1, 0), (2, 1)]


def test_a_request_over_the_senders_limit_does_not_spoil_those_that_wait_with_it(tenant: Tenant, together: Any) -> None:
    set_limits(actor=factories.actor_for(tenant), events=3, amount=Decimal(1000))
    groups, _ = together((event(), 204), (event(), 204), ([event() for _ in range(4)], 429), (event(), 204))
    assert groups == [1, 3, 1, 1, 1]
    assert counted(tenant) == 9


def test_usage_from_outside_counts_against_budgets(tenant: Tenant, send: Sender) -> None:
    with tenant_scope(tenant.id):
        budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(1), at_limit="notify")
    send(event(data={"quantity": 10_000}))
    with tenant_scope(tenant.id):
        assert queries.budgets()[0].spent.amount == Decimal("0.2")


SIMPLE = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text()
NESTED = SIMPLE | st.lists(SIMPLE, max_size=3) | st.dictionaries(st.text(max_size=8), SIMPLE, max_size=3)
VALUES = NESTED | st.lists(NESTED, max_size=3) | st.dictionaries(st.text(max_size=8), NESTED, max_size=3)


DATA = st.dictionaries(st.sampled_from(["model", "project", "hold", "tag:team", " "]), st.text(max_size=3))


@given(
    st.dictionaries(st.sampled_from([*event(), "project", "data_base64", "datacontenttype"]), VALUES)
    | st.builds(lambda data: {"data": {**data, "quantity": 1}}, DATA)
)
def test_any_event_is_read_or_refused(changes: dict[str, Any]) -> None:
    whole = {**event(), **changes}
    # What events share is parsed once; with a number among its attributes an event is parsed by itself.
    alone = {**whole, "number": 1}
    try:
        read = parse(whole)
    except EventRefused as refused:
        with pytest.raises(EventRefused, match=re.escape(str(refused))):
            parse(alone)
    else:
        assert read == parse(alone)
        assert read.content == parse({**whole, "id": "another"}).content
        assert read.content == json.dumps(json.loads(read.content))
        assert all(isinstance(value, str) for value in read.dims.values())
