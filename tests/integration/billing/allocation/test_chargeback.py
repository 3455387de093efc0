"""Chargeback: a month's invoice by who and what caused it; whatever it is cut by, it adds up to the invoice."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing import queries
from billing.allocation.chargeback import chargeback
from billing.metering.metering import record_usage
from billing.money import Money
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.exports.scene import closed, late, month, view
from tests.integration.billing.invoicing import scene
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
BY = ("project", "person", "model", "endpoint", "meter", "tier", "device_class", "job", "tag:team", "tag:ticket")


def client(tenant: Tenant, role: str = "finance") -> Client:
    made = Client()
    made.force_login(factories.make_member(tenant, role))
    return made


def asked(tenant: Tenant, **query: str) -> list[dict[str, Any]]:
    answer = client(tenant).get("/api/v1/chargeback/", query)
    assert answer.status_code == 200, answer.content
    return list(answer.json()["results"])


def total(rows: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(row["cost"]["amount"]) for row in rows), Decimal(0))


def test_b62_every_cut_of_a_month_adds_up_to_its_invoice(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    late(tenant)
    march, april = view(tenant, invoice), view(tenant, scene.draft_of(tenant, scene.APRIL))
    with tenant_scope(tenant.id):
        for by in [*((name,) for name in BY), *combinations(BY, 2)]:
            for bill in (march, april):
                found = chargeback(bill.period, by)
                assert sum((row.cost for row in found.rows), Money.zero("EUR")) == found.total == bill.subtotal, by


def test_work_without_a_tag_has_a_row_and_discounts_follow_the_work(demo_clock: DemoClock) -> None:
    tenant = month(demo_clock)
    rows = {row["keys"]["tag:team"]: row for row in asked(tenant, period="2027-03", by="tag:team")}
    assert {key: row["names"]["tag:team"] for key, row in rows.items()} == {
        "vision": "vision", "ops": "ops", None: "Untagged", "(whole organisation)": "Whole organisation",
    }  # fmt: skip
    assert rows["vision"]["quantity"] == "33340.000000"
    assert rows["ops"]["unit"] == "second"
    crossed = asked(tenant, period="2027-03", by="project,tag:team")
    for team, row in rows.items():
        assert total([one for one in crossed if one["keys"]["tag:team"] == team]) == Decimal(row["cost"]["amount"])
    projects = {row["names"]["project"] for row in crossed}
    assert {"Vision", "A project"} <= projects


def test_a_month_costs_as_many_statements_with_more_work(demo_clock: DemoClock) -> None:
    counts, spent = [], []
    for jobs in (3, 60):
        tenant = scene.used(demo_clock, 60)
        project = factories.default_project_id(tenant)
        with tenant_scope(tenant.id):
            at = scene.IN_APRIL - timedelta(hours=2)
            record_usage(
                [interval(project, at, 1 + n, job_id=(job := uuid4()), resource=f"job:{job}") for n in range(jobs)]
            )
            with CaptureQueriesContext(connection) as caught:
                rows = chargeback(scene.APRIL, ("job", "person")).rows
            with CaptureQueriesContext(connection) as cut:
                queries.spend(queries.span(), group_by=["person", "model"], granularity="day")
        counts.append(len(caught))
        spent.append(len(cut))
        assert len(rows) == jobs
    assert counts[0] == counts[1] and spent[0] == spent[1]


def test_predictions_cost_so_much_a_thousand(demo_clock: DemoClock) -> None:
    tenant = scene.used(demo_clock, 60)
    project, endpoint = factories.default_project_id(tenant), uuid4()
    used = {"resource": f"endpoint:{endpoint}", "dims": {"endpoint": "screening"}}
    with tenant_scope(tenant.id):
        at = scene.IN_APRIL - timedelta(hours=2)
        record_usage(
            [
                interval(project, at, 1, meter="inference_requests", quantity=Decimal(4_000), **used),
                interval(project, at, 3_600, dims=DIMS | {"endpoint": "screening"}, resource=f"endpoint:{endpoint}"),
            ]
        )
        record_usage([interval(project, at, 60, job_id=endpoint)])
    (row, _) = asked(tenant, period="2027-04", by="endpoint")
    assert (row["keys"]["endpoint"], row["predictions"], row["quantity"]) == ("screening", "4000.000000", None)
    assert Decimal(row["per_1000"]["amount"]) == Decimal(row["cost"]["amount"]) / 4
    unnamed = [row["names"]["job"] for row in asked(tenant, period="2027-04", by="job")]
    assert f"job {str(endpoint)[-8:]}" in unnamed, "as Spend names a job that has no name"


@pytest.mark.parametrize("by", ["", "project,project", "colour", "project,meter,tier", "tag:", "tag:a b"])
def test_other_dimensions_are_refused_by_name(by: str) -> None:
    tenant = factories.make_tenant()
    answer = client(tenant).get("/api/v1/chargeback/", {"by": by})
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["by"])


def test_the_page_shows_the_month_and_its_file_has_all_of_it(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    finance, page = client(tenant), f"/t/{tenant.slug}/chargeback/"
    text = text_of(finance.get(page, {"period": "2027-03", "first": "tag:team", "second": "project"}))
    for words in ("March 2027", "INV-000001", "Tag team", "Untagged", "vision", "A project"):
        assert words in text
    assert (
        "/dash/spend/?range=custom&amp;from=2027-03-01&amp;to=2027-03-31&amp;group=job&amp;only=%7B%22tag%3Ateam%22"
        in text
    )
    # Every line of the invoice is in a row that leads to it, and so to its intervals.
    led = {int(n) for n in re.findall(rf"/invoices/{invoice}/lines/([0-9]+)/", text)}
    named = {n for row in asked(tenant, period="2027-03", by="tag:team,project") for n in row["lines"]}
    with tenant_scope(tenant.id):
        assert named == {line.n for line in queries.invoice_lines(invoice)} and led and led <= named
    answer = finance.get(page, {"period": "2027-03", "first": "person", "export": "csv"})
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert sum(Decimal(row["cost"]) for row in rows) == view(tenant, invoice).subtotal.amount
    assert {row["person_name"] for row in rows} == {"Nobody", "Whole organisation"}
    assert "CPU" in text_of(finance.get(page, {"period": "2027-03", "first": "device_class"}))
    assert "No usage in this month" in text_of(finance.get(page, {"period": "2026-01"}))
    assert finance.get(page, {"first": "colour"}).status_code == 400
    assert client(tenant, "engineer").get(page).status_code == 403
    assert asked(factories.make_tenant(), period="2027-03") == []
