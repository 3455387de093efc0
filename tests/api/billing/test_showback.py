"""Showback: what projects are shown by the organisation's own prices. It reaches no invoice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing import queries
from billing.metering.metering import record_usage
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.conftest import DemoClock
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import DIMS, interval, priced_tenant

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 15, 12, tzinfo=UTC)


def price(amount: str, **dims: str) -> dict[str, Any]:
    return {"meter": "device_seconds", "dims": dims, "unit_amount": amount}


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    """A tenant whose project `default` used 30 s of a CPU, and `lab` 10 s of a device in the cellar."""
    tenant = priced_tenant(demo_clock, AT, for_=timedelta(days=10))
    lab, default = factories.make_project(tenant, "lab"), factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        record_usage(
            [
                interval(default, AT - timedelta(minutes=5), 30),
                interval(lab.id, AT - timedelta(minutes=5), 10, dims={**DIMS, "zone": "cellar"}),
            ]
        )
    return tenant


def finance(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, "finance"))
    return client


def put(client: Client, *prices: dict[str, Any]) -> Any:
    return client.put("/api/v1/showback/prices/", {"prices": list(prices)}, content_type="application/json")


def shown(client: Client, month: str = "") -> dict[str, tuple[Decimal, Decimal]]:
    answer = client.get("/api/v1/showback/", {"month": month} if month else {})
    assert answer.status_code == 200, answer.content
    return {
        row["project"]: (Decimal(row["cost"]["amount"]), Decimal(row["shown"]["amount"]))
        for row in answer.json()["results"]
    }


def test_projects_are_shown_their_use_by_the_book_and_the_rest_at_its_cost(tenant: Tenant) -> None:
    client = finance(tenant)
    with tenant_scope(tenant.id):
        total = queries.month_to_date().cost.amount
    before = shown(client)
    assert len(before) == 2
    assert all(cost == seen for cost, seen in before.values()), "without a book everything is shown at its cost"
    assert sum(cost for cost, _ in before.values()) == total > 0
    assert put(client, price("0.5", zone="cellar")).status_code == 200
    after = shown(client)
    assert {name: cost for name, (cost, _) in after.items()} == {name: cost for name, (cost, _) in before.items()}
    ((_, by_book),) = [pair for pair in after.values() if pair[0] != pair[1]]
    assert by_book == Decimal(5), "ten seconds in the cellar at half a euro"
    put(client, price("0.5", zone="cellar"), price("0.1"))
    assert sorted(seen for _, seen in shown(client).values()) == [Decimal(3), Decimal(5)], (
        "the most specific price applies"
    )
    assert shown(client, "2020-01") == {}
    with tenant_scope(tenant.id):
        assert queries.month_to_date().cost.amount == total, "no invoice reads the book"


def test_the_book_is_replaced_as_a_whole_and_the_log_keeps_what_changed(tenant: Tenant) -> None:
    client = finance(tenant)
    put(client, price("0.5", zone="cellar"), price("0.1"))
    put(client, price("0.2"))
    put(client, price("0.20"))
    (left,) = client.get("/api/v1/showback/prices/").json()["prices"]
    assert Decimal(left["unit_amount"]) == Decimal("0.2")
    with tenant_scope(tenant.id):
        entries = list(AuditEntry.objects.filter(action="billing.showback.set").order_by("seq"))
    assert [entry.changes for entry in entries] == [
        {"device_seconds": [None, "0.1"], "device_seconds (zone cellar)": [None, "0.5"]},
        {"device_seconds": ["0.1", "0.2"], "device_seconds (zone cellar)": ["0.5", None]},
    ]


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ([price("-1")], "greater than or equal to 0"),
        ([price("1"), price("2")], "two prices for the same dimensions"),
        ([price("1") | {"meter": "unheard_of"}], "There is no meter unheard_of"),
        ([price("1", **{"tag:team": "a"})], "Tags have no prices"),
        ([price(str(number), zone=str(number)) for number in range(501)], "at most 500 prices"),
    ],
)
def test_a_faulty_book_is_refused_and_the_old_one_stays(
    tenant: Tenant, prices: list[dict[str, Any]], words: str
) -> None:
    client = finance(tenant)
    put(client, price("0.3"))
    refused = put(client, *prices)
    assert refused.status_code == 400
    assert words in refused.content.decode()
    assert [Decimal(row["unit_amount"]) for row in client.get("/api/v1/showback/prices/").json()["prices"]] == [
        Decimal("0.3")
    ]


def test_the_page_shows_both_prices_and_its_form_changes_the_book(tenant: Tenant) -> None:
    client = finance(tenant)
    form = client.post(
        f"/t/{tenant.slug}/showback/prices/",
        {"meter_0": "device_seconds", "dims_0": "zone=cellar", "amount_0": "1.80/h"},
    )
    assert form.status_code == 302
    page = text_of(client.get(f"/t/{tenant.slug}/showback/"))
    assert "zone: cellar" in page.lower() and "Cost by the contract" in page and "Default" in page
    assert "0.0005" in page, "by the second"
    wrong = client.post(f"/t/{tenant.slug}/showback/prices/", {"meter_0": "device_seconds", "amount_0": ""})
    assert wrong.status_code == 422 and "Enter the price of one unit" in text_of(wrong)
    export = client.get(f"/t/{tenant.slug}/showback/?export=csv").content.decode().splitlines()
    assert '"project","cost","shown"' in export[0] and len(export) == 3


def test_another_organisation_has_a_book_of_its_own(tenant: Tenant) -> None:
    put(finance(tenant), price("0.5"))
    other = finance(factories.make_tenant("audio"))
    assert other.get("/api/v1/showback/prices/").json()["prices"] == []
    assert shown(other) == {}
