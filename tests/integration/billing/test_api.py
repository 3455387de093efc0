"""Billing over HTTP, with a key, as an integration uses it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from billing.budgets import holds
from billing.metering.metering import record_usage
from billing.money import Money
from billing.pricing import price_books
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
        price_books.provision_defaults()
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


def test_a_price_version_is_published_ahead_of_time(scene: Scene) -> None:
    api = scene.api
    (book,) = api.call("GET", "price-books/")["results"]
    prices = [{"meter": "device_seconds", "dims": {"tier": "spot"}, "unit_amount": "0.0003"}]
    path = f"price-books/{book['id']}/versions/"
    version = api.call("POST", path, {"prices": prices, "effective_at": "2026-10-01T00:00:00Z", "note": "autumn"}, 201)
    assert (version["number"], version["state"], version["prices"]) == (
        2,
        "coming",
        [{**prices[0], "unit_amount": "0.000300"}],
    )
    past = {"prices": prices, "effective_at": "2026-09-01T00:00:00Z"}
    assert "effective_at" in api.call("POST", path, past, 400)["fields"]
    unknown = {"prices": [{"meter": "bananas", "unit_amount": "1"}]}
    assert "prices" in api.call("POST", path, unknown, 400)["fields"]
    assert api.call("POST", f"price-books/{uuid4()}/versions/", {"prices": prices}, 404)["code"] == "not_found"


def test_a_version_before_many_coming_ones_is_published(scene: Scene, django_assert_max_num_queries: Any) -> None:
    api = scene.api
    (book,) = api.call("GET", "price-books/")["results"]
    prices = [{"meter": "device_seconds", "unit_amount": "0.0003"}]
    path = f"price-books/{book['id']}/versions/"
    with django_assert_max_num_queries(60) as asked:
        api.call("GET", "price-books/")
        at_first = len(asked)
    for month in range(1, 13):
        api.call("POST", path, {"prices": prices, "effective_at": f"2027-{month:02}-01T00:00:00Z"}, 201)
    version = api.call("POST", path, {"prices": prices}, 201)
    assert (version["number"], version["state"], version["effective_at"][:10]) == (14, "coming", "2026-09-15")
    with django_assert_max_num_queries(at_first):
        (book,) = api.call("GET", "price-books/")["results"]
    assert [one["state"] for one in book["versions"]] == ["coming"] * 13 + ["in_force"]


def test_past_versions_are_shown_up_to_a_dozen_with_the_one_in_force(scene: Scene, demo_clock: DemoClock) -> None:
    api = scene.api
    (book,) = api.call("GET", "price-books/")["results"]
    prices = [{"meter": "device_seconds", "unit_amount": "0.0003"}]
    path = f"price-books/{book['id']}/versions/"
    stored = [
        api.call("POST", path, {"prices": prices, "effective_at": f"2026-10-{day:02}T00:00:00Z"}, 201)
        for day in range(1, 15)
    ]
    demo_clock.move_to(datetime(2026, 10, 13, 12, tzinfo=UTC))
    (book,) = api.call("GET", "price-books/")["results"]
    assert [one["state"] for one in book["versions"]] == ["coming", "in_force", *["past"] * 11]
    assert [one["number"] for one in book["versions"]] == [one["number"] for one in reversed(stored)][:13]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-11:00", "9000-01-01T00:00:00Z"])
def test_a_version_that_starts_after_the_maximum_date_is_refused(scene: Scene, moment: str) -> None:
    (book,) = scene.api.call("GET", "price-books/")["results"]
    body = {"prices": [{"meter": "device_seconds", "unit_amount": "0.0003"}], "effective_at": moment}
    refused = scene.api.call("POST", f"price-books/{book['id']}/versions/", body, 400)
    assert "effective_at" in refused["fields"]
    assert len(scene.api.call("GET", "price-books/")["results"][0]["versions"]) == 1


def test_another_tenant_gets_the_same_404_as_for_a_missing_id(scene: Scene) -> None:
    stranger = Api(make_api_key(make_tenant()))
    (invoice,) = scene.api.call("GET", "invoices/")["results"]
    foreign = stranger.call("GET", f"invoices/{invoice['id']}/lines/", status=404)
    missing = stranger.call("GET", f"invoices/{uuid4()}/lines/", status=404)
    assert {**foreign, "request_id": ""} == {**missing, "request_id": ""}
    assert stranger.call("GET", "spend/?from=2026-01-01&to=2027-01-01")["results"] == []
