"""The console's form of a contract: fields and rows for the terms of a bill, JSON for the rest, faults beside their field."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from billing.models import Contract
from billing.pricing import contracts
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support.factories import default_project_id, make_member, make_tenant

pytestmark = pytest.mark.django_db
SCOPED = {"key": "nodes", "percent": "5", "meters": ["device_seconds"]}


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def given(tenant: Tenant, **more: Any) -> dict[str, Any]:
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


def unchanged(form: Any) -> dict[str, Any]:
    """Return what a browser posts of a form that nobody touched."""
    values = {name: form[name].value() for name in form.fields}
    # A group of boxes of which none is ticked posts nothing.
    return {
        name: "" if value in (None, False) else value
        for name, value in values.items()
        if value or not name.endswith("_meters")
    }


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


def hidden_errors(answer: Any) -> list[str]:
    """Return the folded parts of a page that hide what is wrong."""
    folded = re.findall(r'<details class="x-more">.*?</details>', answer.content.decode(), re.DOTALL)
    return [one for one in folded if "x-field-error" in one]


def test_savings_plans_and_terms_of_a_meter_are_rows(finance: Any) -> None:
    tenant = make_tenant()
    page = f"/contracts/{tenant.id}/"
    rows: dict[str, Any] = {
        "term_0_kind": "plan_hour", "term_0_name": "base", "term_0_amount": "0.50", "term_0_percent": "20",
        "term_1_kind": "commitment", "term_1_amount": "1,000", "term_1_meters": "device_seconds",
        "term_2_kind": "discount", "term_2_name": "nodes", "term_2_percent": "5", "term_2_meters": "device_seconds",
    }  # fmt: skip
    both = {"key": "both", "percent": "1", "meters": ["device_seconds", "inference_requests"]}
    rows |= {"term_3_kind": "discount", "term_3_name": "both", "term_3_percent": "1", "term_3_meters": both["meters"]}
    of_project = {"key": "pilot", "percent": "3", "projects": [f"{default_project_id(tenant)}"]}
    answer = finance.post(page, given(tenant, discount="2", terms=json.dumps({"discounts": [of_project]}), **rows))
    assert answer.status_code == 302, words(answer)
    expected = {
        "savings_plans": [{"key": "base", "per": "hour", "amount": "0.5", "percent": "20"}],
        "commitments": [{"key": "commitment-2", "amount": "1000", "meters": ["device_seconds"]}],
        "discounts": [{"key": "discount", "percent": "2"}, SCOPED, both, of_project],
    }  # fmt: skip
    assert agreed(tenant) == expected
    again = unchanged(finance.get(page).context["form"])
    assert json.loads(again["terms"]) == {"discounts": [of_project]}, "what a row shows is no JSON"
    assert finance.post(page, {**again, **given(tenant)}).status_code == 302
    assert agreed(tenant) == expected, "the form keeps what it shows"
    shown = finance.get(page).content.decode()
    parts = re.findall(r'<details class="x-more"( open)?>\s*<summary>([^<]+)', shown[shown.index('id="next"') :])
    assert [(bool(opened), title) for opened, title in parts if title not in ("All usage", "Only for")] == [
        (True, "Savings plans and further terms"), (False, "Price models"), (True, "Advanced"),
    ]  # fmt: skip
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
        assert not hidden_errors(refused), wrong


TIERS = [
    {"up_to": "1000.5", "unit_amount": "0.00005"},
    {"up_to": "20000", "unit_amount": "0.00004", "flat_amount": "1"},
    {"unit_amount": "0"},
]
MODELS = {
    "model_0_kind": "graduated", "model_0_name": "bulk", "model_0_meter": "device_seconds", "model_0_dims": "device_class=cpu",
    "model_0_tier_0_up_to": "1000.5", "model_0_tier_0_unit_amount": "0.00005",
    "model_0_tier_2_up_to": "20000", "model_0_tier_2_unit_amount": "0.00004", "model_0_tier_2_flat_amount": "1",
    "model_0_tier_3_unit_amount": "0",
    "model_1_kind": "package", "model_1_meter": "inference_requests", "model_1_size": "1000", "model_1_amount": "0.02",
    "model_1_included": "500",
    "model_2_kind": "fee", "model_2_name": "support", "model_2_meter": "device_seconds", "model_2_amount": "99.90",
    "model_3_kind": "",
}  # fmt: skip


def test_price_models_are_rows_with_their_tiers(finance: Any) -> None:
    tenant = make_tenant()
    page = f"/contracts/{tenant.id}/"
    by_price = {
        "key": "old",
        "meter": "device_seconds",
        "model": "per_unit",
        "included": "5",
        "prices": [str(UUID(int=9))],
    }
    answer = finance.post(page, given(tenant, terms=json.dumps({"models": [by_price]}), **MODELS))
    assert answer.status_code == 302, words(answer)
    expected = [
        {"key": "bulk", "meter": "device_seconds", "model": "graduated", "dims": {"device_class": "cpu"}, "tiers": TIERS},
        {
            "key": "package-2", "meter": "inference_requests", "model": "package", "dims": {}, "included": "500",
            "size": "1000", "amount": "0.02",
        },
        {"key": "support", "meter": "device_seconds", "model": "flat", "amount": "99.9"},
        by_price,
    ]  # fmt: skip
    assert agreed(tenant) == {"models": expected}
    form = finance.get(page).context["form"]
    again = unchanged(form)
    assert json.loads(again["terms"]) == {"models": [by_price]}, "what a row shows is no JSON"
    said = "graduated for device_seconds, device_class cpu: €0.000050 a unit up to 1000.5, €0.000040 a unit and €1.00 up to 20000"
    assert said in words(finance.get(page))
    assert "flat for device_seconds: €99.90 a month" in words(finance.get(page))
    assert [len(one.tiers) for one in form.models()] == [5, 4, 4, 4], "with room for two more tiers and one more model"
    assert finance.post(page, {**again, **given(tenant)}).status_code == 302
    assert agreed(tenant) == {"models": expected}, "the form keeps what it shows"
    for wrong, field, message in (
        ({"model_0_kind": ""}, "model_0_kind", "Choose how usage is priced"),
        ({"model_0_meter": ""}, "model_0_meter", "Choose the meter"),
        ({"model_0_dims": "cpu"}, "model_0_dims", "is not name=value"),
        ({"model_0_amount": "1"}, "model_0_amount", "no such number"),
        ({"model_0_tier_2_up_to": "900"}, "model_0_tier_2_up_to", "End tier 2 above 1000.5"),
        ({"model_0_tier_2_up_to": ""}, "model_0_tier_2_up_to", "Give the end of tier 2"),
        ({"model_0_tier_2_unit_amount": ""}, "model_0_tier_2_unit_amount", "0 for free units"),
        ({"model_0_tier_3_unit_amount": "1,000"}, "model_0_tier_3_unit_amount", "can be read two ways"),
        ({"model_0_name": "a b"}, "model_0_name", "for the key"),
        ({"model_1_size": "0"}, "model_1_size", "above zero"),
        ({"model_1_amount": ""}, "model_1_amount", "Give the amount."),
        ({"model_1_kind": "volume", "model_1_size": "", "model_1_amount": ""}, "model_1_kind", "at least one tier"),
        ({"model_2_dims": "zone=north"}, "model_2_dims", "besides usage"),
        ({"model_2_name": "bulk"}, "model_2_name", "appears twice"),
    ):
        refused = finance.post(page, given(tenant, **{**MODELS, **wrong}))
        assert (refused.status_code, list(refused.context["form"].errors)) == (422, [field]), wrong
        assert message in words(refused), wrong
        assert not hidden_errors(refused), wrong
        assert refused.context["form"]["model_0_tier_0_up_to"].value() == "1000.5"
    assert agreed(tenant) == {"models": expected}


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
    assert not hidden_errors(answer)
    text = answer.content.decode()
    assert answer.status_code == 422
    at = re.search(rf'id="(?:id_)?{field}[^"]*err[^"]*"[^>]*>(.*?)</', text, re.DOTALL)
    assert said in words(answer)
    assert at is not None, text[text.index(f'name="{field}"') :][:800]
    assert said in at[1]
    with tenant_scope(tenant.id):
        assert Contract.objects.count() == 1
