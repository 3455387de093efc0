"""The console's list of organisations: spend, budget, running jobs and health, whatever their number in as many statements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.models import Endpoint, HealthAlert
from tenants.isolation.scoping import tenant_scope
from tenants.operators import tenant_metrics
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]


def test_the_list_shows_budget_and_health_of_each_organisation(as_control: Role, seller: Any) -> None:
    ours = factories.make_tenant("ours")
    made = one_of_everything(ours)
    with tenant_scope(ours.id):
        Endpoint.objects.filter(id=made["endpoint_id"]).update(state="ready")
        HealthAlert.objects.create(
            endpoint_id=made["endpoint_id"], version_id=made["version_id"], kind="drift", value=1, threshold=0.2,
        )  # fmt: skip
    support = seller("platform_support")

    def shown() -> tuple[str, int]:
        with as_control():
            tenant_metrics.refresh()
        with CaptureQueriesContext(
            connection,
        ) as asked:
            page = text_of(support.get("/tenants/"))
        return page, len(asked)

    shown()  # the first request also reads what a process keeps
    first, statements = shown()
    assert "€1,000.00" in first and "0&nbsp;% of the month spent" in first and "1 alert<" in first
    factories.make_tenant("theirs")
    both, as_many = shown()
    assert as_many == statements
    theirs = both.partition("<small>theirs</small>")[2]
    assert "none" in theirs and "No alert" in theirs
    rows = support.get("/api/operator/v1/tenants/").json()["results"]
    figures = [(row["slug"], row["budget_limit"], row["budget_period"], row["open_alerts"]) for row in rows]
    assert figures == [("ours", "1000.000000000000", "month", 1), ("theirs", None, "", 0)]
    file = support.get("/tenants/?export=csv").content.decode().splitlines()
    assert '"budget_limit","budget_spent","budget_period","open_alerts"' in file[0]
