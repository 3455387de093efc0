"""The console's form of a contract: fields for the common terms of a bill, JSON for the rest, faults beside their field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from billing.models import Contract
from billing.pricing import contracts
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support.factories import make_member, make_tenant

pytestmark = pytest.mark.django_db
SCOPED = {"key": "nodes", "percent": "5", "meters": ["device_seconds"]}


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def given(tenant: Tenant, **more: str) -> dict[str, str]:
    with tenant_scope(tenant.id):
        book = Contract.objects.earliest("starts_on").book_id
    starts_on = contracts.months_ahead(tenant, 1)[0]
    return {"book": str(book), "starts_on": f"{starts_on}", "payment_days": "14", "reason": "as agreed", **more}


def agreed(tenant: Tenant) -> Any:
    with tenant_scope(tenant.id):
        return Contract.objects.latest("starts_on").terms


def value_of(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', page) or re.search(
        rf'value="([^"]*)"[^>]*name="{name}"', page
    )
    return found[1] if found else ""


def test_common_terms_are_fields_and_the_rest_stays_json(finance: Any) -> None:
    tenant = make_tenant()
    page = f"/contracts/{tenant.id}/"
    assert ">null<" not in "".join(finance.get(page).content.decode().split())
    answer = finance.post(
        page,
        given(
            tenant, commitment="1,000.50", discount="12.5", minimum="10", credits_used="paid", prepaid="on",
            terms='{"discounts": [{"key": "nodes", "percent": "5", "meters": ["device_seconds"]}]}',
        ),
    )  # fmt: skip
    assert answer.status_code == 302, words(answer)
    assert agreed(tenant) == {
        "commitments": [{"key": "commitment", "amount": "1000.5"}],
        "discounts": [{"key": "discount", "percent": "12.5"}, SCOPED],
        "minimums": [{"key": "minimum", "amount": "10"}],
        "paid_first": True,
        "prepaid": True,
    }
    shown = finance.get(page).content.decode()
    assert [value_of(shown, name) for name in ("commitment", "discount", "minimum")] == ["1000.5", "12.5", "10"]
    assert "nodes" in shown
    agreed_words = ("€1,000.50 a month; what is missing is billed", "12.5 % off all usage", "5 % off device_seconds",
                    "paid ones first, then promotional ones", "held from the wallet’s credit")  # fmt: skip
    browser = Client()
    browser.force_login(make_member(tenant, "finance"))
    own = words(browser.get(f"/t/{tenant.slug}/prices/")), words(browser.get(f"/t/{tenant.slug}/commitments/"))
    for term in agreed_words:
        assert [term in text for text in (words(finance.get(page)), *own)] == [True] * 3, term
    assert re.search(r'name="prepaid"[^>]*checked', shown)
    assert "&quot;prepaid&quot;" not in shown
    assert "&quot;commitment&quot;" not in shown
    assert finance.post(page, given(tenant, terms="", credits_used="promotional")).status_code == 302
    assert agreed(tenant) == {}


def test_savings_plans_and_terms_of_a_meter_are_rows(finance: Any) -> None:
    tenant = make_tenant()
    page = f"/contracts/{tenant.id}/"
    rows = {
        "term_0_kind": "plan_hour", "term_0_name": "base", "term_0_amount": "0.50", "term_0_percent": "20",
        "term_1_kind": "commitment", "term_1_amount": "1,000", "term_1_meter": "device_seconds",
        "term_2_kind": "discount", "term_2_name": "nodes", "term_2_percent": "5", "term_2_meter": "device_seconds",
    }  # fmt: skip
    several = '{"discounts": [{"key": "both", "percent": "1", "meters": ["device_seconds", "inference_requests"]}]}'
    answer = finance.post(page, given(tenant, discount="2", terms=several, **rows))
    assert answer.status_code == 302, words(answer)
    expected = {
        "savings_plans": [{"key": "base", "per": "hour", "amount": "0.5", "percent": "20"}],
        "commitments": [{"key": "commitment-2", "amount": "1000", "meters": ["device_seconds"]}],
        "discounts": [
            {"key": "discount", "percent": "2"}, SCOPED,
            {"key": "both", "percent": "1", "meters": ["device_seconds", "inference_requests"]},
        ],
    }  # fmt: skip
    assert agreed(tenant) == expected
    form = finance.get(page).context["form"]
    again = {name: "" if (value := form[name].value()) in (None, False) else str(value) for name in form.fields}
    again["terms"] = form["terms"].value()
    assert "both" in again["terms"] and "nodes" not in again["terms"], "what a row shows is no JSON"
    assert finance.post(page, {**again, **given(tenant)}).status_code == 302
    assert agreed(tenant) == expected, "the form keeps what it shows"
    for wrong, message in (
        ({"term_0_kind": ""}, "Choose what this row agrees"),
        ({"term_0_percent": ""}, "Give the discount on the usage that it pays for."),
        ({"term_1_amount": ""}, "Give an amount."),
        ({"term_2_amount": "3"}, "Give either a percentage or an amount."),
        ({"term_2_percent": "101"}, "at most 100"),
        ({"term_2_name": "discount"}, "appears twice"),
    ):
        refused = finance.post(page, given(tenant, discount="2", **{**rows, **wrong}))
        assert (refused.status_code, message in words(refused)) == (422, True), wrong


@pytest.mark.parametrize(
    ("more", "field", "said"),
    [
        ({"discount": "101"}, "discount", "Give a percentage above 0, at most 100."),
        ({"commitment": "1.0055"}, "commitment", "2 decimals"),
        ({"minimum": "-1"}, "minimum", "not negative"),
        ({"terms": '{"minimums": [{"key": "least", "amount": "-1"}]}'}, "terms", "not negative"),
        ({"terms": '{"owner": 1}'}, "terms", "Leave owner out"),
        ({"terms": '{"discounts": 3}', "discount": "1"}, "terms", "Write a list"),
        ({"terms": "[1]"}, "terms", "Write an object"),
        ({"terms": '{"discounts": [{"key": "discount", "percent": "5"}]}', "discount": "1"}, "terms", "appears twice"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(finance: Any, more: dict[str, str], field: str, said: str) -> None:
    tenant = make_tenant()
    answer = finance.post(f"/contracts/{tenant.id}/", given(tenant, **more))
    text = answer.content.decode()
    assert answer.status_code == 422
    at = re.search(rf'id="(?:id_)?{field}[^"]*err[^"]*"[^>]*>(.*?)</', text, re.DOTALL)
    assert said in words(answer)
    assert at is not None, text[text.index(f'name="{field}"') :][:800]
    assert said in at[1]
    with tenant_scope(tenant.id):
        assert Contract.objects.count() == 1
