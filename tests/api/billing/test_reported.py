"""Reported usage has a sender, limits, a review and a void: no bill is written unseen."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.test import Client

from billing import queries
from billing.budgets import budgets
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import SenderDay, UsageEvent, UsageKey
from billing.reported import reviews, voids
from billing.usage.intervals import void_key
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Notification, Tenant
from tests.api.billing.test_events import NOW, Sender, event
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)


class Finance:
    """A finance person's session on the API."""

    def __init__(self, tenant: Tenant) -> None:
        self.client = client_for(tenant, "finance")

    def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        raw = json.dumps(body) if body is not None else b""
        answer = self.client.generic(method, f"/api/v1/{path}", raw, content_type="application/json")
        assert answer.status_code == status, (path, answer.status_code, answer.content[:500])
        return answer.json()


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, NOW, for_=timedelta(days=60))


@pytest.fixture
def send(tenant: Tenant) -> Sender:
    return Sender(tenant)


@pytest.fixture
def finance(tenant: Tenant) -> Finance:
    return Finance(tenant)


def figures(tenant: Tenant) -> tuple[Any, ...]:
    """Return all figures that include a charge, after reconciliation."""
    with tenant_scope(tenant.id):
        assert list(ledger_faults()) == []
        assert list(reconcile_faults()) == []
        rows = queries.spend(queries.span(), group_by=["meter"])
        spent = sum((row.cost.amount for row in rows), Decimal(0))
        measured = sum((row.measured or Decimal(0) for row in rows), Decimal(0))
        told = tuple(sorted((one.scope, one.spent.amount) for one in queries.budgets()))
        return spent, measured, queries.draft_invoice().exact.amount, told


def entries(tenant: Tenant, action: str) -> list[AuditEntry]:
    with tenant_scope(tenant.id):
        return list(AuditEntry.objects.filter(action=action).order_by("seq"))


def test_a_request_has_its_sender_and_one_audit_entry(tenant: Tenant, send: Sender, finance: Finance) -> None:
    batch = [event() for _ in range(40)]
    for _ in range(2):  # the second time all are known: nothing is reported
        send(batch)
    (entry,) = entries(tenant, "billing.usage.received")
    (shown,) = finance("GET", "usage/batches/")["results"]
    assert (entry.actor_type, str(entry.actor_id), entry.target_id) == ("api_key", shown["sender_id"], shown["id"])
    assert entry.changes["accepted"] == [None, 40]
    assert (shown["sender"], shown["accepted"], shown["held"]) == (entry.actor_label, 40, 0)
    with tenant_scope(tenant.id):
        assert set(UsageKey.objects.values_list("batch_id", flat=True)) == {UUID(shown["id"])}
        assert set(UsageEvent.objects.values_list("batch_id", flat=True)) == {UUID(shown["id"])}
    page = finance("GET", f"usage/batches/{shown['id']}/?limit=30")
    assert len(page["results"]) == 30
    assert page["next"] is not None


def test_no_sender_exceeds_its_daily_cost_limit(
    tenant: Tenant, send: Sender, finance: Finance, demo_clock: DemoClock
) -> None:
    for _ in range(6):
        answer = send(event(data={"quantity": 10**12}), status=400)
        assert "more than the €10,000.00 that a sender may report a day" in answer["refused"][0]["reason"]
    for _ in range(2):
        send(event(data={"quantity": 240_000_000}))  # EUR 4,800
    answer = send([event(data={"quantity": 1}), event(data={"quantity": 240_000_000})], status=429)
    assert answer["code"] == "usage_limit"
    assert "has reported €9,600.00 today" in answer["title"]
    assert figures(tenant)[0] == 9600
    assert Sender(tenant)(event()) is None  # another key has its own daily limit
    finance("PUT", "usage/limits/", {"events": 4, "amount": "20000"})
    send(event(data={"quantity": 240_000_000}))
    assert "may report 4 events a day" in send([event(), event()], status=429)["title"]
    demo_clock.move_to(NOW + timedelta(days=1))
    send([event(), event()])
    assert len(entries(tenant, "billing.report_limit.changed")) == 1


