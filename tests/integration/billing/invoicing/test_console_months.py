"""The console's page of a month: the run is ordered there, and shows what each organisation comes to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from billing.metering.metering import record_usage
from billing.runs import running
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project
from tests.integration.billing.invoicing.scene import IN_MARCH, draft_of, finalise, name_the_seller, used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support import selling
from tests.support.factories import make_project
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
PAGE = "/invoices/months/2027-03/"


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def test_a_month_is_run_from_its_page_and_what_stands_out_comes_first(demo_clock: DemoClock, finance: Any) -> None:
    plain = used(demo_clock, 60_000)
    odd = used(demo_clock, 60_000)
    demo_clock.move_to(IN_MARCH)
    extra = make_project(odd)
    with tenant_scope(odd.id):
        record_usage([interval(extra.id, IN_MARCH - timedelta(hours=2), 60, meter="batch_seconds")])
    demo_clock.move_to(IN_MARCH + timedelta(days=13))
    assert "No run of this month was ordered yet." in words(finance.get(PAGE))
    assert finance.post(PAGE).status_code == 302
    waiting = finance.get(PAGE)
    assert "A run is ordered" in words(waiting)
    assert 'hx-trigger="every 3s"' in waiting.content.decode(), "its figures appear by themselves"
    with selling.role("exchequer_control"):
        running.carry_out()
    text = words(finance.get(PAGE))
    assert "Prepared" in text
    assert "Not compared yet" in text
    assert text.index(odd.slug) < text.index(plain.slug), "usage without a price stands out"
    assert f"Batch prediction time of Project {str(extra.id)[-8:]}: usage without a price" in text
    answer = finance.get(PAGE).content.decode()
    assert "hx-trigger" not in answer
    assert f"/invoices/{draft_of(plain)}/" in answer
    assert "/invoices/months/2027-02/" in answer


def test_the_month_shows_the_draft_in_place_of_an_invoice_that_was_void_since(
    demo_clock: DemoClock, finance: Any
) -> None:
    tenant = used(demo_clock, 60_000)
    name_the_seller()
    finalise(tenant)
    issued = draft_of(tenant)
    finance.post(PAGE)
    with selling.role("exchequer_control"):
        running.carry_out()
    assert f"/invoices/{issued}/" in finance.get(PAGE).content.decode()
    finance.post(f"/invoices/{issued}/void/", {"reason": "a wrong address", "reissue": "on"})
    shown = finance.get(PAGE)
    assert f"/invoices/{draft_of(tenant)}/" in shown.content.decode()
    assert f"/invoices/{issued}/" not in shown.content.decode()
    assert "Draft" in words(shown)


def test_what_changed_is_named_with_its_project_its_meter_and_both_amounts(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 60_000, 60_000)
    with tenant_scope(tenant.id):
        first, second = Project.objects.exclude(slug="default").order_by("slug")
        record_usage([interval(first.id, IN_MARCH + timedelta(days=12), 30_000)])
        record_usage([interval(second.id, IN_MARCH + timedelta(days=12), 60_000)])
    demo_clock.move_to(IN_MARCH + timedelta(days=14))
    finance.post("/invoices/months/2027-04/")
    with selling.role("exchequer_control"):
        running.carry_out()
    text = words(finance.get("/invoices/months/2027-04/"))
    assert f"Device time of Project {str(first.id)[-8:]}: €3.00 the month before, now €1.50" in text
    assert "Draft" in text and "−25 %" in text.replace("\u00a0", " ")
    assert str(second.id)[-8:] not in text


def test_a_month_that_is_none_is_missing_and_one_to_come_is_refused(demo_clock: DemoClock, finance: Any) -> None:
    demo_clock.move_to(IN_MARCH)
    for month in ("2027-13", "march", "2027-03-01", "27-03"):
        assert finance.get(f"/invoices/months/{month}/").status_code == 404
    answer = finance.post("/invoices/months/2027-05/")
    assert answer.status_code == 422
    assert "This month has not begun." in words(answer)


def test_support_sees_the_month_and_orders_no_run(demo_clock: DemoClock, seller: Any) -> None:
    demo_clock.move_to(IN_MARCH)
    support = seller("platform_support")
    assert "Run the month" not in words(support.get(PAGE))
    assert support.post(PAGE).status_code == 403
