"""Price books and contracts by the console's API, and its POSTs that are sent again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest

from billing.models import Contract
from billing.pricing import contracts
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorIdempotencyKey, Tenant
from tests.support import factories

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
API = "/api/operator/v1/"
PRICES = [{"meter": "device_seconds", "unit_amount": "0.02"}, {"meter": "predictions", "unit_amount": "0.001"}]


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("vision")


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def post(browser: Any, path: str, body: Any, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return browser.post(f"{API}{path}", body, content_type="application/json", headers=named)


def get(browser: Any, path: str) -> Any:
    answer = browser.get(f"{API}{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_book_is_made_read_previewed_and_published(tenant: Tenant, finance: Any, seller: Any) -> None:
    book = next(one for one in get(finance, "price-books/")["results"] if one["tenants"])
    path = f"price-books/{book['id']}/"
    assert (get(finance, path)["currency"], book["versions"], book["is_standard"]) == ("EUR", 1, True)
    effect = post(finance, f"{path}preview/", {"prices": PRICES}).json()
    assert [(row["tenant_name"], row["after"]["amount"]) for row in effect["tenants"]] in ([], [(tenant.name, "0.00")])
    body = {"prices": PRICES, "reason": "as agreed", "after": 1}
    published = post(finance, f"{path}versions/", body)
    assert (published.status_code, published.json()["number"], published.json()["state"]) == (201, 2, "coming")
    assert [price["unit_amount"] for price in published.json()["prices"]] == ["0.020000", "0.001000"]
    assert post(finance, f"{path}versions/", body).status_code == 409, "another version came after"
    for wrong in (
        {**body, "prices": []},
        {**body, "after": 2, "reason": ""},
        {**body, "after": 2, "prices": PRICES * 2},
    ):
        assert post(finance, f"{path}versions/", wrong).status_code == 400
    soon = {**body, "after": 2, "effective_at": (now() + timedelta(minutes=1)).isoformat()}
    assert list(post(finance, f"{path}versions/", soon).json()["fields"]) == ["effective_at"]
    many = {"prices": PRICES * 251}
    for part, rest in (("versions/", {"reason": "as agreed"}), ("preview/", {})):
        assert post(finance, f"{path}{part}", many | rest).json()["code"] == "too_many_prices"
    made = post(finance, "price-books/", {"name": "Gold", "currency": "EUR", "copy_of": book["id"], "reason": "big"})
    assert (made.status_code, made.json()["name"]) == (201, "Gold")
    admin = seller("platform_admin")
    assert post(admin, f"{path}versions/", {**body, "after": 2}).status_code == 403
    assert len(get(admin, path)["versions"]) == 2


def test_a_contract_is_agreed_and_withdrawn(tenant: Tenant, finance: Any) -> None:
    path = f"tenants/{tenant.id}/contracts/"
    (row,) = get(finance, "contracts/?limit=1")["results"]
    assert (row["tenant_slug"], row["contract"]["currency"], "state" in row["contract"]) == ("vision", "EUR", False)
    gold = post(finance, "price-books/", {"name": "Gold", "currency": "EUR", "reason": "big"}).json()["id"]
    start = contracts.months_ahead(tenant, 1)[0].isoformat()
    terms = {"price_book": gold, "starts_on": start, "payment_days": 14, "tax_rate": "19", "reason": "a larger order"}
    made = post(finance, path, terms)
    assert (made.status_code, made.json()["state"], made.json()["payment_days"]) == (201, "coming", 14)
    assert get(finance, path)["results"][0]["price_book"] == gold
    dollars = post(finance, "price-books/", {"name": "Dollars", "currency": "USD", "reason": "abroad"}).json()["id"]
    for change, field in (
        ({"price_book": dollars}, "price_book"), ({"starts_on": "2020-01-01"}, "starts_on"),
        ({"payment_days": 400}, "payment_days"), ({"tax_rate": "101"}, "tax_rate"), ({"reason": "x"}, "reason"),
    ):  # fmt: skip
        refused = post(finance, path, {**terms, **change})
        assert (refused.status_code, list(refused.json()["fields"])) == (400, [field])
    assert post(finance, f"{path}withdraw/", {"reason": "not signed"}).status_code == 204
    assert post(finance, f"{path}withdraw/", {"reason": "not signed"}).status_code == 409
    with tenant_scope(tenant.id):
        assert Contract.objects.get().ends_on is None


def test_a_post_of_an_operator_takes_effect_once(tenant: Tenant, finance: Any, seller: Any, console: Role) -> None:
    body = {"name": "Gold", "currency": "EUR", "reason": "big"}
    first, again = (post(finance, "price-books/", body, Idempotency_Key="abc") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() and again["Idempotent-Replayed"] == "true"
    assert [one["name"] for one in get(finance, "price-books/")["results"]].count("Gold") == 1
    assert post(finance, "price-books/", {**body, "name": "Silver"}, Idempotency_Key="abc").status_code == 409
    assert post(finance, "price-books/", {**body, "currency": "E"}, Idempotency_Key="new").status_code == 400
    assert post(finance, "price-books/", {**body, "name": "Silver"}, Idempotency_Key="new").status_code == 201
    admin = seller("platform_admin")
    suspended = [
        post(admin, f"tenants/{tenant.id}/suspend/", {"reason": "Invoice is overdue"}, Idempotency_Key="abc")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in suspended] == [200, 200], "another operator's key is another"
    assert post(admin, f"tenants/{tenant.id}/suspend/", {"reason": "again"}).status_code == 409
    key = {"name": "export", "roles": ["platform_admin"]}
    made, repeated = (post(admin, "keys/", key, Idempotency_Key="key").json() for _ in range(2))
    assert made["id"] == repeated["id"] and made["key"] and repeated["key"] is None
    with console():
        assert made["key"] not in str(list(OperatorIdempotencyKey.objects.values_list("body", flat=True)))