def test_a_sender_counts_once_and_within_its_limit_whatever_overlaps(
    tenant: Tenant, send: Sender, finance: Finance, superuser: psycopg.Connection
) -> None:
    def post(body: Any, program: str) -> int:
        headers = {"Authorization": f"Bearer {send.key}", "User-Agent": program}  # equal ones would share a transaction
        try:
            return (
                Client().post("/api/v1/events", body, "application/cloudevents-batch+json", headers=headers).status_code
            )
        finally:
            connection.close()

    def overlapping(*bodies: Any) -> list[int]:
        asked = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = %s AND NOT granted"
        name = connection.settings_dict["NAME"]
        with ThreadPoolExecutor(len(bodies)) as pool:
            with tenant_scope(tenant.id):
                SenderDay.objects.select_for_update(no_key=True).get()
                calls = [pool.submit(post, json.dumps(body), f"program {at}") for at, body in enumerate(bodies)]
                wait_until(
                    lambda: superuser.execute(asked, [name]).fetchone() == (len(bodies),), "all are stored but counted"
                )
            return sorted(call.result() for call in calls)

    finance("PUT", "usage/limits/", {"events": 8, "amount": "20000"})
    send(event())
    twice = [event(), event()]
    assert overlapping(twice, twice, [event(subject="b"), event(subject="b")]) == [204, 204, 204]
    # Each alone has room for its two: the second is refused where it is counted.
    assert overlapping([event(), event()], [event(subject="b"), event(subject="b")]) == [204, 429]
    assert figures(tenant)[1] == 7 * event()["data"]["quantity"]
    with tenant_scope(tenant.id):
        assert UsageKey.objects.count() == UsageEvent.objects.count() == SenderDay.objects.get().events == 7


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("1970-01-01T00:00:00Z", "older than 35 days"),
        ("2026-08-31T11:59:59Z", "older than 35 days"),
    ],
)
def test_old_usage_waits_for_a_person_and_opens_no_invoice(
    tenant: Tenant, send: Sender, finance: Finance, at: str, reason: str
) -> None:
    old, good = event(time=at), event(data={"quantity": 1})
    answer = send([old, good], status=202)
    assert answer["accepted"] == 1
    assert [(one["index"], one["reason"], one["state"]) for one in answer["held"]] == [(0, reason, "waiting")]
    with tenant_scope(tenant.id):
        assert [view.period.isoformat() for view in queries.invoices()] == ["2026-10-01"]
        assert Notification.objects.filter(kind="usage").exists()
    figures(tenant)
    (row,) = finance("GET", "usage/held/")["results"]
    body = {"events": [row["id"]], "decision": "reject", "reason": "not ours"}
    finance("POST", "usage/held/decide/", body)
    assert finance("POST", "usage/held/decide/", body, status=409)["code"] == "usage_decided"
    assert send(old, status=202)["held"][0]["state"] == "rejected"
    assert send({**old, "data": {"quantity": 9}}, status=409)["conflicts"]
    assert figures(tenant)[1] == 1


def test_usage_before_the_first_price_is_reported(demo_clock: DemoClock) -> None:
    tenant = priced_tenant(demo_clock, NOW, for_=timedelta(hours=2))
    finance, send = Finance(tenant), Sender(tenant)
    (held,) = send(event(time="2026-10-05T09:59:59Z"), status=202)["held"]
    assert held["reason"] == "from before the first price"
    send(event(time="2026-10-05T10:00:01Z"))
    assert figures(tenant)[1] == 3
    assert finance("GET", "usage/batches/")["results"][1]["held"] == 1


def test_what_is_accepted_is_charged_by_the_price_of_its_time_under_its_sender(
    tenant: Tenant, send: Sender, finance: Finance
) -> None:
    with tenant_scope(tenant.id):
        budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(100), at_limit="notify")
    send([event(time="2026-08-20T00:00:00Z", data={"quantity": 50_000}) for _ in range(3)], status=202)
    rows = finance("GET", "usage/held/")["results"]
    body = {"events": [row["id"] for row in rows[:2]], "decision": "accept", "reason": "late, and right"}
    assert finance("POST", "usage/held/decide/", body)["amount"]["amount"] == "2.000000"
    figures(tenant)
    (batch,) = finance("GET", "usage/batches/")["results"]
    assert (batch["accepted"], batch["held"], batch["amount"]["amount"]) == (2, 1, "2.000000")
    (entry,) = entries(tenant, "billing.usage.reviewed")
    assert (entry.reason, entry.changes["state"]) == ("late, and right", ["waiting", "accepted"])
    foreign = Finance(factories.make_tenant())
    foreign("POST", "usage/held/decide/", {**body, "events": [rows[2]["id"]]}, status=404)
    # All of it can be voided, waiting events included.
    done = finance("POST", f"usage/batches/{batch['id']}/void/", {"reason": "was wrong after all"})
    assert (done["voided"], done["held"]) == (2, 0)
    figures(tenant)
    assert finance("GET", "usage/held/")["results"] == []


