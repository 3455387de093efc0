"""What tests of documents share: an organisation with a finalised invoice, and the requests that take its files."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.test import Client

from billing.metering.metering import record_usage
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant
from tests.integration.billing.invoicing import scene
from tests.support import factories, selling
from tests.support.usage import interval

if TYPE_CHECKING:
    from pypdf import PdfReader

    from tests.conftest import DemoClock


def used(demo_clock: DemoClock, *seconds: int, currency: str = "EUR", name: str = "Vision", **terms: Any) -> Tenant:
    """Return a tenant whose project used a device so long in March, when it is April."""
    demo_clock.move_to(scene.IN_MARCH - timedelta(days=40))
    tenant = factories.make_tenant(currency=currency, timezone="Europe/Berlin", contract=False)
    selling.open_contract(tenant, **terms)
    demo_clock.move_to(scene.IN_MARCH)
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default")
        Project.objects.filter(pk=project.pk).update(name=name)
        for number, each in enumerate(seconds):
            record_usage([interval(project.pk, scene.IN_MARCH - timedelta(minutes=number, seconds=each), each)])
    demo_clock.move_to(scene.IN_APRIL)
    return tenant


def billed(demo_clock: DemoClock, *seconds: int, **terms: Any) -> tuple[Tenant, UUID]:
    """Return such a tenant with its finalised invoice of March."""
    scene.name_the_seller()
    tenant = used(demo_clock, *seconds, **terms)
    scene.finalise(tenant)
    return tenant, scene.draft_of(tenant)


def take(tenant: Tenant, path: str, **more: Any) -> Any:
    """Request a file of an invoice with a key of its tenant."""
    key = factories.make_api_key(tenant)
    return Client().get(f"/api/v1/invoices/{path}", headers={"Authorization": f"Bearer {key}"}, **more)


def opened(content: bytes) -> PdfReader:
    """Return a PDF as a reader of it."""
    from pypdf import PdfReader  # here, so that an environment of before can still collect the suite

    return PdfReader(io.BytesIO(content))


def pages(answer: Any) -> list[str]:
    """Return the text of each page of a PDF."""
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf"), answer.content
    return [page.extract_text() for page in opened(answer.content).pages]


def listed(answer: Any) -> list[dict[str, str]]:
    """Return the rows of a CSV by the names of its columns."""
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def total(rows: list[dict[str, str]], column: str) -> Decimal:
    """Return the sum of a column."""
    return sum((Decimal(row[column] or 0) for row in rows), Decimal(0))
