"""The seller's exchange rates: entered by page and API, never edited, and what becomes possible with one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.models import Contract, ExchangeRate, PriceBook
from billing.pricing import contracts, publishing
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct
from tests.integration.billing.invoicing.scene import used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support import selling
from tests.support.factories import make_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
PAGE = "/price-books/exchange-rates/"
API = "/api/operator/v1/exchange-rates/"
NOW = datetime(2027, 4, 2, 12, tzinfo=UTC)
REST = {"rate": "0.92", "origin": "ECB", "reason": "as published"}
FORM = REST | {"source": "USD", "target": "EUR"}
GIVEN = REST | {"from_currency": "USD", "to_currency": "EUR"}


@pytest.fixture
def finance(seller: Any, demo_clock: DemoClock) -> Any:
    demo_clock.move_to(NOW)
    return seller("platform_finance")


def test_rates_follow_each_other_and_none_is_edited(finance: Any, seller: Any, demo_clock: DemoClock) -> None:
    assert "No rate yet" in words(finance.get(PAGE))
    assert finance.post(PAGE, FORM).status_code == 302
    early = finance.post(PAGE, FORM | {"rate": "0.95", "valid_from": "2027-04-02T12:01"})
    assert (early.status_code, "what has been converted keeps its rate" in words(early)) == (422, True)
    coming = finance.post(
        API, GIVEN | {"rate": "0.95", "valid_from": "2027-04-03T00:00:00Z"}, content_type="application/json"
    )
    assert (coming.status_code, coming.json()["state"]) == (201, "coming")
    twice = finance.post(
        API, GIVEN | {"rate": "0.96", "valid_from": "2027-04-03T00:00:00Z"}, content_type="application/json"
    )
    assert (twice.status_code, list(twice.json()["fields"])) == (400, ["valid_from"])
    demo_clock.move_to(NOW + timedelta(days=1))
    listed = finance.get(f"{API}?limit=1").json()
    assert [(row["rate"], row["state"]) for row in listed["results"]] == [("0.950000000000", "in_force")]
    rest = finance.get(f"{API}?limit=1&cursor={listed['next'].rpartition('=')[2]}").json()["results"]
    assert [(row["rate"], row["state"]) for row in rest] == [("0.920000000000", "past")]
    support = seller("platform_support")
    assert ("0.95" in words(support.get(PAGE)), "Enter a rate" in words(support.get(PAGE))) == (True, False)
    assert support.post(PAGE, FORM).status_code == 403
    with selling.role("exchequer_operator"):
        acts = OperatorAct.objects.filter(action="billing.exchange_rate.entered")
        assert acts.count() == 2
    for change in (
        "UPDATE billing_exchangerate SET rate = 7", "DELETE FROM billing_exchangerate",
        "INSERT INTO billing_exchangerate (id, source, target, rate, valid_from, origin, entered_by) "
        "SELECT gen_random_uuid(), source, target, 1, exchequer_now(), '', '' FROM billing_exchangerate LIMIT 1",
    ):  # fmt: skip
        with selling.role("exchequer_operator"), pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute(change)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"from_currency": "ZZZ"}, "from_currency"), ({"to_currency": "USD"}, "to_currency"), ({"rate": "0"}, "rate"), ({"rate": "NaN"}, "rate"),
        ({"origin": " "}, "origin"), ({"valid_from": "2040-01-01T00:00:00Z"}, "valid_from"),
        ({"valid_from": "2027-04-01T00:00:00Z"}, "valid_from"),
    ],
)  # fmt: skip
def test_impossible_rates_are_refused(finance: Any, more: dict[str, str], field: str) -> None:
    refused = finance.post(API, GIVEN | more, content_type="application/json")
    assert (refused.status_code, list(refused.json()["fields"])) == (400, [field])


def test_a_book_in_another_currency_is_agreed_on_previewed_and_asked_about_once_there_is_a_rate(
    finance: Any, demo_clock: DemoClock
) -> None:
    tenant = used(demo_clock, 3600)
    with selling.role("exchequer_operator"), transaction.atomic():
        book = PriceBook.objects.create(name="Dollars", currency="USD")
        publishing.store(book, 1, None, [selling.NewPrice("device_seconds", {}, Decimal("0.01"))], "", by="tests")
    asked = {"tenants": [str(tenant.id)], "price_book": str(book.pk), "period": "2027-03"}
    missing = finance.post("/api/operator/v1/what-if/", asked, content_type="application/json")
    assert (missing.status_code, "Enter an exchange rate" in str(missing.json())) == (400, True)
    address = f"/contracts/{tenant.id}/"
    assert "Dollars" not in words(finance.get(address))
    selling.enter_rate("0.9")
    # An hour at one cent: 36 dollars are 32.40 euros.
    answer = finance.post("/api/operator/v1/what-if/", asked, content_type="application/json")
    assert answer.status_code == 200, answer.content
    (compared,) = answer.json()["results"]
    assert compared["after"]["subtotal"] == {"amount": "32.400000", "currency": "EUR"}
    assert "Dollars (USD, converted)" in words(finance.get(address))
    assert "Dollars (USD, converted)" in words(finance.get(f"{address}what-if/"))
    form = {"book": str(book.pk), "starts_on": "2027-05-01", "payment_days": "30", "reason": "as agreed"}
    assert finance.post(address, form).status_code == 302
    with tenant_scope(tenant.id):
        made = Contract.objects.get(starts_on=date(2027, 5, 1))
    assert (made.currency, made.book_id) == ("EUR", book.pk)
    other = make_tenant(currency="JPY")
    with selling.role("exchequer_operator"), pytest.raises(Invalid) as refused:
        contracts.agree(
            operator=selling.SELLER, tenant_id=other.id, book_id=book.pk, starts_on=date(2027, 5, 1),
            terms=contracts.ContractTerms(), reason="as agreed",
        )  # fmt: skip
    assert "from USD to JPY first" in refused.value.fields["book"][0]
    assert ExchangeRate.objects.count() == 1
