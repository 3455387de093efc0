"""The seller's table of tax rates: entered, ended, never edited; by its page, its API and raw SQL."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.models import Meter, TaxRate
from billing.taxes import table
from billing.taxes.queries import tax_rates
from tenants.errors import Invalid, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct
from tenants.operators.operator import Operator
from tests.integration.billing.invoicing.scene import IN_APRIL
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.billing.taxes.scene import enter
from tests.support import factories, selling

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
PAGE = "/invoices/tax-rates/"
API = "/api/operator/v1/tax-rates/"
GIVEN = {"country": "DE", "name": "VAT", "percent": "19", "starts_on": "2007-01-01", "reason": "the law"}


@pytest.fixture
def finance(seller: Any, demo_clock: DemoClock) -> Any:
    demo_clock.move_to(IN_APRIL)
    return seller("platform_finance")


def end(rate: TaxRate, ends_on: date) -> None:
    with selling.role("exchequer_operator"):
        table.end(operator=selling.SELLER, rate_id=rate.pk, ends_on=ends_on, reason="the law")


def test_a_rate_is_entered_and_ended_on_its_page_and_the_next_one_follows(finance: Any, seller: Any) -> None:
    assert "No rate yet" in words(finance.get(PAGE))
    assert finance.post(PAGE, GIVEN).status_code == 302
    refused = finance.post(PAGE, GIVEN | {"percent": "20", "starts_on": "2027-04-01"})
    assert (refused.status_code, "End that one first." in words(refused)) == (422, True)
    rate = TaxRate.objects.get()
    early = finance.post(f"{PAGE}{rate.pk}/end/", {"ends_on": "2027-02-28", "reason": "the law"})
    assert (early.status_code, "not before 2027-03-01" in words(early)) == (422, True)
    assert finance.post(f"{PAGE}{rate.pk}/end/", {"ends_on": "2027-04-01", "reason": "the law"}).status_code == 302
    assert finance.post(PAGE, GIVEN | {"percent": "20", "starts_on": "2027-04-01"}).status_code == 302
    assert [(row.percent, row.state) for row in tax_rates()] == [(20, "in_force"), (19, "past")]
    with selling.role("exchequer_operator"):
        acts = OperatorAct.objects.filter(target_type="tax_rate").order_by("seq")
        assert [act.action for act in acts] == [
            "billing.tax_rate.entered", "billing.tax_rate.ended", "billing.tax_rate.entered",
        ]  # fmt: skip
    support = seller("platform_support")
    assert "20" in words(support.get(PAGE))
    assert "Enter a rate" not in words(support.get(PAGE))
    assert support.post(PAGE, GIVEN).status_code == 403


def test_a_meter_of_an_organisation_may_have_a_rate_of_its_own(finance: Any) -> None:
    tenant = factories.make_tenant()
    with tenant_scope(tenant.id):
        Meter.objects.create(key="scans", title="Scans read", unit="scan", event_type="scan.read")
    assert '<option value="scans">Scans read</option>' in finance.get(PAGE).content.decode()
    assert finance.post(PAGE, GIVEN | {"product": "scans", "percent": "7"}).status_code == 302
    assert re.search(r"Scans read .*7", words(finance.get(PAGE)))


def test_the_api_lists_enters_and_ends_rates(finance: Any) -> None:
    made = finance.post(
        API, GIVEN | {"product": "inference_requests", "percent": "7.5"}, content_type="application/json"
    )
    assert (made.status_code, made.json()["percent"], made.json()["state"]) == (201, "7.500", "in_force")
    again = finance.post(API, GIVEN | {"product": "inference_requests"}, content_type="application/json")
    assert (again.status_code, list(again.json()["fields"])) == (400, ["starts_on"])
    assert finance.post(API, GIVEN, content_type="application/json").status_code == 201
    ended = finance.post(
        f"{API}{made.json()['id']}/end/",
        {"ends_on": "2027-05-01", "reason": "the law"},
        content_type="application/json",
    )
    assert ended.status_code == 204
    rows = finance.get(API).json()["results"]
    assert [(row["product"], row["ends_on"]) for row in rows] == [("", None), ("inference_requests", "2027-05-01")]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"country": "de"}, "country"), ({"country": "ZZ"}, "country"), ({"percent": Decimal("100.1")}, "percent"), ({"percent": Decimal("1.2345")}, "percent"),
        ({"percent": Decimal("NaN")}, "percent"), ({"name": " "}, "name"), ({"ends_on": date(2007, 1, 1)}, "ends_on"),
    ],
)  # fmt: skip
def test_impossible_rates_are_refused(more: dict[str, Any], field: str, demo_clock: DemoClock) -> None:
    demo_clock.move_to(IN_APRIL)
    with pytest.raises(Invalid) as refused:
        enter(**{**more, "percent": more.get("percent", "19")})
    assert list(refused.value.fields) == [field]


def test_a_rate_that_has_begun_takes_an_end_and_nothing_else_and_one_to_come_may_go(demo_clock: DemoClock) -> None:
    demo_clock.move_to(IN_APRIL)
    rate, coming = enter(), enter("FR", "20", date(2027, 6, 1))
    with pytest.raises(Invalid) as refused:
        enter("FR", "19", date(2027, 1, 1))
    assert refused.value.fields == {
        "ends_on": ["Another rate of this country and product begins on 2027-06-01. End this one by then."]
    }
    end(coming, date(2027, 5, 1))
    assert list(TaxRate.objects.values_list("country", flat=True)) == ["DE"]
    end(rate, date(2027, 3, 1))
    with pytest.raises(Invalid):
        end(rate, date(2027, 2, 1))
    demo_clock.move_to(IN_APRIL.replace(month=6))
    with pytest.raises(table.RateEnded):
        end(rate, date(2027, 7, 1))
    for change in (
        "UPDATE billing_taxrate SET percent = 7", "UPDATE billing_taxrate SET ends_on = '2027-07-01'",
        "DELETE FROM billing_taxrate",
    ):  # fmt: skip
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_who_writes_no_prices_enters_no_rate(demo_clock: DemoClock) -> None:
    demo_clock.move_to(IN_APRIL)
    support = Operator(id=selling.SELLER.id, label="support@platform.example", roles=("platform_support",))
    rate = table.NewRate(country="DE", name="VAT", percent=Decimal(19), starts_on=date(2007, 1, 1))
    with selling.role("exchequer_operator"), pytest.raises(PermissionDenied):
        table.enter(operator=support, rate=rate, reason="the law")


def test_no_meter_takes_the_place_of_the_standard_rate(finance: Any) -> None:
    refused = finance.post(API, GIVEN | {"product": "standard"}, content_type="application/json")
    assert (refused.status_code, refused.json()["fields"].keys()) == (400, {"product"})
    assert not TaxRate.objects.exists()
