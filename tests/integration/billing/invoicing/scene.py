"""What tests of invoices share: a seller, a tenant with usage in March, and its invoice finalised in April."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from billing.invoices import finalising, parties
from billing.metering.metering import record_usage
from billing.models import Invoice
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tests.support import selling
from tests.support.factories import make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

MARCH, APRIL = date(2027, 3, 1), date(2027, 4, 1)
IN_MARCH = datetime(2027, 3, 20, 12, tzinfo=UTC)
IN_APRIL = datetime(2027, 4, 2, 12, tzinfo=UTC)
SELLER = parties.Party(
    name="Compute GmbH", address="1 Main Street", country="DE", tax_number="DE136695976", how_to_pay="IBAN DE00"
)


def name_the_seller() -> None:
    """Enter who issues invoices."""
    with selling.role("exchequer_operator"):
        parties.change_seller(operator=selling.SELLER, party=SELLER, reason="the first seller")


def used(demo_clock: DemoClock, *seconds: int, **terms: Any) -> Tenant:
    """Return a tenant with a project for each of these device times in March, when it is April."""
    demo_clock.move_to(IN_MARCH - timedelta(days=40))
    tenant = make_tenant(contract=False)
    selling.open_contract(tenant, **terms)
    demo_clock.move_to(IN_MARCH)
    for number, each in enumerate(seconds or [3600]):
        project = make_project(tenant)
        with tenant_scope(tenant.id):
            record_usage([interval(project.id, IN_MARCH - timedelta(minutes=number, seconds=each), each)])
    demo_clock.move_to(IN_APRIL)
    return tenant


def draft_of(tenant: Tenant, period: date = MARCH) -> UUID:
    """Return the id of a month's invoice that is not void."""
    with tenant_scope(tenant.id):
        return Invoice.objects.exclude(state="void").get(period=period).pk


def finalise(tenant: Tenant, invoice_id: UUID | None = None, operator: Operator = selling.SELLER) -> str:
    """Finalise an invoice, by default that of March, as an operator; return its number."""
    with selling.role("exchequer_operator"):
        return finalising.finalise(operator=operator, tenant_id=tenant.id, invoice_id=invoice_id or draft_of(tenant))


def issued(demo_clock: DemoClock, *seconds: int, tax: str | None = None) -> tuple[Tenant, UUID]:
    """Return a tenant with its finalised invoice of March."""
    name_the_seller()
    tenant = used(demo_clock, *seconds, tax_rate=Decimal(tax) if tax else None)
    finalise(tenant)
    return tenant, draft_of(tenant)
