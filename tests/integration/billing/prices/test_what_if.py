"""What-ifs: a month under another book, other terms or another tax, by the API and the page; nothing is written."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction

from billing import queries
from billing.models import PriceBook
from billing.pricing import publishing
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import draft_of, used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support import selling
from tests.support.factories import make_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
API = "/api/operator/v1/what-if/"
COUNT = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables WHERE relname LIKE 'billing%%'"


def book_of(*prices: tuple[dict[str, str], str], currency: str = "EUR") -> PriceBook:
    with selling.role("exchequer_operator"), transaction.atomic():
        book = PriceBook.objects.create(name="Negotiated", currency=currency)
        listed = [selling.NewPrice("device_seconds", dims, Decimal(amount)) for dims, amount in prices]
        publishing.store(book, 1, None, listed, "", by="tests")
        return book


def ask(finance: Any, *tenants: Tenant, **assumed: Any) -> Any:
    body = {"tenants": [str(one.id) for one in tenants], **assumed}
    return finance.post(API, body, content_type="application/json")


def written() -> int:
    with connection.cursor() as cursor:
        cursor.execute(COUNT)
        return int(cursor.fetchone()[0])


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def test_months_are_compared_under_another_book_by_project(demo_clock: DemoClock, finance: Any) -> None:
    book = book_of(({"device_class": "cpu"}, "0.0001"), ({}, "9"))
    one, two = used(demo_clock, 20_000, 40_000), used(demo_clock, 10_000)
    before = written()
    answer = ask(finance, one, two, price_book=str(book.pk))
    assert answer.status_code == 200, answer.content
    assert written() == before
    first, second = answer.json()["results"]
    assert (first["tenant"]["slug"], first["period"]) == (one.slug, "2027-03-01")
    assert [first[name]["total"]["amount"] for name in ("before", "after", "change")] == [
        "3.000000", "6.000000", "3.000000",
    ]  # fmt: skip
    assert sorted((row["before"]["amount"], row["after"]["amount"]) for row in first["lines"]) == [
        ("1.000000", "2.000000"), ("2.000000", "4.000000"),
    ]  # fmt: skip
    assert second["change"]["total"]["amount"] == "0.500000"
    with tenant_scope(one.id):
        assert queries.invoice(draft_of(one)).total.amount == 3


def test_terms_and_tax_are_assumed_instead_of_those_of_the_contract(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 40_000, tax_rate=Decimal(10), terms={"minimums": [{"key": "least", "amount": "5.00"}]})
    terms = {"commitments": [{"key": "yearly", "amount": "7.00"}], "discounts": [{"key": "friend", "percent": "50"}]}
    (found,) = ask(finance, tenant, terms=terms, tax_rate="20").json()["results"]
    assert {(row["kind"], row["term"], row["change"]["amount"]) for row in found["lines"]} == {
        ("minimum_shortfall", "least", "-3.000000"), ("commitment_shortfall", "yearly", "5.000000"),
        ("discount", "friend", "-1.000000"),
    }  # fmt: skip
    assert [found[side]["subtotal"]["amount"] for side in ("before", "after")] == ["5.000000", "6.000000"]
    assert [found[side]["tax"]["amount"] for side in ("before", "after")] == ["0.500000", "1.200000"]
    plan = {"savings_plans": [{"key": "plan", "per": "hour", "amount": "0.001", "percent": "50"}]}
    (hourly,) = ask(finance, tenant, terms=plan, price_book=str(book_of(({}, "0.0001")).pk)).json()["results"]
    kinds = {row["kind"] for row in hourly["lines"]}
    assert kinds == {"usage", "savings_plan", "savings_plan_coverage", "minimum_shortfall"}


@pytest.mark.parametrize(
    ("assumed", "field"),
    [
        ({}, "terms"), ({"terms": {"owner": "me"}}, "terms"), ({"period": "2020-01", "tax_rate": "1"}, "period"),
        ({"terms": {"discounts": [{"key": "d", "percent": "101"}]}}, "terms"), ({"tax_rate": "101"}, "tax_rate"),
        ({"tax_rate": "1", "tenants": []}, "tenants"),
    ],
)  # fmt: skip
def test_impossible_questions_are_refused(
    demo_clock: DemoClock, finance: Any, assumed: dict[str, Any], field: str
) -> None:
    tenant = used(demo_clock, 60)
    answer = ask(finance, tenant, **assumed)
    assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


def test_a_book_in_another_currency_is_refused_and_support_asks_nothing(
    demo_clock: DemoClock, finance: Any, seller: Any
) -> None:
    tenant = used(demo_clock, 60)
    dollars = book_of(({}, "1"), currency="USD")
    assert list(ask(finance, tenant, price_book=str(dollars.pk)).json()["fields"]) == ["price_book"]
    assert ask(finance, tenant, price_book=str(tenant.id)).status_code == 404
    assert ask(seller("platform_support"), tenant, tax_rate="1").status_code == 403


def test_the_page_compares_what_its_form_says(demo_clock: DemoClock, finance: Any, seller: Any) -> None:
    tenant = used(demo_clock, 40_000)
    page = f"/contracts/{tenant.id}/what-if/"
    assert "What if" in words(finance.get(f"/contracts/{tenant.id}/"))
    assert "As it would be" not in words(finance.get(page))
    book = book_of(({}, "0.0001"))
    # The contract of the month decides what can be compared, whatever the organisation began with.
    with selling.role("exchequer_control"), tenant_scope(tenant.id):
        Tenant.objects.filter(pk=tenant.pk).update(currency="USD")
    text = words(finance.get(f"{page}?month=&book={book.pk}&discount=10,0&tax_rate=19%25"))
    assert "March 2027" in text
    assert "Discount (Device time, Project" in text
    assert "Total €2.00 €4.28 €2.28" in text
    refused = finance.get(f"{page}?discount=101")
    assert (refused.status_code, "Give a percentage" in words(refused)) == (422, True)
    assert finance.get(f"{page}?month=2026-99&discount=1").status_code == 422
    assert seller("platform_support").get(page).status_code == 403
    assert finance.get(f"/contracts/{book.pk}/what-if/").status_code == 404
    assert finance.get(f"/contracts/{make_tenant().id}/what-if/?discount=10").status_code == 422


def test_an_organisation_asks_what_its_month_would_be_under_another_commitment(demo_clock: DemoClock) -> None:
    terms = {"commitments": [{"key": "commitment", "amount": "5"}], "minimums": [{"key": "least", "amount": "1"}]}
    tenant = used(demo_clock, 40_000, terms=terms, tax_rate=Decimal(10))
    member = client_for(tenant, "finance")

    def ask_own(**changed: Any) -> Any:
        return member.post("/api/v1/what-if/", changed, content_type="application/json")

    found = ask_own(commitment="1", discount="50").json()
    assert {(row["kind"], row["term"], row["change"]["amount"]) for row in found["lines"]} == {
        ("commitment_shortfall", "commitment", "-3.000000"), ("discount", "discount", "-1.000000"),
    }  # fmt: skip
    assert [found[name]["total"]["amount"] for name in ("before", "after")] == ["5.500000", "1.100000"]
    without = ask_own(commitment=None, period="2027-03").json()
    assert [row["change"]["amount"] for row in without["lines"]] == ["-3.000000"]
    for wrong in ({}, {"commitment": "-1"}, {"discount": "101"}, {"commitment": "1", "period": "2020-01"}):
        assert ask_own(**wrong).status_code == 400, wrong
    with tenant_scope(tenant.id):
        assert queries.invoice(draft_of(tenant)).total.amount == Decimal("5.50")


def test_the_page_of_an_organisation_compares_its_own_month(demo_clock: DemoClock) -> None:
    terms = {"commitments": [{"key": "commitment", "amount": "5"}]}
    tenant = used(demo_clock, 40_000, terms=terms)
    member, page = client_for(tenant, "finance"), f"/t/{tenant.slug}/commitments/what-if/"
    assert f'href="{page}"' in member.get(f"/t/{tenant.slug}/commitments/").content.decode()
    start = member.get(page)
    assert 'value="5"' in start.content.decode() and "As it would be" not in words(start)
    text = words(member.get(page, {"month": "2027-03", "commitment": "1", "minimum": "", "discount": "50"}))
    assert "March 2027" in text and "Commitment shortfall €3.00 –" in text
    assert "Discount (Device time, A project" in text
    assert "Total €5.00 €1.00 −€4.00" in text
    without = words(member.get(page, {"commitment": ""}))
    assert "Total €5.00 €2.00 −€3.00" in without
    for wrong, message in (
        ({"commitment": "5"}, "Assume something else"),
        ({"commitment": "-1"}, "greater than or equal to 0"),
        ({"commitment": "0.001"}, "at most 2 decimals"),
        ({"discount": "101"}, "less than or equal to 100"),
        ({"month": "2026-99"}, "Give a month such as"),
        ({"month": "2020-01", "discount": "1"}, "has no contract in January 2020"),
        ({"month": "2030-01", "discount": "1"}, "January 2030 has not begun"),
    ):
        refused = member.get(page, wrong)
        assert (refused.status_code, message in words(refused)) == (422, True), wrong
    with tenant_scope(tenant.id):
        assert queries.invoice(draft_of(tenant)).total.amount == Decimal(5)
