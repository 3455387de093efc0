"""Billing over HTTP, with a key, as an integration uses it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from billing.budgets import holds
from billing.metering.metering import record_usage
from billing.models import PriceVersion
from billing.money import Money
from tenants.errors import Invalid, NotFound
from tests.support import selling
from tests.support.factories import in_tenant, make_api_key, make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


@dataclass
class Api:
    key: str

    def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        data = b"" if body is None else json.dumps(body).encode()
        answer = Client().generic(method, f"/api/v1/{path}", data, "application/json", headers=headers)
        assert answer.status_code == status, answer.content
        return json.loads(answer.content) if answer.content else None


@dataclass
class Scene:
    api: Api
    project: UUID
    job: UUID
    attempt: UUID
    who: str


@pytest.fixture
def scene(demo_clock: DemoClock) -> Scene:
    at = datetime(2026, 9, 15, 9, tzinfo=UTC)
    demo_clock.move_to(at)
    tenant = make_tenant()
    project = make_project(tenant)
    job, attempt = uuid4(), uuid4()
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        demo_clock.move_to(at + timedelta(hours=2))
        amount = Money(Decimal(1), "EUR")
        held = holds.hold(project_id=project.id, subject=f"job:{job}", amount=amount, actor=actor)
        usage = interval(project.id, at + timedelta(minutes=1), 3600, job_id=job, attempt_id=attempt)
        record_usage([usage], hold_id=held)
    return Scene(Api(make_api_key(tenant)), project.id, job, attempt, actor.label)


def test_an_invoice_is_read_down_to_its_intervals_page_by_page(scene: Scene) -> None:
    api = scene.api
    (invoice,) = api.call("GET", "invoices/")["results"]
    assert invoice["total"] == {"amount": "0.180000", "currency": "EUR"}
    assert api.call("GET", f"invoices/{invoice['id']}/") == invoice
    (line,) = api.call("GET", f"invoices/{invoice['id']}/lines/")["results"]
    assert (line["quantity"], line["unit_amount"]["amount"], line["amount"]["amount"]) == (
        "3600.000000",
        "0.000050",
        "0.180000",
    )
    path = f"invoices/{invoice['id']}/lines/1/explain/?limit=2"
    seen: list[Any] = []
    while path:
        page = api.call("GET", path)
        seen += page["results"]
        path = page["next"].split("/api/v1/")[1] if page["next"] else ""
    assert len(seen) == len({row["id"] for row in seen}) == 5
    assert sum(Decimal(row["exact"]["amount"]) for row in seen) == Decimal("0.18")
    assert {(row["job"], row["attempt"], row["actor"]) for row in seen} == {
        (str(scene.job), str(scene.attempt), scene.who)
    }
    assert page["shares"][0]["intervals"] == 5
    for bad in ("nonsense", "WyJ6IiwieiIsInoiLCJ6Il0"):
        problem = api.call("GET", f"invoices/{invoice['id']}/lines/1/explain/?cursor={bad}", status=400)
        assert problem["code"] == "invalid"
    assert api.call("GET", f"invoices/{invoice['id']}/lines/9/explain/", status=404)["code"] == "not_found"
    assert api.call("GET", f"invoices/{uuid4()}/", status=404)["code"] == "not_found"


def test_usage_and_spend_are_summed_as_asked(scene: Scene) -> None:
    api = scene.api
    (row,) = api.call("GET", "usage/?from=2026-09-15&to=2026-09-16&group_by=project,job&granularity=day")["results"]
    assert row == {
        "project": str(scene.project),
        "project_name": "A project",
        "job": str(scene.job),
        "meter": "device_seconds",
        "start": "2026-09-15",
        "unit": "second",
        "quantity": "3600.000000",
        "measured": "3600.000000",
        "cost": {"amount": "0.180000", "currency": "EUR"},
    }
    hours = api.call("GET", "spend/?from=2026-09-15T10:00:00Z&to=2026-09-15T11:00:00%2B00:00&granularity=hour")[
        "results"
    ]
    assert [(row["start"], row["quantity"]) for row in hours] == [("2026-09-15T10:00:00+00:00", "60.000000")]
    for bad in (
        "group_by=password",
        "granularity=week",
        "from=yesterday",
        "from=2026-13-01",
        "from=2026-09-16&to=2026-09-15",
        "job=1",
        "from=9999-12-31",
        "from=9999-11-30",
        "to=9999-12-31&from=9999-12-30",
        "from=1969-12-31",
        "since=2026-09-15",
        "form=2026-09-15",
    ):
        assert api.call("GET", f"usage/?{bad}", status=400)["code"] == "invalid"
        assert api.call("GET", f"spend/?{bad}", status=400)["code"] == "invalid"
    types = {meter["key"]: meter["event_type"] for meter in api.call("GET", "meters/")["results"]}
    assert types == {
        "batch_seconds": "batch.seconds",
        "device_seconds": "device.seconds",
        "inference_ms": "inference.milliseconds",
        "serving.slot_seconds": "serving.slot_seconds",
        "inference_requests": "inference.requests",
    }


def test_a_budget_is_set_changed_and_closed(scene: Scene) -> None:
    api = scene.api
    body = {"scope": str(scene.project), "amount": "2.50", "alerts": [80, 50], "at_limit": "block_new"}
    made = api.call("POST", "budgets/", body, 201)
    assert (made["amount"]["amount"], made["held"]["amount"], made["spent"]["amount"]) == (
        "2.500000",
        "0.820000",
        "0.180000",
    )
    assert (made["left"]["amount"], made["used_percent"], made["state"], made["alerts"]) == (
        "1.500000",
        7,
        "ok",
        [50, 80],
    )
    assert api.call("POST", "budgets/", body, 409)["code"] == "budget_exists"
    changed = api.call("PATCH", f"budgets/{made['id']}/", {"amount": "0.2", "at_limit": "stop_running"})
    assert (changed["state"], changed["at_limit"]) == ("exhausted", "stop_running")
    assert api.call("GET", "budgets/")["results"] == [changed]
    api.call("POST", "budgets/", {"scope": "tenant", "amount": 9}, 201)
    for wrong in (
        {"scope": "nowhere", "amount": 1},
        {"scope": "tenant", "amount": -1},
        {"scope": "tenant", "amount": "NaN"},
        {},
    ):
        assert api.call("POST", "budgets/", wrong, 400)["status"] == 400
    for method, path, fine in (
        ("POST", "budgets/", {"scope": "tenant", "amount": "0.0000001"}),
        ("PATCH", f"budgets/{made['id']}/", {"amount": "2.505"}),
    ):
        assert api.call(method, path, fine, 400)["fields"] == {"amount": ["Give the amount with at most 2 decimals."]}
    api.call("PATCH", f"budgets/{made['id']}/", {"amount": "2.50000", "alerts": []})
    api.call("DELETE", f"budgets/{made['id']}/", status=204)
    assert api.call("GET", f"budgets/{made['id']}/", status=404)["code"] == "not_found"


def book_of(scene: Scene) -> UUID:
    """Return the book of the scene's contract."""
    (book,) = scene.api.call("GET", "price-books/")["results"]
    return UUID(book["id"])


