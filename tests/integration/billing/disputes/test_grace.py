"""Grace of a contract and comments of operators: late usage is awaited, and what operators note stays with them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from billing import queries
from billing.metering.metering import record_usage
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import IN_APRIL, IN_MARCH, draft_of, finalise, name_the_seller, used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support import selling
from tests.support.factories import default_project_id
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


@pytest.fixture
def finance(seller: Any) -> Any:
    name_the_seller()
    return seller("platform_finance")


def post(browser: Any, path: str, **body: str) -> Any:
    return browser.post(f"/api/operator/v1/{path}", body, content_type="application/json")


def test_within_grace_late_usage_joins_the_draft_and_finalising_needs_a_reason(
    demo_clock: DemoClock, finance: Any
) -> None:
    tenant = used(demo_clock, 40_000, grace_days=5)
    invoice = draft_of(tenant)
    refused = post(finance, f"invoices/{invoice}/finalise/")
    assert (refused.status_code, refused.json()["code"]) == (409, "grace_runs")
    assert "until 6 April 2027, 00:00 UTC" in refused.content.decode()
    page = f"/invoices/{invoice}/"
    assert "State why if you finalise earlier." in words(finance.get(page))
    assert finance.post(f"{page}finalise/", {}).status_code == 422
    with tenant_scope(tenant.id):
        record_usage([interval(default_project_id(tenant), IN_MARCH, 20_000)])
        assert queries.invoice(invoice).total.amount == 3
    assert list(post(finance, f"invoices/{invoice}/finalise/", early="x").json()["fields"]) == ["reason"]
    made = post(finance, f"invoices/{invoice}/finalise/", early="they asked for it today")
    assert made.json() == {"number": "INV-000001"}
    with selling.role("exchequer_operator"):
        act = OperatorAct.objects.get(action="billing.invoice.finalised")
        assert act.reason == "they asked for it today"


def test_after_grace_nothing_is_asked(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 40_000, grace_days=5)
    demo_clock.move_to(IN_APRIL + timedelta(days=4))
    assert "State why" not in words(finance.get(f"/invoices/{draft_of(tenant)}/"))
    assert finalise(tenant) == "INV-000001"


def test_operators_comment_for_each_other_alone(demo_clock: DemoClock, finance: Any, seller: Any) -> None:
    tenant = used(demo_clock, 40_000)
    invoice = draft_of(tenant)
    page = f"/invoices/{invoice}/"
    assert finance.post(f"{page}comments/", {"text": "Waits for their purchase order."}).status_code == 302
    made = post(finance, f"invoices/{invoice}/comments/", text="It came.")
    assert (made.status_code, made.json()["text"]) == (201, "It came.")
    assert list(post(finance, f"invoices/{invoice}/comments/", text=" ").json()["fields"]) == ["text"]
    support = seller("platform_support")
    listed = support.get(f"/api/operator/v1/invoices/{invoice}/comments/").json()["results"]
    assert [one["text"] for one in listed] == ["Waits for their purchase order.", "It came."]
    assert "Waits for their purchase order." in words(support.get(page))
    assert support.post(f"{page}comments/", {"text": "Mine"}).status_code == 403
    theirs = client_for(tenant, "owner").get(f"/t/{tenant.slug}{page}").content.decode()
    assert "purchase order" not in theirs