def test_a_void_takes_a_request_back_to_the_cent_everywhere(
    tenant: Tenant, send: Sender, finance: Finance, demo_clock: DemoClock
) -> None:
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        project = factories.make_project(tenant, "research")
        budgets.create_budget(actor=actor, amount=Decimal(100), at_limit="block_new")
        budgets.create_budget(actor=actor, amount=Decimal(100), at_limit="notify", project_id=project.id)
        closed = budgets.create_budget(
            actor=actor, amount=Decimal(100), at_limit="notify", kind=budgets.BudgetKind(tag=("team", "b"))
        )
        budgets.close_budget(actor=actor, budget_id=closed.id)
        record_usage([interval(project.id, NOW - timedelta(hours=1), 60)])
    send(event(data={"quantity": 7_777}))
    with tenant_scope(tenant.id):
        # Created after the kept usage and before the wrong one.
        budgets.create_budget(
            actor=actor, amount=Decimal(100), at_limit="notify", kind=budgets.BudgetKind(tag=("team", "a"))
        )
    before = figures(tenant)
    wrong = [
        event(id="w1", data={"quantity": 33_333, "tag:team": "a"}),
        event(id="w2", data={"quantity": 11_111, "tag:team": "b"}, project="research"),
        event(id="w3", type="device.seconds", data={"quantity": 5_000, "device_class": "cpu", "project": "research"}),
    ]
    send(wrong)
    charged = figures(tenant)
    assert charged[0] > before[0]
    with tenant_scope(tenant.id):
        # Created after the wrong usage, which its opening included.
        late = budgets.create_budget(
            actor=actor, amount=Decimal(100), at_limit="notify", kind=budgets.BudgetKind(tag=("team", "b"))
        )
        assert queries.budget(late.id).spent.amount == Decimal(11_111) * Decimal("0.00002")
    batch = finance("GET", "usage/batches/")["results"][0]["id"]
    done = finance("POST", "usage/void/", {"events": [{"source": "gateway", "id": "w1"}], "reason": "twice"})
    assert done == {"voided": 1, "amount": {"amount": "0.666660", "currency": "EUR"}}
    figures(tenant)
    done = finance("POST", f"usage/batches/{batch}/void/", {"reason": "a wrong meter"})
    assert done["voided"] == 3
    with tenant_scope(tenant.id):
        assert queries.budget(late.id).spent.amount == 0
        budgets.close_budget(actor=actor, budget_id=late.id)
    assert figures(tenant) == before
    demo_clock.move_to(NOW + timedelta(days=2))
    send(wrong)  # their ids stay used
    assert figures(tenant) == before
    assert [len(entries(tenant, f"billing.usage.{what}")) for what in ("voided", "received")] == [2, 2]


def test_only_what_was_reported_is_voided_and_only_once(tenant: Tenant, send: Sender, finance: Finance) -> None:
    with tenant_scope(tenant.id):
        project = factories.default_project_id(tenant)
        record_usage([interval(project, NOW - timedelta(hours=1), 60, key="attempt:1:0", source="compute")])
    send([event(id="a"), event(id="b")])
    name = {"source": "gateway", "id": "a"}
    for strange in ({"source": "compute", "id": "attempt:1:0"}, {"source": "gateway", "id": "never"}):
        answer = finance("POST", "usage/void/", {"events": [name, strange], "reason": "x"}, status=400)
        assert answer["unknown"] == [f"{strange['source']} {strange['id']}"]
    with tenant_scope(tenant.id):
        key = bytes(UsageEvent.objects.filter(batch_id__isnull=False).values_list("key_hash", flat=True)[0])
        (batch,) = queries.usage_batches()
    page = f"/t/{tenant.slug}/reported/{batch.id}/void/"
    for hidden in (void_key(key), bytes(16)):
        finance.client.post(page, {"what": "chosen", "event": hidden.hex(), "reason": "x"})
    assert figures(tenant)[1] == 66
    finance("POST", "usage/void/", {"events": [name], "reason": ""}, status=400)
    finance("POST", "usage/void/", {"events": [name], "reason": "once"})
    assert finance("POST", "usage/void/", {"events": [name], "reason": "again"}, status=409)["code"] == "usage_voided"
    finance("POST", f"usage/batches/{batch.id}/void/", {"reason": "the rest"})
    again = finance("POST", f"usage/batches/{batch.id}/void/", {"reason": "again"}, status=409)
    assert again["code"] == "usage_voided"
    assert figures(tenant)[1] == 60