def publish(scene: Scene, *at: datetime | None, meter: str = "device_seconds", **dims: str) -> list[PriceVersion]:
    """Publish a version at each of these times, as an operator."""
    prices = [selling.NewPrice(meter, dims, Decimal("0.0003"))]
    return [
        selling.publish(book_id=book_of(scene), prices=prices, effective_at=one, note="autumn") for one in at or (None,)
    ]


def test_a_price_version_is_published_ahead_of_time(scene: Scene) -> None:
    publish(scene, datetime(2026, 10, 1, tzinfo=UTC), tier="spot")
    (book,) = scene.api.call("GET", "price-books/")["results"]
    version = book["versions"][0]
    assert (version["number"], version["state"], version["prices"], version["note"]) == (
        2,
        "coming",
        [{"meter": "device_seconds", "dims": {"tier": "spot"}, "unit_amount": "0.000300", "list_amount": None}],
        "autumn",
    )
    with pytest.raises(Invalid) as refused:
        publish(scene, datetime(2026, 9, 1, tzinfo=UTC))
    assert "effective_at" in refused.value.fields
    with pytest.raises(Invalid) as refused:
        publish(scene, meter="Bananas!")
    assert "prices" in refused.value.fields
    with pytest.raises(NotFound):
        selling.publish(book_id=uuid4(), prices=[selling.NewPrice("device_seconds", {}, Decimal(1))])


