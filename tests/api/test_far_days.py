"""A day or a month at the ends of the calendar is answered at its field, on each page that takes one, of both sides."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval
from tests.api.far_days import DAYS, MONTHS
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
RANGE = "Give a month from 1970-01 to 8999-12."


def test_pages_of_tenants_answer_far_days() -> None:
    tenant, client = factories.make_tenant("far"), Client()
    client.force_login(factories.make_member(tenant, "owner"))
    of_months = [("chargeback/", "period"), ("showback/", "month"), ("cost-exports/file/", "since"),
                 ("cost-exports/file/", "until")]  # fmt: skip
    of_days = [("statement/", "start"), ("statement/", "end"), ("statement/statement.pdf", "end"), ("audit/", "until")]
    for (page, name), values in [*((one, MONTHS) for one in of_months), *((one, DAYS) for one in of_days)]:
        for value in values:
            answer = client.get(f"/t/far/{page}", {name: value})
            assert answer.status_code < 500, (page, name, value)
            if values is MONTHS:
                assert (answer.status_code, RANGE in text_of(answer)) == (422, True), (page, name, value)
    for page in ("chargeback/", "showback/"):
        wrong = client.get(f"/t/far/{page}", {"period" if page == "chargeback/" else "month": "soon"})
        assert (wrong.status_code, "Give a month such as 2026-11." in text_of(wrong)) == (422, True)
    client.force_login(factories.make_member(tenant, "viewer"))
    page = client.get("/t/far/approvals/")
    offered = [str(value) for value, _ in page.context["access_form"].fields["role"].choices]
    assert (len(offered), "None" in offered, "owner" in offered) == (len(set(offered)), False, False)
    for value in DAYS:
        asked = {"role": "engineer", "project": "", "last_day": value, "reason": "to launch"}
        refused = client.post("/t/far/approvals/access/", asked)
        assert refused.status_code == 422
        assert "access_last_day" in text_of(refused)
    for words in ("Request sent.", "You asked for the same before."):
        sent = client.post("/t/far/approvals/access/", {**asked, "last_day": "8999-12-30"}, follow=True)
        assert words in text_of(sent)
    with tenant_scope(tenant.id):
        assert Approval.objects.get().wanted["until"].startswith("8999-12-3")


def test_pages_of_the_console_answer_far_days_and_addresses_of_tenants(seller: Any) -> None:
    tenant, operator = factories.make_tenant("far"), seller("platform_admin", "platform_finance")
    for month in MONTHS:
        assert operator.get(f"/invoices/months/{month}/").status_code == 404
        assert RANGE in text_of(operator.get(f"/contracts/{tenant.id}/what-if/?month={month}"))
        assert RANGE in text_of(operator.get(f"/invoices/?month={month}"))
    for day in DAYS:
        for name in ("start", "end"):
            assert operator.get(f"/invoices/statements/{tenant.id}/?{name}={day}").status_code == 422
    lost = operator.get("/t/far/")
    assert (lost.status_code, tenant.name in text_of(lost)) == (404, False)
