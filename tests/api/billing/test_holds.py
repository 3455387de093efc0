"""Holds for work that is not ours: asked for first, settled by events, released or expired, never overspent."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client

from billing.budgets import budgets
from billing.budgets.budgets import BudgetKind
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import BudgetPeriod, Hold, UsageEvent
from billing.reported.holds import asking, expiry
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import ApiKey, AuditEntry, Membership, Project, Tenant
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.usage import priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
EURO = 50_000
"""So many requests cost one euro."""


class Gateway:
    """A model gateway outside, with its key."""

    def __init__(self, tenant: Tenant, key: str = "") -> None:
        self.key = key or factories.make_api_key(tenant)

    def __call__(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        headers["Authorization"] = f"Bearer {self.key}"
        raw = "" if body is None else json.dumps(body)
        kind = "application/cloudevents-batch+json" if path == "events" else "application/json"
        answer = Client().generic(method, f"/api/v1/{path}", raw, kind, headers=headers)
        assert answer.status_code == status, (answer.status_code, answer.content[:600])
        return json.loads(answer.content) if answer.content else None

    def ask(self, quantity: int = EURO, status: int = 201, key: str = "", **more: Any) -> Any:
        body = {"project": "default", "meter": "inference_requests", "quantity": str(quantity), "expires_in_s": 600}
        headers = {"Idempotency-Key": key} if key else {}
        return self("POST", "holds/", body | more, status, **headers)

    def report(self, *used: dict[str, Any], status: int = 204) -> Any:
        return self("POST", "events", list(used), status)


def used(hold: Any, quantity: int, *, at: str = "2026-10-05T12:00:00Z", **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "gateway",
        "type": "inference.requests",
        "subject": "model-x",
        "time": at,
        "data": {"quantity": quantity, "hold": hold["id"], **data},
    }


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, NOW, for_=timedelta(days=40))


@pytest.fixture
def gateway(tenant: Tenant) -> Gateway:
    return Gateway(tenant)


def limited(tenant: Tenant, amount: str, kind: BudgetKind = budgets.MONTHLY, at_limit: str = "block_new") -> Any:
    with tenant_scope(tenant.id):
        actor = factories.actor_for(tenant)
        return budgets.create_budget(actor=actor, amount=Decimal(amount), at_limit=at_limit, kind=kind)


def counted(tenant: Tenant) -> dict[str, tuple[str, str, str]]:
    """Return held, spent and unreserved of each budget by its length and scope, after the proofs."""
    with tenant_scope(tenant.id):
        assert [str(fault) for fault in ledger_faults()] == []
        assert [str(fault) for fault in reconcile_faults()] == []
        return {
            f"{row.budget.period} {row.budget.tag_value or ('person' if row.budget.person else '')}".strip(): (
                f"{row.held:.2f}", f"{row.spent:.2f}", f"{row.unheld:.2f}",
            )
            for row in BudgetPeriod.objects.select_related("budget")
        }  # fmt: skip


def entries(tenant: Tenant, what: str) -> int:
    with tenant_scope(tenant.id):
        return AuditEntry.objects.filter(action=f"billing.hold.{what}").count()


def swept() -> int:
    with selling.as_control():
        return expiry.expire_all()


def at_once(workers: int, call: Callable[[int], Any]) -> list[Any]:
    barrier = Barrier(workers)

    def run(number: int) -> Any:
        try:
            barrier.wait(20)
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def test_a_gateway_holds_reports_in_parts_and_releases_the_rest(tenant: Tenant, gateway: Gateway) -> None:
    limited(tenant, "3")
    made = gateway.ask(2 * EURO)
    assert (made["state"], made["amount"]["amount"], made["budget_left_after"]["amount"]) == (
        "open",
        "2.000000",
        "1.000000",
    )
    assert made["expires_at"].startswith("2026-10-05T12:10:0")
    gateway.report(used(made, EURO // 2), used(made, EURO // 4))
    gateway.report(used(made, EURO // 4))
    assert counted(tenant) == {"month": ("1.00", "1.00", "0.00")}
    seen = gateway("GET", f"holds/{made['id']}/")
    assert (seen["settled"]["amount"], seen["left"]["amount"]) == ("1.000000", "1.000000")
    more = gateway("POST", f"holds/{made['id']}/extend/", {"quantity": str(EURO), "expires_in_s": 1200})
    assert (more["amount"]["amount"], more["budget_left_after"]["amount"]) == ("3.000000", "0.000000")
    assert gateway("POST", f"holds/{made['id']}/extend/", {"quantity": "1"}, 402)["code"] == "budget_exceeded"
    for _ in range(2):
        assert gateway("POST", f"holds/{made['id']}/release/")["state"] == "released"
    assert counted(tenant) == {"month": ("0.00", "1.00", "0.00")}
    assert gateway("POST", f"holds/{made['id']}/extend/", {"quantity": "1"}, 409)["code"] == "hold_ended"
    assert [entries(tenant, what) for what in ("placed", "extended", "released", "expired")] == [1, 1, 1, 0]
    listed = [gateway.ask(1)["id"] for _ in range(3)]
    page = gateway("GET", "holds/?state=open&limit=2")
    assert [row["id"] for row in page["results"]] == listed[:0:-1]
    assert page["next"] is not None
    assert len(gateway("GET", "holds/?state=released")["results"]) == 1


def test_without_room_nothing_is_stored_and_the_answer_names_what_is_left(tenant: Tenant, gateway: Gateway) -> None:
    limited(tenant, "1.5")
    refused = gateway.ask(2 * EURO, status=402)
    assert (refused["code"], refused["left"]["amount"], refused["asked"]["amount"]) == (
        "budget_exceeded", "1.500000", "2.000000",
    )  # fmt: skip
    with tenant_scope(tenant.id):
        assert not Hold.objects.exists()


def test_sixteen_gateways_race_for_a_budget_that_fits_three(tenant: Tenant) -> None:
    limited(tenant, "3.5")
    limited(tenant, "30", BudgetKind(length="year"))
    keys = [factories.make_api_key(tenant) for _ in range(4)]

    def ask(number: int) -> bool:
        headers = {"Authorization": f"Bearer {keys[number % 4]}"}
        body = {"project": "default", "meter": "inference_requests", "quantity": EURO, "expires_in_s": 60}
        answer = Client().post("/api/v1/holds/", body, "application/json", headers=headers)
        assert answer.status_code in (201, 402)
        return answer.status_code == 201

    assert sum(at_once(16, ask)) == 3
    assert counted(tenant) == {"month": ("3.00", "0.00", "0.00"), "year": ("3.00", "0.00", "0.00")}


def test_what_a_hold_does_not_cover_counts_as_unreserved_and_is_voided_to_the_cent(
    tenant: Tenant, gateway: Gateway
) -> None:
    limited(tenant, "2")
    limited(tenant, "9", BudgetKind(tag=("team", "a"), length="quarter"), "notify")
    made = gateway.ask(dims={"tag:team": "a"})
    wrong = used(made, 3 * EURO)
    gateway.report(used(made, EURO // 2))
    gateway.report(wrong, used({"id": None}, EURO // 10))
    # The hold pays one euro; two more and a tenth have no hold, and it is no longer asked what is left.
    assert counted(tenant) == {"month": ("0.00", "1.00", "2.60"), "quarter a": ("0.00", "1.00", "2.50")}
    late = limited(tenant, "9", BudgetKind(length="year"), "notify")
    assert counted(tenant)["year"] == ("0.00", "3.60", "0.00")
    client = client_for(tenant, "finance")
    body = {"events": [{"source": "gateway", "id": wrong["id"]}], "reason": "a wrong count"}
    answer = client.post("/api/v1/usage/void/", body, "application/json")
    assert answer.json()["amount"]["amount"] == "3.000000"
    with tenant_scope(tenant.id):
        budgets.close_budget(actor=factories.actor_for(tenant), budget_id=late.id)
    assert counted(tenant) == {
        "month": ("0.00", "0.50", "0.10"), "quarter a": ("0.00", "0.50", "0.00"), "year": ("0.00", "0.60", "0.00"),
    }  # fmt: skip
    seen = gateway("GET", f"holds/{made['id']}/")
    assert (seen["amount"]["amount"], seen["settled"]["amount"], seen["left"]["amount"]) == (
        "0.500000",
        "0.500000",
        "0.000000",
    )


def test_seconds_beyond_a_hold_are_cut_to_the_microsecond(tenant: Tenant, gateway: Gateway) -> None:
    limited(tenant, "10")
    made = gateway.ask(1000, meter="device_seconds", dims={"device_class": "cpu"})
    assert made["amount"]["amount"] == "0.500000"
    event = used(made, 1500, device_class="cpu") | {"type": "device.seconds"}
    gateway.report(event)
    assert counted(tenant) == {"month": ("0.00", "0.50", "0.25")}
    with tenant_scope(tenant.id):
        assert sum(row.measured for row in UsageEvent.objects.all()) == 1500


def test_a_lost_settlement_repeated_later_counts_once(tenant: Tenant, gateway: Gateway, demo_clock: DemoClock) -> None:
    limited(tenant, "3")
    made = gateway.ask()
    event = used(made, EURO // 2)
    for _ in range(2):
        gateway.report(event, event)
    gateway("POST", f"holds/{made['id']}/release/")
    demo_clock.move_to(NOW + timedelta(days=20))
    gateway.report(event)
    twin = {**event, "data": {**event["data"], "hold": gateway.ask()["id"]}}
    assert gateway.report(twin, status=409)["code"] == "usage_conflict"
    assert counted(tenant) == {"month": ("1.00", "0.50", "0.00")}


def test_a_hold_ends_by_itself_and_its_money_returns_once(
    tenant: Tenant, gateway: Gateway, demo_clock: DemoClock
) -> None:
    limited(tenant, "3")
    made, kept = gateway.ask(), gateway.ask(expires_in_s=86_400)
    assert swept() == 0
    demo_clock.move_to(NOW + timedelta(minutes=11))
    assert gateway("GET", f"holds/{made['id']}/")["state"] == "expired"
    assert [row["id"] for row in gateway("GET", "holds/?state=open")["results"]] == [kept["id"]]
    assert gateway("POST", f"holds/{made['id']}/extend/", {"expires_in_s": 60}, 409)["code"] == "hold_ended"
    gateway.report(used(made, EURO // 2))
    assert counted(tenant)["month"] == ("2.00", "0.00", "0.50")
    assert [swept(), swept()] == [1, 0]
    gateway("POST", f"holds/{made['id']}/release/")
    assert counted(tenant)["month"] == ("1.00", "0.00", "0.50")
    assert [row["id"] for row in gateway("GET", "holds/?state=expired")["results"]] == [made["id"]]
    assert [entries(tenant, what) for what in ("released", "expired")] == [0, 1]


def test_a_suspended_organisation_reports_what_it_used_and_holds_nothing_new(tenant: Tenant, gateway: Gateway) -> None:
    limited(tenant, "3")
    made = gateway.ask()
    with selling.as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="suspended")
    bare = used(made, EURO // 4)
    del bare["data"]["hold"]
    gateway.report(used(made, EURO // 2), bare)
    assert counted(tenant) == {"month": ("0.50", "0.50", "0.25")}
    assert gateway.ask(status=403)["code"] == "tenant_suspended"
    for more in ({"quantity": "1"}, {"expires_in_s": 60}):
        assert gateway("POST", f"holds/{made['id']}/extend/", more, 403)["code"] == "tenant_suspended"
    assert gateway("GET", "holds/?state=open")["results"][0]["left"]["amount"] == "0.500000"
    gateway("POST", f"holds/{made['id']}/release/")
    assert counted(tenant) == {"month": ("0.00", "0.50", "0.25")}


def test_holds_that_cannot_end_hold_up_no_other(
    tenant: Tenant, gateway: Gateway, demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = gateway.ask(expires_in_s=60), gateway.ask(expires_in_s=120)
    real = expiry.expire

    def failing(**of: Any) -> bool:
        assert str(of["hold_id"]) != bad["id"]
        return real(**of)

    monkeypatch.setattr(expiry, "expire", failing)
    monkeypatch.setattr(expiry, "MOST", 1)
    demo_clock.move_to(NOW + timedelta(minutes=11))
    with pytest.raises(SweepFailed):
        swept()
    with tenant_scope(tenant.id):
        assert [str(row.id) for row in Hold.objects.filter(released_at__isnull=False)] == [good["id"]]


def test_release_settlement_and_expiry_race_and_no_cent_is_lost(
    tenant: Tenant, gateway: Gateway, demo_clock: DemoClock
) -> None:
    limited(tenant, "30")
    holds = [gateway.ask(EURO, expires_in_s=60) for _ in range(4)]
    events = [used(hold, EURO // 4) for hold in holds for _ in range(2)]
    demo_clock.move_to(NOW + timedelta(seconds=59, milliseconds=990))

    def act(number: int) -> None:
        turn, which = divmod(number, 4)
        if turn == 0:
            swept()
        elif turn == 1:
            gateway("POST", f"holds/{holds[which]['id']}/release/")
        else:
            gateway.report(*(events[which:] + events[:which]))

    at_once(16, act)
    held, spent, unheld = counted(tenant)["month"]
    assert (held, Decimal(spent) + Decimal(unheld)) == ("0.00", 2)
    assert entries(tenant, "released") + entries(tenant, "expired") == 4


def test_holds_out_of_sight_are_not_found(tenant: Tenant, gateway: Gateway) -> None:
    made, stranger = gateway.ask(), Gateway(factories.make_tenant())
    for method, path, body in (
        ("GET", "", None), ("POST", "extend/", {"quantity": "1"}), ("POST", "release/", None),
    ):  # fmt: skip
        for hold_id in (made["id"], str(uuid4())):
            assert stranger(method, f"holds/{hold_id}/{path}", body, 404)["code"] == "not_found"
    (refused,) = stranger.report(used(made, 1), status=400)["refused"]
    assert refused["reason"] == "data.hold: there is no such hold"
    with tenant_scope(tenant.id):
        project = factories.make_project(tenant, "secret")
        elsewhere = used(made, 1) | {"project": "secret"}
    assert "another project" in gateway.report(elsewhere, status=400)["refused"][0]["reason"]
    assert "tags" in gateway.report(used(made, 1, **{"tag:team": "b"}), status=400)["refused"][0]["reason"]
    closed = gateway.ask(project="secret")
    with tenant_scope(tenant.id):
        Project.objects.filter(pk=project.id).update(restricted=True)
    engineer = client_for(tenant, "engineer")
    assert engineer.get(f"/api/v1/holds/{closed['id']}/").status_code == 404
    assert engineer.post(f"/api/v1/holds/{closed['id']}/release/").status_code == 404
    assert closed["id"] not in engineer.get("/api/v1/holds/").content.decode()


def test_a_sender_is_limited_by_number_and_by_size(
    tenant: Tenant, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST_OPEN", 2)
    made = [gateway.ask(1) for _ in range(2)]
    assert gateway.ask(1, status=429)["code"] == "too_many_holds"
    Gateway(tenant).ask(1)
    gateway("POST", f"holds/{made[0]['id']}/release/")
    client_for(tenant, "finance").put("/api/v1/usage/limits/", {"events": 10, "amount": "0.5"}, "application/json")
    assert "more than the €0.50" in str(gateway.ask(EURO, status=400)["fields"]["quantity"])
    gateway("POST", f"holds/{made[1]['id']}/extend/", {"quantity": str(EURO)}, 400)
    for wrong in (
        {"quantity": "0"}, {"quantity": "-1"}, {"expires_in_s": 0}, {"expires_in_s": 86_401}, {"meter": "none"},
        {"project": "none"}, {"dims": {"a b": "c"}}, {"dims": {"a": "c" * 201}},
    ):  # fmt: skip
        gateway.ask(**{"quantity": 1, "status": 400, **wrong})
    assert counted(tenant) == {}


def test_a_repeated_ask_with_its_key_holds_once(tenant: Tenant, gateway: Gateway) -> None:
    limited(tenant, "3")
    first, again = gateway.ask(key="r-1"), gateway.ask(key="r-1")
    assert first["id"] == again["id"]
    assert counted(tenant) == {"month": ("1.00", "0.00", "0.00")}


def test_a_hold_lies_on_the_budgets_of_its_tags_and_of_the_person_behind_the_key(
    tenant: Tenant, gateway: Gateway
) -> None:
    with tenant_scope(tenant.id):
        person = Membership.objects.get(id__in=ApiKey.objects.values("membership_id")).user_id
    limited(tenant, "1", BudgetKind(tag=("team", "a"), length="quarter"))
    limited(tenant, "1.5", BudgetKind(person=person, length="year"))
    assert gateway.ask(2 * EURO, dims={"tag:team": "b"}, status=402)["left"]["amount"] == "1.500000"
    assert gateway.ask(EURO + 1, dims={"tag:team": "a"}, status=402)["left"]["amount"] == "1.000000"
    made = gateway.ask(dims={"tag:team": "a"})
    assert made["budget_left_after"]["amount"] == "0.000000"
    gateway.report(used(made, EURO // 2))
    assert counted(tenant) == {"quarter a": ("0.50", "0.50", "0.00"), "year person": ("0.50", "0.50", "0.00")}


def test_at_a_quarters_end_the_rest_of_a_hold_moves_on(tenant: Tenant, gateway: Gateway, demo_clock: DemoClock) -> None:
    demo_clock.move_to(datetime(2026, 12, 31, 23, 50, tzinfo=UTC))
    limited(tenant, "1", BudgetKind(length="quarter"))
    limited(tenant, "1")
    made = gateway.ask(expires_in_s=3600)
    gateway.report(used(made, EURO // 5, at="2026-12-31T23:45:00Z"))
    demo_clock.move_to(datetime(2027, 1, 1, 0, 5, tzinfo=UTC))
    gateway.report(used(made, EURO // 5, at="2027-01-01T00:01:00Z"))
    with tenant_scope(tenant.id):
        rows = {
            (row.budget.period, str(row.period)): (f"{row.held:.2f}", f"{row.spent:.2f}")
            for row in BudgetPeriod.objects.select_related("budget")
        }
    counted(tenant)
    later = ("0.60", "0.20")
    assert rows == {
        ("quarter", "2026-10-01"): ("0.00", "0.20"), ("month", "2026-12-01"): ("0.00", "0.20"),
        ("quarter", "2027-01-01"): later, ("month", "2027-01-01"): later,
    }  # fmt: skip
