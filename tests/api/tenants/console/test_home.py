"""The console's home page: what needs attention, in a number of statements that does not grow with the tenants."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.metering.metering import record_usage
from billing.queries import month_to_date
from compute.devices.base import Found
from compute.fleet import nodes
from tenants.clock import now
from tenants.currencies import money_text
from tenants.isolation.scoping import tenant_scope
from tenants.models import TenantDigest
from tenants.operators import tenant_metrics
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]


def matters(page: Any) -> dict[str, int]:
    found = re.findall(r'<span class="x-state \w+">([^<]+)</span></a> <strong>(\d+)</strong>', text_of(page))
    return {text: int(number) for text, number in found}


def test_the_home_page_names_what_needs_attention(seller: Any, demo_clock: Any) -> None:
    ours, other = factories.make_tenant("ours"), factories.make_tenant("other")
    found = [Found("c", "cpu", "cpu", "CPU 0", 0, 1)]
    nodes.register(name="atlas", hostname="atlas", boot=uuid4(), found=found, missing_layers=[])
    admin, support = seller("platform_admin"), seller("platform_support")
    assert matters(admin.get("/")) == {}
    assert "Nothing waits" in text_of(admin.get("/"))
    assert "Devices in use 0 of 1 now" in words_of(admin)
    support.post(f"/tenants/{ours.id}/look-inside/", {"reason": "Ticket 4713", "minutes": "5"})
    admin.post(f"/tenants/{ours.id}/look-inside/", {"reason": "Ticket 4714", "minutes": "20"})
    admin.post(f"/tenants/{ours.id}/suspend/", {"reason": "Invoice is overdue"})
    admin.post(f"/tenants/{other.id}/close/", {"reason": "Contract has ended"})
    demo_clock.advance(timedelta(minutes=10))
    assert matters(admin.get("/")) == {
        "Looks inside that wait for a second operator": 1,
        "Hosts without a heartbeat": 1,
        "Looks inside that are open": 1,
        "Organisations that close": 1,
        "Suspended organisations": 1,
    }


def words_of(client: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text_of(client.get("/"))).replace("\xa0", " ").split())


def test_the_home_page_compares_the_month_with_the_one_before_up_to_the_same_day(
    seller: Any, as_control: Role, demo_clock: Any
) -> None:
    admin = seller("platform_support")
    assert "Devices in use – no host sends heartbeats" in words_of(admin)
    assert "Revenue of the month – no figure yet" in words_of(admin)
    assert "Organisations – no figure yet" in words_of(admin)
    # In March for 29 days, all of a February without a leap day has passed.
    for at, number in ((datetime(2027, 1, 31, 9), 4), (datetime(2027, 2, 28, 9), 2), (datetime(2027, 3, 29, 9), 1)):
        demo_clock.move_to(at.replace(tzinfo=UTC))
        if number == 4:
            euros, dollars = factories.make_tenant("euros"), factories.make_tenant("dollars", currency="USD")
            with as_control():
                names = {"slug": euros.slug, "name": euros.name, "currency": "EUR", "created_at": now()}
                TenantDigest.objects.create(tenant=euros, **names)
            assert "no figure of the month before yet" in words_of(admin)
        for tenant in (euros, dollars) if number < 4 else ():
            with tenant_scope(tenant.id):
                began = now() - timedelta(hours=number)
                record_usage([interval(factories.default_project_id(tenant), began, 3600 * number)])
    with as_control():
        tenant_metrics.refresh()
    text = words_of(admin)
    with tenant_scope(euros.id):
        (before, after) = (month_to_date().previous_to_date, month_to_date().cost)
    assert before.amount == 2 * after.amount > 0
    for shown in (money_text(before.amount, "EUR"), money_text(before.amount, "USD")):
        assert f"as metered; 50 % less than {shown} by 28 February" in text


def test_the_home_page_asks_as_often_whatever_the_number_of_tenants(seller: Any) -> None:
    admin = seller("platform_finance")

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin.get("/").status_code == 200
        return len(queries)

    factories.make_tenant()
    asked()  # what a process keeps after its first page is not counted
    before = asked()
    for _ in range(4):
        factories.make_tenant()
    assert asked() == before
