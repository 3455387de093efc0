"""Emails of invoices through a real mail server: sent once with the PDF, refused and sent again, ordered by the console."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing.models import Invoice, Seller
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, PlatformEvent, Tenant
from tests.integration.billing.collecting.till import void
from tests.integration.billing.invoicing.scene import draft_of, finalise, issued, name_the_seller, used
from tests.integration.billing.mailing.post import BILLING, deliver
from tests.support import factories, selling
from tests.support.servers.smtp import MailServer

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def to_billing(demo_clock: DemoClock) -> tuple[Tenant, UUID]:
    """Return a tenant whose contract names a billing address, with its finalised invoice."""
    name_the_seller()
    tenant = used(demo_clock, 60_000, billing_email=BILLING)
    finalise(tenant)
    return tenant, draft_of(tenant)


def sent_at(tenant: Tenant, invoice: UUID) -> Any:
    with tenant_scope(tenant.id):
        return Invoice.objects.get(pk=invoice).sent_at


def test_a_finalised_invoice_is_sent_once_with_its_pdf_although_the_server_refuses_first(
    demo_clock: DemoClock, server: MailServer
) -> None:
    tenant, invoice = to_billing(demo_clock)
    server.refusals = {"RCPT": ["451 later"], "DATA": ["451 later"]}
    assert deliver(tenant) == 1
    assert sent_at(tenant, invoice) is None
    assert deliver(tenant) == 1
    assert deliver(tenant) == 0
    assert deliver(tenant) == 0
    (email,) = server.taken
    assert (email["To"], email["Subject"]) == (BILLING, "Invoice INV-000001 from Compute GmbH")
    text = email.get_body().get_content()  # type: ignore[union-attr]
    for words in ("€3.00", "2 May 2027", f"/t/{tenant.slug}/invoices/{invoice}/", "IBAN DE00"):
        assert words in text
    (attached,) = email.iter_attachments()
    assert attached.get_filename() == "INV-000001.pdf"
    assert attached.get_content().startswith(b"%PDF")
    assert sent_at(tenant, invoice) is not None
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="billing.invoice.sent").count() == 1


def test_without_a_billing_address_it_goes_to_those_who_manage_invoices(
    demo_clock: DemoClock, server: MailServer
) -> None:
    tenant, _ = issued(demo_clock, 60_000)
    people = [factories.make_member(tenant, role).email for role in ("finance", "viewer")]
    deliver(tenant)
    told = {email["To"] for email in server.taken}
    assert people[0] in told
    assert people[1] not in told


def test_the_seller_may_send_by_hand_alone(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    with selling.role("exchequer_operator"):
        Seller.objects.update(sends_invoices=False)
    tenant = used(demo_clock, 60_000, billing_email=BILLING)
    console = seller("platform_finance")
    page = {"name": "Compute GmbH", "address": "1 Main Street", "reason": "by hand"}
    console.prove(factories.PASSWORD)
    assert console.post("/invoices/seller/", page).status_code == 302
    finalise(tenant)
    deliver(tenant)
    assert server.taken == []
    invoice = draft_of(tenant)
    assert console.post(f"/invoices/{invoice}/send/").status_code == 302
    deliver(tenant)
    assert [email["To"] for email in server.taken] == [BILLING]
    assert "Send by email again" in console.get(f"/invoices/{invoice}/").content.decode()


def test_the_console_sends_one_or_many_again(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    tenant, invoice = to_billing(demo_clock)
    other, second = to_billing(demo_clock)
    deliver(tenant, other)
    console = seller("platform_finance")
    chosen = {"act": "send", "invoice": [str(invoice), str(second)]}
    assert console.post("/invoices/", chosen).status_code == 302
    assert console.post(f"/api/operator/v1/invoices/{invoice}/send/").status_code == 202
    deliver(tenant, other)
    assert len(server.taken) == 5
    assert len({email["Message-ID"] for email in server.taken}) == 5
    demo_clock.advance(timedelta(minutes=5))
    void(tenant, invoice)
    happened = console.get(f"/invoices/{invoice}/").content.decode().partition("What happened")[2]
    assert happened.index("Invoice sent") < happened.index("Invoice voided"), "in the order of time"
    refused = console.post(f"/api/operator/v1/invoices/{invoice}/send/")
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_sendable")


def test_an_address_that_refuses_for_good_is_a_platform_event(demo_clock: DemoClock, server: MailServer) -> None:
    tenant, invoice = to_billing(demo_clock)
    server.refusals = {"RCPT": ["550 nobody of that name"]}
    assert deliver(tenant) == 0
    assert server.taken == []
    assert sent_at(tenant, invoice) is None
    with selling.role("exchequer_operator"):
        assert PlatformEvent.objects.filter(type="invoice.mail_refused", about=tenant.id).count() == 1