def test_what_was_reported_before_senders_were_known_is_voided_by_its_names(tenant: Tenant, finance: Finance) -> None:
    with tenant_scope(tenant.id):
        budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(100), at_limit="notify")
        before = figures(tenant)
        project = factories.default_project_id(tenant)
    page = f"/t/{tenant.slug}/reported/"
    assert "before senders were recorded" not in text_of(finance.client.get(page))
    with tenant_scope(tenant.id):
        record_usage([interval(project, NOW - timedelta(hours=1), 60, key="early", source="gateway")])
    assert "before senders were recorded" in text_of(finance.client.get(page))
    assert figures(tenant)[0] > before[0]
    body = {"events": [{"source": "gateway", "id": "early"}], "reason": "never happened"}
    assert finance("POST", "usage/void/", body)["voided"] == 1
    assert figures(tenant) == before
    assert finance("POST", "usage/void/", body, status=409)["code"] == "usage_voided"


def test_one_decision_writes_no_more_segments_than_one_request(
    tenant: Tenant, send: Sender, finance: Finance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (reviews, voids):
        monkeypatch.setattr(module, "MOST_QUARTERS", 8)
    old = {"time": "2026-08-20T01:00:00Z", "type": "device.seconds", "data": {"quantity": 3600, "device_class": "cpu"}}
    send([event(id=f"old{n}", **old) for n in range(3)], status=202)
    chosen = [row["id"] for row in finance("GET", "usage/held/")["results"]]
    body = {"decision": "accept", "reason": "late"}
    answer = finance("POST", "usage/held/decide/", {**body, "events": chosen}, status=400)
    assert "Select fewer events" in str(answer)
    for part in (chosen[:2], chosen[2:]):
        finance("POST", "usage/held/decide/", {**body, "events": part})
    (batch,) = finance("GET", "usage/batches/")["results"]
    every = [{"source": "gateway", "id": f"old{n}"} for n in range(3)]
    for path, named in (("usage/void/", {"events": every}), (f"usage/batches/{batch['id']}/void/", {})):
        assert "Name fewer events" in str(finance("POST", path, {**named, "reason": "wrong"}, status=400))
    assert finance("POST", "usage/void/", {"events": every[:1], "reason": "wrong"})["voided"] == 1
    assert finance("POST", f"usage/batches/{batch['id']}/void/", {"reason": "the rest"})["voided"] == 3
    assert figures(tenant)[:2] == (0, 0)


def test_four_people_who_void_the_same_request_take_it_back_once(tenant: Tenant, send: Sender) -> None:
    send([event(data={"quantity": 1_000}) for _ in range(20)])
    with tenant_scope(tenant.id):
        (batch,) = queries.usage_batches()
    people = [Finance(tenant) for _ in range(4)]

    def work(person: Finance) -> int:
        try:
            path = f"/api/v1/usage/batches/{batch.id}/void/"
            return person.client.post(path, {"reason": "wrong"}, content_type="application/json").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(work, people)) == [200, 409, 409, 409]
    assert figures(tenant)[:3] == (0, 0, 0)


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "CLF"])
def test_a_limit_is_accepted_as_the_page_shows_it(currency: str) -> None:
    tenant = factories.make_tenant(currency=currency)
    finance, page = Finance(tenant), f"/t/{tenant.slug}/reported/"
    finance("PUT", "usage/limits/", {"events": 7, "amount": "500"})
    shown = re.search(r'name="amount"[^>]*value="([^"]*)"', text_of(finance.client.get(page)))
    assert shown is not None
    answer = finance.client.post(f"{page}limits/", {"events": "7", "amount": shown[1]}, follow=True)
    assert "Limits saved" in text_of(answer)
    assert finance("GET", "usage/limits/")["amount"]["amount"].startswith("500.0")


