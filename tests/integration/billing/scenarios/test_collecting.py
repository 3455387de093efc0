"""Money from the finalised invoice to the bank and back: reminders until it is paid, and a refund that the bank refuses first."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from billing.invoices.crediting import Part
from billing.mailing.reminding import remind_all
from billing.models import InvoiceLine, Reminder
from tenants.isolation.scoping import tenant_scope
from tests.fakes.stripe import stripe_server
from tests.integration.billing.collecting.till import Till, credit
from tests.integration.billing.invoicing.scene import IN_APRIL, draft_of, finalise, name_the_seller, used
from tests.integration.billing.mailing.post import BILLING, deliver
from tests.support import factories, selling
from tests.support.servers.smtp import MailServer, mail_server

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(settings: Settings, demo_clock: DemoClock) -> Iterator[Till]:
    """An installation that collects through the stand-in."""
    with stripe_server(IN_APRIL) as fake:
        yield Till(fake, settings, demo_clock)


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    """A mail server that the product uses."""
    from pathlib import Path

    from config.mail import mail_settings

    with mail_server() as running:
        for name, value in mail_settings(running.url, Path()).items():
            setattr(settings, name, value)
        yield running


def test_dunning_to_paid(till: Till, server: MailServer, seller: Any) -> None:
    """The invoice is sent and reminded of twice; then the payer pays at the provider, and no further reminder follows."""
    name_the_seller()
    page = {"name": "Compute GmbH", "address": "1 Main Street", "reason": "as agreed"}
    page |= {"dunning": "3 remind, 10 remind, 20 final", "sends_invoices": "on"}
    console = seller("platform_finance")
    console.prove(factories.PASSWORD)
    assert console.post("/invoices/seller/", page).status_code == 302
    tenant = used(till.demo_clock, 60_000, billing_email=BILLING, tax_rate=Decimal(19))
    finalise(tenant)
    invoice = draft_of(tenant)
    till.sweep(tenant)
    for day in range(60):
        till.advance(days=1)
        with selling.role("exchequer_control"):
            remind_all()
        deliver(tenant)
        till.sweep(tenant)
        if day == 41:  # the twelfth day after the due day
            assert till.seen(tenant, invoice).status == "past_due"
            assert till.pay_at(till.url(tenant, invoice)) == 303
            till.deliver()
    view = till.seen(tenant, invoice)
    assert (view.state, view.due.minor, view.paid and view.paid.minor) == ("paid", 0, 357)
    sent = [email["Subject"].partition(":")[0] for email in server.taken if email["To"] == BILLING]
    assert sent == ["Invoice INV-000001 from Compute GmbH", "Reminder", "Reminder"]
    with tenant_scope(tenant.id):
        assert list(Reminder.objects.order_by("days").values_list("days", flat=True)) == [3, 10]
    assert till.payments(tenant) == [("payment", "stripe", Decimal("3.57"))]


def test_refund_by_the_gateway(till: Till, seller: Any) -> None:
    """A line is credited after the payment; the bank refuses the refund once, then the money is back, and the rest follows."""
    tenant, invoice = till.finalised(60_000, 30_000, tax="19")
    till.sweep(tenant)
    till.pay_at(till.url(tenant, invoice))
    till.settle(tenant, sweeps=2)
    with tenant_scope(tenant.id):
        first = InvoiceLine.objects.filter(invoice=invoice).order_by("n").values_list("id", flat=True)[0]
    credit(tenant, invoice, Part(first, Decimal("1.00")))
    till.settle(tenant, sweeps=2)
    (refund,) = till.fake.store.all("refund")
    assert refund["amount"] == 119
    refund["status"] = "failed"
    charge = till.fake.store.get("charge", refund["charge"])
    charge.update(amount_refunded=0, refunded=False)
    till.fake.events.add("refund.failed", refund)
    till.settle(tenant, sweeps=2)
    console = seller("platform_finance")
    assert "The payment provider could not return the money" in console.get(f"/invoices/{invoice}/").content.decode()
    assert console.post(f"/api/operator/v1/invoices/{invoice}/collect/").status_code == 204
    credit(tenant, invoice)
    till.settle(tenant, sweeps=3)
    good = [one["amount"] for one in till.fake.store.all("refund") if one["status"] == "succeeded"]
    assert good == [119, 417]
    view = till.seen(tenant, invoice)
    assert (view.state, view.due.minor, view.credited) == ("paid", 0, view.total)
    assert {state for _, state in till.steps(tenant)} == {"done"}
