"""Seconds, requests and milliseconds side by side: each explained in its own words, and never added up."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from billing import queries, resource_names
from billing.defaults import BATCH_SECONDS, DEVICE_SECONDS, INFERENCE_MS, INFERENCE_REQUESTS, PRICES
from billing.metering.metering import Interval, record_usage
from billing.models import UsageEvent
from billing.pricing import publishing
from compute.models import Job
from dashboards.formatting import quantity_text, took_text, unit_text
from dashboards.spend import datasets
from tenants.clock import now
from tenants.currencies import exact_text
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.objects import one_of_everything
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import flowed, text_of
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
ENDPOINT = uuid4()
HOSTILE = "=cmd|' /C calc'!A0"


@pytest.fixture
def month(monkeypatch: pytest.MonkeyPatch, demo_clock: "DemoClock") -> tuple[Tenant, UUID]:
    """A tenant with a training job, a batch prediction and an endpoint's three batches, and that month's invoice."""
    monkeypatch.setattr(publishing, "PRICES", PRICES)
    monkeypatch.setattr(resource_names, "_kinds", dict(resource_names._kinds))
    resource_names.register(
        lambda ids: dict.fromkeys(set(ids) & {ENDPOINT}, "churn <live>"), "endpoint", record_noun="Batches"
    )
    tenant = factories.make_tenant(timezone="Asia/Kolkata")
    job = one_of_everything(tenant)["job_id"]
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        demo_clock.advance(timedelta(hours=2))
        Job.objects.filter(id=job).update(name="training")
        start = now() - timedelta(seconds=60)
        kinds = [(DEVICE_SECONDS, 20), (BATCH_SECONDS, 10)]
        used = [
            interval(
                project,
                start,
                seconds,
                meter=meter,
                resource=f"job:{job}",
                job_id=job,
                attempt_id=uuid4(),
                source=meter,
            )
            for meter, seconds in kinds
        ]
        for number, requests in enumerate((3, 1, 40)):
            used += [
                Interval(
                    key=f"b{number}:{meter}",
                    meter=meter,
                    resource=f"endpoint:{ENDPOINT}",
                    project_id=project,
                    start=start + timedelta(seconds=number),
                    end=start + timedelta(seconds=number, milliseconds=7),
                    dims={"endpoint": "churn"},
                    source="serving",
                    quantity=Decimal(quantity),
                )
                for meter, quantity in ((INFERENCE_REQUESTS, requests), (INFERENCE_MS, 7))
            ]
        record_usage(used)
        invoice = queries.draft_invoice()
    assert invoice.id is not None
    return tenant, invoice.id


def lines(tenant: Tenant, invoice: UUID) -> dict[str, int]:
    with tenant_scope(tenant.id):
        return {line.meter: line.n for line in queries.invoice_lines(invoice) if line.version_number}


def test_the_invoice_sums_each_unit_by_itself(month: tuple[Tenant, UUID]) -> None:
    tenant, invoice = month
    with tenant_scope(tenant.id):
        assert queries.invoice(invoice).quantities == {"second": 30, "request": 44, "millisecond": 21}
    client = client_for(tenant, "finance")
    page = flowed(client.get(f"/t/{tenant.slug}/invoice/").content.decode())
    assert "44\u00a0requests" in page
    assert "21\u00a0ms" in page
    assert "95\u00a0" not in page, "30 + 44 + 21: units were added up"
    with tenant_scope(tenant.id):
        view = queries.invoice(invoice)
    assert view.exact != view.total
    for title, amount in (
        ("Lines before rounding", view.exact.amount),
        ("Rounding of lines", view.total.amount - view.exact.amount),
    ):
        assert f'{title}</dt><dd><data class="money" value="{amount:f}">{exact_text(amount, "EUR")}</data>' in page
    reconciled = text_of(client.get(f"/t/{tenant.slug}/invoices/reconciled/"))
    assert "usage 44\u00a0requests = invoiced 44\u00a0requests" in reconciled


def test_a_line_of_serving_is_explained_by_batch_with_the_endpoints_name(month: tuple[Tenant, UUID]) -> None:
    tenant, invoice = month
    client, numbers = client_for(tenant, "finance"), lines(*month)
    address = f"/t/{tenant.slug}/invoices/{invoice}/lines/"
    page = text_of(client.get(f"{address}{numbers[INFERENCE_REQUESTS]}/"))
    assert page.count("churn &lt;live&gt;") == 4, "once as a share, once for each batch"
    assert "Batches" in page
    assert "Jobs and attempts" not in page
    assert page.count("7\u00a0ms</td>") == 3
    assert "1 request</td>" in page
    assert "40 requests</td>" in page
    one = text_of(client.get(f"{address}{numbers[INFERENCE_REQUESTS]}/?resource=endpoint:{uuid4()}"))
    assert "40 requests" not in one
    training = text_of(client.get(f"{address}{numbers[DEVICE_SECONDS]}/"))
    assert "Jobs and attempts" in training
    assert ">training</a>" in training
    batch = text_of(client.get(f"{address}{numbers[BATCH_SECONDS]}/"))
    assert "Batch prediction time" in batch
    assert "10\u00a0s</td>" in batch
    assert "Start (Asia/Kolkata)" in batch
    prices = text_of(client.get(f"/t/{tenant.slug}/prices/"))
    in_force = re.search(r"In force from <time[^>]*>([^<]*)</time>", prices)
    assert in_force
    assert re.search(rf"in force from <time[^>]*>{in_force[1]}</time>, Asia/Kolkata", batch)


def test_an_unknown_resource_is_shown_as_sent(month: tuple[Tenant, UUID]) -> None:
    tenant, _ = month
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        start = now() - timedelta(seconds=9)
        record_usage(
            [
                Interval(
                    key="e",
                    meter=INFERENCE_MS,
                    resource=HOSTILE,
                    project_id=project,
                    start=start,
                    end=start + timedelta(seconds=1),
                    quantity=Decimal(5),
                )
            ]
        )
    answer = client_for(tenant, "finance").get(f"/t/{tenant.slug}/spend/export/groups.csv?group=resource")
    rows = list(csv.reader(io.StringIO(answer.content.decode())))
    assert [row[0] for row in rows if "cmd" in row[0]] == [f"'{HOSTILE}"]
    assert "churn <live>" in {row[0] for row in rows}


def test_sums_over_several_units_have_a_cost_and_no_quantity(month: tuple[Tenant, UUID]) -> None:
    tenant, _ = month
    with tenant_scope(tenant.id):
        (everything,) = queries.spend(queries.span())
        assert (everything.quantity, everything.measured, everything.unit) == (None, None, "")
        by_meter = {
            row.keys["meter"]: (row.unit, row.quantity) for row in queries.spend(queries.span(), group_by=["meter"])
        }
        assert by_meter[INFERENCE_REQUESTS] == ("request", 44)
        assert by_meter[DEVICE_SECONDS] == ("second", 20)
        with CaptureQueriesContext(connection) as asked:
            to_date = queries.month_to_date()
        raw = UsageEvent.objects.aggregate(amount=Sum("amount"))["amount"]
        assert (to_date.quantity, to_date.cost.amount, len(asked)) == (30, raw, 1)
        page = datasets.spend_page({})
        assert page.totals.billable_s == 30
        assert page.totals.amount == everything.cost.amount
        assert [(row.quantity, row.unit) for row in page.groups] == [(None, "")]
        assert {row.label for row in datasets.spend_page({"group": "meter"}).groups} >= {
            "Device time",
            "Requests answered",
        }
        assert {row.label for row in datasets.spend_page({"group": "resource"}).groups} >= {"churn <live>", "training"}
        assert "Without a job" in {row.label for row in datasets.spend_page({"group": "job"}).groups}
        for group, named in (("project", {"Default"}), ("job", {"training", "Without a job"})):
            chart = datasets.spend_page({"group": group}).daily
            assert set(chart.series) == named, "the chart follows the grouping"
            assert sum(sum(values) for values in chart.series.values()) == everything.cost.amount
        chart = datasets.spend_page({"group": "meter"}).daily
        assert "Device time" in chart.series


def test_last_month_is_seen_against_last_months_budget(month: tuple[Tenant, UUID], demo_clock: "DemoClock") -> None:
    tenant, _ = month
    with tenant_scope(tenant.id):
        spent = datasets.spend_page({}).totals.amount
        assert spent > 0
        demo_clock.advance(timedelta(days=40))
        before = datasets.spend_page({"range": "last-month"})
        assert before.month is not None
        assert [row.period for row in before.budgets] == [before.month]
        assert datasets.spend_page({}).budgets[0].period == (before.month + timedelta(days=32)).replace(day=1)


def test_names_are_looked_up_once_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[UUID]] = []

    def namer(ids: object) -> dict[UUID, str]:
        asked.append(set(ids))  # type: ignore[call-overload]
        return dict.fromkeys(asked[-1], "x")

    monkeypatch.setattr(resource_names, "_kinds", {})
    resource_names.register(namer, "thing")
    many = [f"thing:{uuid4()}" for _ in range(30)]
    assert resource_names.resource_names([*many, "thing:1", "other:2", "", "a:b:c"]) == dict.fromkeys(many, "x")
    assert len(asked) == 1
    assert resource_names.page_of(many[0], "slug") == ""
    assert resource_names.record_noun_of([*many, "other"]) == "Events"


def test_units_are_written_as_people_write_them() -> None:
    assert quantity_text(Decimal("1204.5"), "second") == "1,204.5\u00a0s"
    assert quantity_text(Decimal("1.000000"), "request") == "1\u00a0request"
    assert quantity_text(2, "GiB") == "2\u00a0GiB"
    assert quantity_text(Decimal("0.000654"), "GiB") == "0.000654\u00a0GiB"
    assert quantity_text(Decimal(0), "GiB") == "0\u00a0GiB"
    assert quantity_text(None, "") == "\u2013"
    assert unit_text("address") == "address"
    assert [took_text(timedelta(milliseconds=n)) for n in (0.25, 7, 1500)] == [
        "0.25\u00a0ms",
        "7\u00a0ms",
        "1.5\u00a0s",
    ]
