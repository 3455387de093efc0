"""What tests of exports share: a month with everything that an invoice states, and requests for its file."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.test import Client

from billing import queries
from billing.invoices import crediting
from billing.invoices.crediting import Part
from billing.metering.metering import record_usage, waive_usage
from billing.models import InvoiceLine
from billing.money import Money
from billing.queries.invoices import InvoiceView
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant
from tests.integration.billing.invoicing import scene
from tests.support import factories, selling
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

ZONE = "Europe/Berlin"
TERMS: dict[str, Any] = {
    "models": [
        {
            "key": "bulk", "meter": "device_seconds", "dims": {"device_class": "cpu"}, "model": "graduated",
            "tiers": [{"up_to": "50000", "unit_amount": "0.00005"}, {"up_to": None, "unit_amount": "0.00002"}],
        }
    ],
    "savings_plans": [{"key": "yearly", "per": "month", "amount": "2.00", "percent": "20", "meters": ["batch_seconds"]}],
    "commitments": [{"key": "least", "amount": "9.00"}],
    "discounts": [{"key": "friend", "percent": "10"}],
}  # fmt: skip
BATCH = {"device_class": "cpu", "tier": "on_demand", "tag:team": "ops"}
Rows = list[dict[str, str]]


def month(demo_clock: DemoClock, *, name: str = "Vision") -> Tenant:
    """Return a tenant whose March has jobs with tags, a waiver, two meters, list prices and terms with 19 % tax, in April."""
    demo_clock.move_to(scene.IN_MARCH - timedelta(days=40))
    tenant = factories.make_tenant(timezone=ZONE, contract=False)
    selling.open_contract(tenant, terms=TERMS, tax_rate=Decimal(19))
    with tenant_scope(tenant.id):
        default = Project.objects.get(slug="default").pk
        Project.objects.filter(pk=default).update(name=name)
        selling.publish(
            prices=[
                selling.NewPrice("device_seconds", {"device_class": "cpu"}, Decimal("0.00005"), Decimal("0.00008")),
                selling.NewPrice("device_seconds", {"device_class": "cpu", "tier": "spot"}, Decimal("0.00002")),
                selling.NewPrice("batch_seconds", {}, Decimal("0.0003")),
            ],
            effective_at=now() + timedelta(minutes=10),
        )
    demo_clock.move_to(scene.IN_MARCH)
    lab = factories.make_project(tenant).pk
    failed, tagged = uuid4(), {**DIMS, "tag:team": "vision", "tag:ticket": 'A-7, "urgent"'}
    with tenant_scope(tenant.id):
        at = scene.IN_MARCH
        for days, project, seconds, dims in (
            (9, default, 33_333, tagged),
            (8, default, 41_111, DIMS),
            (3, lab, 7, tagged),
        ):
            job = uuid4()
            record_usage(
                [interval(project, at - timedelta(days=days), seconds, job_id=job, resource=f"job:{job}", dims=dims)]
            )
        record_usage([interval(lab, at - timedelta(days=2), 9_001, meter="batch_seconds", dims=BATCH)])
        record_usage([interval(lab, at - timedelta(hours=4), 999, attempt_id=failed)])
        waive_usage(failed, reason="the node failed")
    demo_clock.move_to(scene.IN_APRIL)
    return tenant


def closed(demo_clock: DemoClock, **more: Any) -> tuple[Tenant, UUID]:
    """Return such a tenant with the invoice of March finalised."""
    scene.name_the_seller()
    tenant = month(demo_clock, **more)
    scene.finalise(tenant)
    return tenant, scene.draft_of(tenant)


def late(tenant: Tenant) -> None:
    """Report usage of March in April, when March is closed."""
    with tenant_scope(tenant.id):
        default = Project.objects.get(slug="default").pk
        record_usage([interval(default, scene.IN_MARCH - timedelta(days=1), 1_234)])


def credited(tenant: Tenant, invoice: UUID, amount: str) -> UUID:
    """Credit an amount of the invoice's first line; return the credit note."""
    with tenant_scope(tenant.id):
        line = InvoiceLine.objects.filter(invoice=invoice).order_by("n").values_list("id", flat=True)[0]
    with selling.role("exchequer_operator"):
        return crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, parts=[Part(line, Decimal(amount))],
            reason="a node failed",
        )  # fmt: skip


def take(tenant: Tenant, query: str, **more: Any) -> Any:
    """Request an export with a key of its tenant."""
    key = factories.make_api_key(tenant)
    return Client().get(f"/api/v1/exports/focus/?{query}", headers={"Authorization": f"Bearer {key}"}, **more)


def text_of(answer: Any) -> str:
    """Return the text of an export."""
    assert answer.status_code == 200, answer.content
    return str(answer.getvalue().decode())


def rows_of(answer: Any) -> Rows:
    """Return the rows of an export by the names of its columns."""
    return list(csv.DictReader(io.StringIO(text_of(answer))))


def total(rows: Rows, column: str = "BilledCost") -> Money:
    """Return the sum of a column."""
    return sum((Money(Decimal(row[column]), "EUR") for row in rows), Money.zero("EUR"))


def view(tenant: Tenant, invoice: UUID) -> InvoiceView:
    """Return an invoice."""
    with tenant_scope(tenant.id):
        return queries.invoice(invoice)
