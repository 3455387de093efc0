"""The console's home page: what needs attention, in a number of statements that does not grow with the tenants."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute.devices.base import Found
from compute.fleet import nodes
from tests.support import factories
from tests.support.pages import text_of

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
