"""Spend by endpoint: names of endpoints with hidden models are redacted, and the sums stay the same."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from billing.metering.metering import record_usage
from dashboards.spend import datasets
from tenants.access.reader import reading_as
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import factories
from tests.support.model_versions import make_endpoint, make_version
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
START = datetime(2026, 9, 11, 9, tzinfo=UTC)
NAMES = ("merger", "buyout", "churn")


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    made = priced_tenant(demo_clock, START, for_=timedelta(hours=12))
    owner = factories.actor_for(made)
    for name in NAMES:
        make_endpoint(make_version(owner, restricted=name != "churn"), name)
    with tenant_scope(made.id):
        project = factories.default_project_id(made)
        dims = {"device_class": "cpu", "tier": "on_demand"}
        record_usage(
            [
                interval(project, START - timedelta(hours=11), 600 * at, dims={**dims, "endpoint": name})
                for at, name in enumerate(NAMES, 1)
            ]
        )
    return made


def reading(tenant: Tenant, role: str) -> tuple[Client, str]:
    client = Client()
    client.force_login(factories.make_member(tenant, role))
    page = reverse("spend-export", args=(tenant.slug, "groups")) + "?range=30d&group=dim:endpoint"
    return client, page


@pytest.mark.parametrize(("role", "names"), [("viewer", {"not shared with you", "churn"}), ("admin", {*NAMES})])
def test_spend_by_endpoint_names_only_those_that_the_reader_may_see(tenant: Tenant, role: str, names: set[str]) -> None:
    client, page = reading(tenant, role)
    rows = list(csv.DictReader(StringIO(client.get(page).content.decode())))
    assert {row["name"] for row in rows} == names
    api = client.get("/api/v1/spend/?group_by=dim:endpoint&from=2026-09-01&to=2026-10-01").json()["results"]
    assert {row["dim:endpoint"] for row in api} == names
    with tenant_scope(tenant.id), reading_as(factories.actor_for(tenant, role)):
        shown = datasets.spend_page({"group": "dim:endpoint", "range": "30d"})
    assert {*shown.daily.series} == names
    drawn = sum((sum(values, Decimal(0)) for values in shown.daily.series.values()), Decimal(0))
    assert sum(Decimal(row["amount"]) for row in rows) == drawn == shown.totals.amount > 0
