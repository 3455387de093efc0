"""The page that explains a line of an invoice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from billing import queries
from billing.metering.metering import record_usage
from compute.models import Job
from tenants.clock import now
from tenants.currencies import exact_text
from tenants.isolation.scoping import tenant_scope
from tests.api.objects import one_of_everything
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)


def test_jobs_are_shown_by_name_and_those_that_are_not_seen_without_a_link() -> None:
    tenant = factories.make_tenant()
    ids, unknown = one_of_everything(tenant), uuid4()
    project_id = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        Job.objects.filter(id=ids["job_id"]).update(name="spring <tulips>")
        for job_id in (ids["job_id"], unknown):
            used = interval(project_id, now() - timedelta(seconds=60), 20, resource=f"job:{job_id}", job_id=job_id)
            record_usage([used])
        invoice = queries.draft_invoice()
    answer = client_for(tenant, "owner").get(f"/t/{tenant.slug}/invoices/{invoice.id}/lines/1/")
    page = text_of(answer)
    assert page.count(">spring &lt;tulips&gt;</a>") in (2, 3), (
        "once as a share, once as an interval, or two over a quarter's end"
    )
    assert f"job:{ids['job_id']}" not in page
    assert page.count("not shared with you") in (2, 3)
    assert str(unknown) not in page.replace(f"attempt={unknown}", ""), "nothing leads to what answers 404"


def test_the_cost_is_money_the_exact_figure_is_on_demand_and_shares_are_sorted(demo_clock: DemoClock) -> None:
    tenant = priced_tenant(demo_clock, NOW, for_=timedelta(days=1))
    project_id = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        for name, seconds in (("beta", 7), ("alpha", 20), ("gamma", 13)):
            record_usage([interval(project_id, now() - timedelta(seconds=60), seconds, resource=name)])
        invoice = queries.draft_invoice()
        (line,) = queries.invoice_lines(invoice.id)
    client, path = client_for(tenant, "finance"), f"/t/{tenant.slug}/invoices/{invoice.id}/lines/1/"
    tiles = text_of(client.get(path)).split('<div class="x-tiles">')[1].split("x-stack")[0]
    value = tiles.split("= Cost")[1].split("x-tile-value")[1].split("</span>")[0]
    exact = exact_text(line.exact.amount, invoice.currency)
    assert f">€{line.amount.amount:.2f}</data>" in value
    assert f">{exact}</data> exactly" in tiles.split("<details")[1].split("</details>")[0]
    for asked, names in (
        ("name", ["alpha", "beta", "gamma"]),
        ("-cost", ["alpha", "gamma", "beta"]),
        ("charged", ["beta", "gamma", "alpha"]),
    ):
        answer = client.get(path, {"shares": asked})
        assert [share.resource for share in answer.context["shares"]] == names
        assert "aria-sort" in text_of(answer)
    assert client.get(path, {"shares": "'; DROP"}).status_code == 200