def test_a_tenant_publishes_no_prices_and_is_told_where_they_come_from(scene: Scene) -> None:
    body = {"prices": [{"meter": "device_seconds", "unit_amount": "0.0003"}]}
    for book in (book_of(scene), uuid4()):
        refused = scene.api.call("POST", f"price-books/{book}/versions/", body, 403)
        assert refused["code"] == "prices_are_agreed"
        assert "Prices come from the contract" in refused["title"]
    assert len(scene.api.call("GET", "price-books/")["results"][0]["versions"]) == 1
    (contract,) = scene.api.call("GET", "contract/")["results"]
    assert (contract["state"], contract["currency"], contract["starts_on"]) == ("in_force", "EUR", "2026-09-01")


def test_a_version_before_many_coming_ones_is_published(scene: Scene, django_assert_max_num_queries: Any) -> None:
    api = scene.api
    with django_assert_max_num_queries(60) as asked:
        api.call("GET", "price-books/")
        at_first = len(asked)
    publish(scene, *(datetime(2027, month, 1, tzinfo=UTC) for month in range(1, 13)))
    (version,) = publish(scene)
    assert (version.number, version.effective_at.date()) == (14, date(2026, 9, 15))
    with django_assert_max_num_queries(at_first):
        (book,) = api.call("GET", "price-books/")["results"]
    assert [one["state"] for one in book["versions"]] == ["coming"] * 13 + ["in_force"]


def test_past_versions_are_shown_up_to_a_dozen_with_the_one_in_force(scene: Scene, demo_clock: DemoClock) -> None:
    stored = publish(scene, *(datetime(2026, 10, day, tzinfo=UTC) for day in range(1, 15)))
    demo_clock.move_to(datetime(2026, 10, 13, 12, tzinfo=UTC))
    (book,) = scene.api.call("GET", "price-books/")["results"]
    assert [one["state"] for one in book["versions"]] == ["coming", "in_force", *["past"] * 11]
    assert [one["number"] for one in book["versions"]] == [one.number for one in reversed(stored)][:13]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59", "9000-01-01T00:00:00"])
def test_a_version_that_starts_after_the_maximum_date_is_refused(scene: Scene, moment: str) -> None:
    with pytest.raises(Invalid) as refused:
        publish(scene, datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert "effective_at" in refused.value.fields
    assert len(scene.api.call("GET", "price-books/")["results"][0]["versions"]) == 1


def test_another_tenant_gets_the_same_404_as_for_a_missing_id(scene: Scene) -> None:
    stranger = Api(make_api_key(make_tenant()))
    (invoice,) = scene.api.call("GET", "invoices/")["results"]
    foreign = stranger.call("GET", f"invoices/{invoice['id']}/lines/", status=404)
    missing = stranger.call("GET", f"invoices/{uuid4()}/lines/", status=404)
    assert {**foreign, "request_id": ""} == {**missing, "request_id": ""}
    assert stranger.call("GET", "spend/?from=2026-01-01&to=2027-01-01")["results"] == []
