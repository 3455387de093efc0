"""The FOCUS export: it holds its rules, adds up to what is billed, and costs no memory."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from billing.exports import documents, spooled, usage
from billing.exports.documents import Days
from billing.exports.profiles import PROFILES
from billing.metering.metering import record_usage
from billing.money import Money
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.integration.billing.exports.scene import (
    TERMS,
    closed,
    credited,
    late,
    month,
    rows_of,
    take,
    text_of,
    total,
    view,
)
from tests.integration.billing.invoicing import scene
from tests.support import factories
from tests.support.billing import focus_rules
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def test_b60_every_row_holds_the_rules_of_focus(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    credited(tenant, invoice, "0.50")
    text = text_of(take(tenant, "period=2027-03"))
    assert focus_rules.faults(text) == []
    rows = rows_of(take(tenant, "period=2027-03"))
    assert {row["ChargeCategory"] for row in rows} == {"Usage", "Purchase", "Tax", "Adjustment"}
    with tenant_scope(tenant.id):
        dims = {"device_class": "cpu", "tier": "spot"}
        record_usage(
            [interval(factories.default_project_id(tenant), scene.IN_APRIL - timedelta(hours=1), 60, dims=dims)]
        )
    draft = text_of(take(tenant, "period=2027-04"))
    assert focus_rules.faults(draft) == []
    charged = [row for row in [*rows, *csv.DictReader(io.StringIO(draft))] if row["ChargeCategory"] == "Usage"]
    tiers = {
        (json.loads(row["SkuPriceDetails"] or "{}").get("x_tier") == "spot", row["PricingCategory"]) for row in charged
    }
    assert tiers == {(True, "Dynamic"), (False, "Standard")}
    assert {row["PricingCategory"] for row in rows if row["ChargeCategory"] in ("Tax", "Adjustment")} == {""}
    # The check itself finds what is wrong.
    assert focus_rules.faults(text.replace(",Usage,", ",Used,", 1)) != []
    assert focus_rules.faults(text.replace("2027-03-31T22:00:00Z", "2027-03-31T22:00:00", 1)) != []


def test_version_1_4_passes_the_toolkits_checks(demo_clock: DemoClock) -> None:
    from focus_data_toolkit.model import lint_focus_1_4_structure  # here: a development tool

    tenant, invoice = closed(demo_clock)
    credited(tenant, invoice, "0.50")
    rows = rows_of(take(tenant, "period=2027-03&version=1.4"))
    report = lint_focus_1_4_structure("Cost and Usage", rows)
    assert report.ok, report
    assert {"ServiceProviderName", "HostProviderName", "InvoiceDetailId"} <= rows[0].keys()
    assert not {"ProviderName", "PublisherName"} & rows[0].keys()
    # The lines that it leads to: each adds up, once, in one category, to the documents.
    details = rows_of(take(tenant, "period=2027-03&version=invoice-detail"))
    report = lint_focus_1_4_structure("Invoice Detail", details)
    assert report.ok, report
    billed = {row["InvoiceDetailId"]: Decimal(row["BilledCost"]) for row in details}
    assert len(billed) == len(details) > 5
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[row["InvoiceDetailId"]] = sums.get(row["InvoiceDetailId"], Decimal(0)) + Decimal(row["BilledCost"])
        (detail,) = [one for one in details if one["InvoiceDetailId"] == row["InvoiceDetailId"]]
        assert (detail["ChargeCategory"], detail["InvoiceId"]) == (row["ChargeCategory"], row["InvoiceId"])
    assert sums == billed
    stands = view(tenant, invoice)
    assert stands.credited is not None
    assert {row["InvoiceId"]: (row["ReferenceInvoiceId"], row["PaymentTerms"]) for row in details} == {
        "INV-000001": ("INV-000001", "Net 30"), "CN-000001": ("INV-000001", "Net 30"),
    }  # fmt: skip
    assert total(details) == stands.total - stands.credited
    # A draft is not issued.
    assert rows_of(take(tenant, "period=2027-04&version=invoice-detail")) == []


@pytest.mark.parametrize(
    ("version", "meter", "rest"), [("1.2", "batch_seconds", "1.84"), ("1.4", "inference_requests", "4.0")]
)
def test_commitments_and_what_is_unused_of_them_are_rows_of_their_own(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch, version: str, meter: str, rest: str
) -> None:
    plan = {"key": "yearly", "per": "month", "amount": "4.00", "percent": "20", "meters": [meter]}
    monkeypatch.setitem(TERMS, "savings_plans", [plan])
    tenant, invoice = closed(demo_clock)
    credited(tenant, invoice, "0.50")
    rows = rows_of(take(tenant, f"period=2027-03&version={version}"))
    names = ("Id", "Name", "Type", "Category", "Status", "Quantity", "Unit")
    found = {}
    for row in rows:
        if row["CommitmentDiscountId"]:
            found[tuple(row[f"CommitmentDiscount{name}"] for name in names)] = row
    yearly = ("savings_plan/yearly", "yearly", "Savings plan", "Spend")
    fee, unused = (*yearly, "", "4.0", "EUR"), (*yearly, "Unused", "", "")
    least = ("commitment/least", "least", "Commitment", "Spend", "Unused", "", "")
    # A plan that nothing uses pays for nothing, and its fee alone meets the commitment.
    assert found.keys() == {fee, unused} | ({(*yearly, "Used", "", ""), least} if meter == "batch_seconds" else set())
    assert [(found[one]["BilledCost"], found[one]["EffectiveCost"]) for one in (fee, unused)] == [
        ("4.0", "0.0"), ("0.0", rest),
    ]  # fmt: skip
    stands = view(tenant, invoice)
    assert stands.credited is not None
    assert total(rows) == total(rows, "EffectiveCost") == stands.total - stands.credited
    if version == "1.2":
        assert focus_rules.faults(text_of(take(tenant, "period=2027-03"))) == []
    else:
        kinds: dict[str, set[str]] = {}
        for row in rows:
            kinds.setdefault(row["InvoiceDetailId"], set()).add(row["x_LineKind"])
        assert all(len(kind) == 1 for kind in kinds.values()), "what is unused has an id of its own"
        details = rows_of(take(tenant, "period=2027-03&version=invoice-detail"))
        assert {row["InvoiceDetailId"] for row in details} == kinds.keys()


@pytest.mark.parametrize("granularity", ["day", "hour"])
def test_b61_a_month_adds_up_to_its_invoice_at_either_grain(demo_clock: DemoClock, granularity: str) -> None:
    tenant = month(demo_clock)
    invoice = scene.draft_of(tenant)
    draft = view(tenant, invoice)
    rows = rows_of(take(tenant, f"from=2027-03-01&to=2027-04-01&granularity={granularity}"))
    assert total(rows) == draft.total
    assert total(rows, "EffectiveCost") == draft.total
    assert total([row for row in rows if row["ChargeCategory"] == "Tax"]) == draft.tax
    assert {row["InvoiceId"] for row in rows} == {""}
    used = [row for row in rows if row["ChargeCategory"] == "Usage"]
    assert sum(Decimal(row["ConsumedQuantity"]) for row in used) == 33_333 + 41_111 + 7 + 9_001 + 999
    # What is waived ran, and is not charged.
    assert sum(Decimal(row["PricingQuantity"]) for row in used) == 33_333 + 41_111 + 7 + 9_001
    rounding = [row for row in rows if row["x_LineKind"] == "rounding"]
    assert rounding
    assert all(abs(Decimal(row["BilledCost"])) <= Decimal("0.005") for row in rounding)


def test_a_row_has_its_resource_price_project_and_tags(demo_clock: DemoClock) -> None:
    tenant, _ = closed(demo_clock)
    rows = rows_of(take(tenant, "period=2027-03"))
    first = rows[0]
    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"]) == ("2027-03-10T23:00:00Z", "2027-03-11T23:00:00Z")
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == ("2027-02-28T23:00:00Z", "2027-03-31T22:00:00Z")
    assert first["ResourceId"] == f"job:{first['x_JobId']}"
    assert (first["ResourceType"], first["SubAccountName"], first["SubAccountType"]) == ("Job", "Vision", "Project")
    assert json.loads(first["Tags"]) == {"team": "vision", "ticket": 'A-7, "urgent"'}
    assert (first["SkuId"], first["SkuMeter"]) == ("device_seconds/device_class=cpu", "Device time")
    assert Decimal(first["ListCost"]) == Decimal(first["ContractedCost"]) * Decimal("1.6")
    assert first["InvoiceId"] == "INV-000001"
    assert first["InvoiceIssuerName"] == first["ProviderName"] == "Compute GmbH"


def test_late_usage_is_a_correction_in_the_month_that_bills_it(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    before = text_of(take(tenant, "period=2027-03"))
    late(tenant)
    assert text_of(take(tenant, "period=2027-03")) == before
    rows = rows_of(take(tenant, "period=2027-04"))
    corrections = [row for row in rows if row["ChargeClass"] == "Correction" and row["ChargeCategory"] == "Usage"]
    assert [row["ChargePeriodStart"] for row in corrections] == ["2027-03-18T23:00:00Z"]
    assert total(rows) == view(tenant, scene.draft_of(tenant, scene.APRIL)).total
    assert total(rows_of(take(tenant, "period=2027-03"))) == view(tenant, invoice).total


def test_days_of_a_month_have_their_usage_alone(demo_clock: DemoClock) -> None:
    tenant, _ = closed(demo_clock)
    rows = rows_of(take(tenant, "from=2027-03-11&to=2027-03-12"))
    assert [(row["ChargeCategory"], row["ConsumedQuantity"]) for row in rows] == [("Usage", "33333.0")]
    # The month that lies in the range as a whole has all, the one in part its usage.
    both = rows_of(take(tenant, "from=2027-03-01&to=2027-04-02"))
    assert len(both) == len(rows_of(take(tenant, "period=2027-03")))


@pytest.mark.parametrize("version", list(PROFILES))
def test_parquet_has_the_rows_and_types_of_the_csv(demo_clock: DemoClock, version: str) -> None:
    tenant, _ = closed(demo_clock, name="=1+1")
    answer = take(tenant, f"period=2027-03&version={version}&format=parquet")
    assert answer["Content-Type"] == "application/vnd.apache.parquet"
    table = parquet.read_table(io.BytesIO(answer.getvalue()))
    rows = rows_of(take(tenant, f"period=2027-03&version={version}"))
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows)
    cost = "amount" if version == "plain" else "BilledCost"
    assert [Decimal(row[cost]) for row in rows] == table[cost].to_pylist()
    # A spreadsheet would execute the name; Parquet states it as it is.
    if version == "invoice-detail":  # its projects are ids
        return
    project = "project" if version == "plain" else "SubAccountName"
    assert {"=1+1"} <= set(table[project].to_pylist())
    assert {"'=1+1"} <= {row[project] for row in rows}


def test_memory_does_not_grow_with_rows(demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PORTION", 20)
    peaks, counts = [], []
    for jobs in (100, 400):
        tenant = scene.used(demo_clock, 60)
        project = factories.default_project_id(tenant)
        with tenant_scope(tenant.id):
            at = scene.IN_APRIL - timedelta(hours=1)
            record_usage([interval(project, at, 1 + n, resource=f"job:{n}") for n in range(jobs)])
            tracemalloc.start()
            content = spooled.spooled(
                documents.charges(Days(scene.APRIL, scene.APRIL.replace(month=5))), PROFILES["1.2"], guarded=True
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        counts.append(len(content.read().splitlines()))
        content.close()
    assert counts[1] > 3 * counts[0] > 300
    assert peaks[1] < peaks[0] + 128 * 1024


def test_a_download_is_an_entry_and_a_look_at_its_headers_is_none(demo_clock: DemoClock) -> None:
    tenant, _ = closed(demo_clock)
    head = factories.make_api_key(tenant)
    from django.test import Client

    answer = Client().head("/api/v1/exports/focus/?period=2027-03", headers={"Authorization": f"Bearer {head}"})
    assert (answer.status_code, answer["Content-Disposition"]) == (200, 'attachment; filename="focus-1.2-2027-03.csv"')
    take(tenant, "period=2027-03")
    take(tenant, "from=2027-03-02&to=2027-03-05&version=plain&format=parquet")
    with tenant_scope(tenant.id):
        taken = AuditEntry.objects.filter(action="billing.export.downloaded").order_by("seq")
        names = [entry.target_label for entry in taken]
    assert names == ["focus-1.2-2027-03.csv", "charges-2027-03-02-to-2027-03-04.parquet"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("version=1.3", "version"),
        ("format=xlsx", "format"),
        ("granularity=minute", "granularity"),
        ("period=2027", "period"),
        ("period=2027-03&from=2027-03-01", "period"),
        ("from=2027-03-02&to=2027-03-01", "to"),
        ("from=2026-03-01&to=2027-04-01", "to"),
        ("month=2027-03", "month"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(demo_clock: DemoClock, query: str, field: str) -> None:
    tenant = factories.make_tenant()
    answer = take(tenant, query)
    assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


def test_a_range_with_too_many_rows_says_what_to_ask_for(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, _ = closed(demo_clock)
    monkeypatch.setattr(spooled, "MOST_ROWS", 3)
    answer = take(tenant, "period=2027-03")
    assert (answer.status_code, answer.json()["code"]) == (400, "export_too_large")
    with tenant_scope(tenant.id):
        assert not AuditEntry.objects.filter(action="billing.export.downloaded").exists()


def test_another_organisation_exports_its_own(demo_clock: DemoClock) -> None:
    closed(demo_clock)
    assert rows_of(take(factories.make_tenant(), "period=2027-03")) == []


def test_a_month_with_a_credit_note_adds_up_to_both_documents(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    credited(tenant, invoice, "0.50")
    rows = rows_of(take(tenant, "period=2027-03"))
    by_document: dict[str, Money] = {}
    for row in rows:
        cost = Money(Decimal(row["BilledCost"]), "EUR")
        by_document[row["InvoiceId"]] = by_document.get(row["InvoiceId"], Money.zero("EUR")) + cost
    found = view(tenant, invoice)
    assert found.credited is not None
    assert by_document == {"INV-000001": found.total, "CN-000001": -found.credited}