def test_finance_sees_decides_voids_and_limits_on_the_page(tenant: Tenant, send: Sender, finance: Finance) -> None:
    page, client = f"/t/{tenant.slug}/reported/", finance.client
    assert "No reported usage yet" in text_of(client.get(page))
    send([event(id="old", time="2026-01-01T00:00:00Z", subject="machine-9"), event(subject="machine-8")], status=202)
    text = text_of(client.get(page))
    assert all(word in text for word in ("machine-9", "older than 35 days", "1 event."))
    with tenant_scope(tenant.id):
        ((held,), (batch,)) = queries.held_events(), queries.usage_batches()
    answer = client.post(f"{page}decide/", {"event": str(held.id), "decision": "accept", "reason": "late"}, follow=True)
    assert "1 accepted and counted" in text_of(answer)
    shown = text_of(client.get(f"{page}{batch.id}/"))
    assert all(word in shown for word in (batch.sender, "machine-9", "machine-8", "Void all"))
    answer = client.post(f"{page}{batch.id}/void/", {"what": "all", "reason": "wrong"}, follow=True)
    assert " reversed." in text_of(answer)
    assert text_of(answer).count(">voided</span>") == 2
    assert "Void all" not in text_of(client.get(f"{page}{batch.id}/")).partition("<dialog")[0]
    answer = client.post(f"{page}limits/", {"events": "5", "amount": "2,000"}, follow=True)
    assert "Limits saved" in text_of(answer)
    assert finance("GET", "usage/limits/")["amount"]["amount"] == "2000.000000"
    assert "Events a day" in text_of(client.post(f"{page}limits/", {"events": "-1", "amount": "1"}, follow=True))


def test_usage_at_an_extreme_price_needs_approval(tenant: Tenant, send: Sender, demo_clock: DemoClock) -> None:
    """An event under an expensive price list is refused by its cost, whatever its quantity."""
    with tenant_scope(tenant.id):
        dear = [selling.NewPrice("inference_requests", {}, Decimal(20_000))]
        selling.publish(book_id=queries.price_books()[0].id, prices=dear)
    demo_clock.advance(timedelta(minutes=10))
    at = datetime(2026, 10, 5, 12, 9, tzinfo=UTC).isoformat()
    answer = send([event(time=at, data={"quantity": 1}), event()], status=400)
    assert [one["index"] for one in answer["refused"]] == [0]
    assert figures(tenant)[1] == 3


def test_what_was_reported_is_a_line_of_its_own_that_names_its_senders(
    tenant: Tenant, send: Sender, finance: Finance
) -> None:
    with tenant_scope(tenant.id):
        project = factories.default_project_id(tenant)
        own = interval(project, NOW - timedelta(hours=1), 60, source="compute", resource="device:own")
        record_usage([own])
    tell = Sender(tenant)
    for number, (sender, seconds) in enumerate(((send, 900), (tell, 10), (tell, 20))):
        data = {"quantity": seconds, "device_class": "cpu"}
        sender(event(type="device.seconds", subject=f"machine-{number}", data=data, source="ſensor"))
    figures(tenant)
    (invoice,) = finance("GET", "invoices/")["results"]
    lines = finance("GET", f"invoices/{invoice['id']}/lines/")["results"]
    assert sorted((line["outside"], line["quantity"]) for line in lines) == [(False, "60.000000"), (True, "930.000000")]
    (outside,) = [line["n"] for line in lines if line["outside"]]
    names = {batch["sender"] for batch in finance("GET", "usage/batches/")["results"]}
    rows = finance("GET", f"invoices/{invoice['id']}/lines/{outside}/explain/")["results"]
    assert {(row["actor"], row["source"]) for row in rows} == {(name, "ſensor") for name in names}
    page = f"/t/{tenant.slug}/invoices/{invoice['id']}/"
    shown = text_of(finance.client.get(page))
    assert shown.count(">reported from outside</span>") == 1
    assert "reported from outside" in finance.client.get(f"{page}?export=csv").content.decode()
    line = f"{page}lines/{outside}/"

    def machines(query: str) -> list[str]:
        text = text_of(finance.client.get(f"{line}?{query}"))
        return re.findall(r"machine-\d", text.partition('id="intervals"')[2])

    assert set(machines("q=machine-1")) == {"machine-1"}
    assert machines("order=dearest")[0] == "machine-0"
    assert machines("q=nowhere") == []
    people = text_of(finance.client.get(f"{line}?people=on")).partition('id="people"')[2]
    people = people.partition("</section>")[0]
    assert [people.count(f'title="{amount} EUR"') for amount in ("0.45", "0.015")] == [1, 1], people
    assert "device:own" not in text_of(finance.client.get(line))
