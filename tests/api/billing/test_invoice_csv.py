"""The CSV of an invoice: it recomputes to the total, executes nothing, and costs no memory; and the seller's files."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from billing import queries
from billing.budgets import holds
from billing.documents import intervals, rows
from billing.metering.metering import record_usage, waive_usage
from billing.money import Money
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct, Project
from tests.api.billing.documents import billed, listed, pages, take, total, used
from tests.integration.billing.invoicing import scene
from tests.support import factories, selling
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
CENT = Decimal("0.01")
CONSOLE = "/api/operator/v1/invoices/"


def test_b18_the_csv_recomputes_to_the_total_from_its_intervals(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PORTION", 3)
    monkeypatch.setattr(intervals, "SERIES_AT_ONCE", 2)
    tenant, march = billed(demo_clock, 60_000, 3_333, 7_777, tax_rate=19)
    actor = factories.actor_for(tenant)
    job, attempt, failed = uuid4(), uuid4(), uuid4()
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default").pk
        at = scene.IN_APRIL - timedelta(hours=6)
        record_usage([interval(project, scene.IN_MARCH, 5_001, job_id=job, attempt_id=attempt)])
        held = holds.hold(project_id=project, subject=f"job:{job}", amount=Money(Decimal(9), "EUR"), actor=actor)
        record_usage([interval(project, at, 1_111, job_id=job, attempt_id=attempt)], hold_id=held)
        record_usage([interval(project, at, 999, job_id=job, attempt_id=failed)])
        waive_usage(failed, reason="the node failed")
        april = scene.draft_of(tenant, scene.APRIL)
        views = {invoice: queries.invoice(invoice) for invoice in (march, april)}
    for invoice, view in views.items():
        found = listed(take(tenant, f"{invoice}/csv/?intervals=1"))
        lines = [row for row in found if row["row"] == "line"]
        parts = [row for row in found if row["row"] == "interval"]
        assert len(lines) == view.line_count > 0
        assert len({row["interval_id"] for row in parts}) == len(parts) > 3
        for line in lines:
            of_line = [row for row in parts if row["line_id"] == line["line_id"]]
            exact = total(of_line, "exact_amount")
            assert exact == Decimal(line["exact_amount"])
            assert exact.quantize(CENT, ROUND_HALF_EVEN) == Decimal(line["amount"])
            assert total(of_line, "quantity") == Decimal(line["quantity"])
            assert total(of_line, "list_amount") == Decimal(line["list_amount"])
        assert total(lines, "amount") + total(lines, "tax") == view.total.amount
        assert total(lines, "amount") == view.subtotal.amount
    assert {(row["job_id"], row["attempt_id"]) for row in parts} == {(str(job), str(attempt)), (str(job), str(failed))}
    assert {row["kind"] for row in parts} == {"usage", "waiver"}
    assert {row["actor_id"] for row in parts} == {str(actor.id), ""}
    assert {row["origin"] for row in lines} == {"", "2027-03-01"}
    short = listed(take(tenant, f"{april}/csv/"))
    assert [row["line_id"] for row in short] == [row["line_id"] for row in lines]
    assert "interval_id" not in short[0]
    with tenant_scope(tenant.id):
        taken = AuditEntry.objects.filter(action="billing.document.downloaded").order_by("seq")
        names = [entry.target_label for entry in taken]
    assert names == ["INV-000001-intervals.csv", "draft-2027-04-intervals.csv", "draft-2027-04.csv"]


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", '"quoted",and\ncut'])
def test_p4_no_cell_is_a_formula(demo_clock: DemoClock, name: str) -> None:
    tenant = used(demo_clock, 60, name=name)
    answer = take(tenant, f"{scene.draft_of(tenant)}/csv/?intervals=1")
    first, *_ = listed(answer)
    assert first["project"] == (f"'{name}" if name.startswith(("=", "+", "-", "@")) else name)
    assert Decimal(first["amount"]) == Decimal("0.03")
    assert answer["Content-Disposition"] == 'attachment; filename="draft-2027-03-intervals.csv"'
    assert (answer["Cache-Control"], answer["X-Content-Type-Options"]) == ("private, no-store", "nosniff")


@pytest.mark.parametrize("query", ["intervals=2", "intervals=yes", "interval=1", "format=pdf", "limit=1"])
def test_other_parameters_are_refused(demo_clock: DemoClock, query: str) -> None:
    tenant = used(demo_clock, 60)
    invoice = scene.draft_of(tenant)
    assert take(tenant, f"{invoice}/csv/?{query}").status_code == 400
    assert take(tenant, f"{invoice}/pdf/?{query}").status_code == 400


def test_another_organisation_gets_no_file(demo_clock: DemoClock) -> None:
    tenant, invoice = billed(demo_clock, 60)
    theirs = factories.make_tenant()
    for path in ("pdf/", "csv/", "csv/?intervals=1", f"credit-notes/{uuid4()}/pdf/"):
        assert take(theirs, f"{invoice}/{path}").status_code == 404
    assert take(tenant, f"{invoice}/csv/").status_code == 200


def test_the_memory_of_a_csv_does_not_grow_with_its_intervals(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PORTION", 20)
    peaks, counts = [], []
    for seconds in (40_000, 80_000):
        tenant = used(demo_clock, seconds)
        with tenant_scope(tenant.id):
            view, lines = queries.invoices(period=scene.MARCH)[0], []
            lines = queries.invoice_lines(view.id or uuid4())
        tracemalloc.start()
        counts.append(sum(1 for _ in rows.interval_rows(tenant.id, view, lines)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert counts[1] > 1.8 * counts[0] > 50
    assert peaks[1] < 1.3 * peaks[0] + 20_000


def test_the_seller_takes_an_invoice_without_names_of_projects(demo_clock: DemoClock, seller: Any) -> None:
    tenant, invoice = billed(demo_clock, 60_000, name="Secret plans", tax_rate=19)
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default").pk
    finance = seller("platform_finance")
    pdf = finance.get(f"{CONSOLE}{invoice}/pdf/")
    (text,) = pages(pdf)
    assert "Total €35.70" in text
    assert "Secret" not in text
    assert str(project) in text.replace("\n", "")
    answer = finance.get(f"{CONSOLE}{invoice}/csv/")
    (row,) = listed(answer)
    assert (row["project"], row["project_id"], row["tax"]) == ("", str(project), "5.700000000000")
    for answered, name in ((pdf, "INV-000001.pdf"), (answer, "INV-000001.csv")):
        assert answered["Content-Disposition"] == f'attachment; filename="{name}"'
        assert (answered["Cache-Control"], answered["X-Content-Type-Options"]) == ("private, no-store", "nosniff")
    for wrong in (f"{invoice}/csv/?intervals=1", f"{invoice}/pdf/?tenant=x"):
        assert finance.get(CONSOLE + wrong).status_code == 400
    for missing in (f"{uuid4()}/pdf/", f"{uuid4()}/csv/"):
        assert finance.get(CONSOLE + missing).status_code == 404
    with selling.role("exchequer_operator"):
        acts = OperatorAct.objects.filter(action="billing.document.downloaded").order_by("seq")
        assert [(act.target_id, act.target_label) for act in acts] == [
            (str(invoice), "INV-000001.pdf"),
            (str(invoice), "INV-000001.csv"),
        ]
