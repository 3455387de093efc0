"""What the journeys of money share: an organisation with a price book of its own, one host, and jobs that really ran."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from billing.invoices import finalising
from billing.metering.metering import record_usage
from billing.models import Invoice
from billing.pricing import publishing
from billing.reconciling import orders
from billing.runs import running
from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Job
from models_app.models import DatasetVersion
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.browser.world import Builder, Control, set_clock
from tests.support import factories, selling
from tests.support.selling import NewPrice
from tests.support.usage import interval

OWNER, FINANCE, ENGINEER = "olga@lab.example", "fay@lab.example", "emil@lab.example"
#: A second costs 0.03, by the list 0.04: sixty seconds and more are whole cents.
PRICE = NewPrice("device_seconds", {}, Decimal("0.03"), Decimal("0.04"))
NOVEMBER, DECEMBER, JANUARY = date(2026, 11, 1), date(2026, 12, 1), date(2027, 1, 1)
IN_NOVEMBER = datetime(2026, 11, 25, 9, tzinfo=UTC)
IN_DECEMBER = datetime(2026, 12, 15, 9, tzinfo=UTC)
IN_JANUARY = datetime(2027, 1, 2, 9, tzinfo=UTC)


class Lab:
    """The organisation `lab`, its people, and the clock of the journey."""

    def __init__(self, admin: psycopg.Connection, control: Control, **contract: Any) -> None:
        self.admin, self.control = admin, control
        self.builder = Builder(admin, control)
        self.tenant: Tenant = factories.make_tenant("lab", owner=OWNER, contract=False)
        with selling.role("exchequer_operator"):
            self.book = publishing.create_book(
                operator=selling.SELLER, name="Lab prices", currency="EUR", reason="a pilot"
            )
        selling.publish(prices=[PRICE], book_id=self.book.pk)
        selling.open_contract(self.tenant, book=self.book, **contract)
        factories.make_member(self.tenant, "finance", FINANCE)
        factories.make_member(self.tenant, "engineer", ENGINEER)
        self.project: UUID = factories.default_project_id(self.tenant)
        self.owner = self.builder.actor(self.tenant, OWNER)
        self.move_to(IN_NOVEMBER)

    def move_to(self, moment: datetime) -> None:
        """Set the clock."""
        set_clock(self.admin, moment)

    def use(self, seconds: int, start: datetime, **more: Any) -> None:
        """Meter so many seconds of the default project from `start` on."""
        with tenant_scope(self.tenant.id):
            record_usage([interval(self.project, start, seconds, **more)])

    def host(self) -> DatasetVersion:
        """Start a host with two devices, and bring a dataset; return its version."""
        found = [Found(f"cpu-{n}", "cpu", "cpu", f"CPU {n} of host atlas", n, 2**34) for n in range(2)]
        nodes.register(name="atlas", hostname="atlas", boot=self.builder.boot, found=found, missing_layers=[])
        return self.builder.dataset(self.tenant, "breast-cancer", "breast_cancer")

    def submit(self, name: str, data: DatasetVersion) -> Job:
        """Launch a job."""
        return self.builder.submit(self.owner, name, self.project, data, "tabular.classifier")

    def run(self, name: str, seconds: int) -> Job:
        """Run a job for so many seconds of the clock, a multiple of twenty, as a node does."""
        job = self.submit(name, self.host())
        self.builder.train(job, seconds)
        return job

    def work(self) -> None:
        """Carry out ordered runs and comparisons and deliver what waits in the outbox, as the ops worker does."""
        with self.control():
            running.carry_out()
            orders.carry_out()
            outbox.drain(self.tenant.id)

    def invoice(self, period: date) -> UUID:
        """Return the id of a month's invoice."""
        with tenant_scope(self.tenant.id):
            return Invoice.objects.get(period=period).pk

    def finalise(self, period: date) -> str:
        """Finalise a month's invoice; return its number."""
        given = {"tenant_id": self.tenant.id, "invoice_id": self.invoice(period)}
        with selling.role("exchequer_operator"):
            return finalising.finalise(operator=selling.SELLER, **given, early="agreed with them")
