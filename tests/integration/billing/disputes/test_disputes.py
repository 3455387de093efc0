"""Disputes: both sides write on one page, the seller answers, and a credit note follows where it agreed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from billing import queries, tasks
from billing.models import CreditNote, Dispute
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Notification, PlatformEvent, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import draft_of, issued, used
from tests.integration.billing.invoicing.test_console_pages import shown, words
from tests.support import selling

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
WHY = "We used the node for half of that time only."


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def line_of(tenant: Tenant, invoice: UUID) -> str:
    with tenant_scope(tenant.id):
        return str(queries.invoice_lines(invoice)[0].id)


def dispute(client: Any, tenant: Tenant, invoice: UUID, reason: str = WHY) -> Any:
    body = {"line": line_of(tenant, invoice), "reason": reason}
    return client.post(f"/api/v1/invoices/{invoice}/dispute/", body, content_type="application/json")


def post(browser: Any, path: str, **body: str) -> Any:
    return browser.post(f"/api/operator/v1/{path}", body, content_type="application/json")


def test_a_dispute_of_a_finalised_invoice_leads_to_a_credit_note_on_its_line(
    demo_clock: DemoClock, finance: Any
) -> None:
    tenant, invoice = issued(demo_clock, 40_000, 20_000, tax="19")
    theirs = client_for(tenant, "finance")
    opened = dispute(theirs, tenant, invoice)
    assert opened.status_code == 201, opened.content
    made = opened.json()["dispute"]["id"]
    assert (opened.json()["dispute"]["state"], opened.json()["messages"][0]["text"]) == ("open", WHY)
    again = dispute(theirs, tenant, invoice)
    assert (again.status_code, again.json()["code"]) == (409, "already_disputed")
    listed = finance.get("/api/operator/v1/disputes/?state=open").json()["results"]
    assert [(row["tenant"]["slug"], row["line_number"]) for row in listed] == [(tenant.slug, 1)]
    assert "disputed" in words(finance.get("/invoices/"))
    assert "Disputes of invoices that wait for an answer" in words(finance.get("/"))
    assert tenant.name in words(finance.get("/disputes/"))
    page = f"/disputes/{made}/"
    assert WHY in words(finance.get(page))
    assert finance.post(page, {"text": "Which half?"}).status_code == 302
    assert "Which half?" in theirs.get(f"/t/{tenant.slug}{page}").content.decode()
    assert theirs.post(f"/t/{tenant.slug}{page}", {"text": "The second one."}).status_code == 302
    assert finance.post(page, {"text": "You are right.", "outcome": "agreed"}).status_code == 302
    text = words(finance.get(page))
    assert "Agreed" in text
    assert "Issue a credit note on this line" in text
    form = f"/invoices/{invoice}/credit-notes/new/?dispute={made}"
    prefilled = finance.get(form).content.decode()
    assert 'name="line_1" value="2.00' in prefilled or 'value="2.00' in prefilled
    credit = {
        "line_1": "1.00",
        "paid_back": "refund",
        "reason": "Dispute of line 1: agreed",
        "shown": shown(finance, form),
    }
    assert finance.post(f"/invoices/{invoice}/credit-notes/new/", credit).status_code == 302
    with tenant_scope(tenant.id):
        note = CreditNote.objects.get()
        assert (note.subtotal, note.tax) == (Decimal(1), Decimal("0.19"))
        actions = AuditEntry.objects.filter(action__startswith="billing.dispute").order_by("seq")
        assert [one.action.rpartition(".")[2] for one in actions] == ["opened", "written", "written", "ended"]
    late = finance.post(page, {"text": "One more thing."})
    assert (late.status_code, "has ended" in words(late)) == (422, True)
    assert finance.get("/api/operator/v1/disputes/?state=open").json()["results"] == []


def test_a_draft_is_disputed_declined_and_disputed_again(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 40_000)
    invoice = draft_of(tenant)
    theirs = client_for(tenant, "owner")
    form = f"/t/{tenant.slug}/invoices/{invoice}/dispute/"
    assert "1. A project: Device time, €2.00" in theirs.get(form).content.decode()
    answer = theirs.post(form, {"line": line_of(tenant, invoice), "reason": WHY})
    assert answer.status_code == 302
    made = answer["Location"].rstrip("/").rpartition("/")[2]
    assert "Disputes" in theirs.get(f"/t/{tenant.slug}/invoices/{invoice}/").content.decode()
    assert (
        post(finance, f"disputes/{made}/answer/", text="It ran as long.", outcome="declined").json()["dispute"]["state"]
        == "declined"
    )
    assert dispute(theirs, tenant, invoice).status_code == 201
    second = theirs.get("/api/v1/disputes/").json()["results"][0]["id"]
    withdrawn = theirs.post(f"/api/v1/disputes/{second}/withdraw/", {}, content_type="application/json")
    assert withdrawn.json()["dispute"]["state"] == "withdrawn"
    gone = post(finance, f"disputes/{second}/messages/", text="Are you sure?")
    assert (gone.status_code, gone.json()["code"]) == (409, "dispute_ended")


def test_what_cannot_be_disputed_is_refused(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 40_000)
    invoice = draft_of(tenant)
    theirs = client_for(tenant, "finance")
    path = f"/api/v1/invoices/{invoice}/dispute/"
    for body, field in (
        ({"line": str(uuid4()), "reason": WHY}, "line"),
        ({"line": line_of(tenant, invoice), "reason": " no "}, "reason"),
        ({"line": "1", "reason": WHY}, "line"),
    ):
        answer = theirs.post(path, body, content_type="application/json")
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])
    assert dispute(client_for(tenant, "auditor"), tenant, invoice).status_code == 403
    other = used(demo_clock, 60)
    made = dispute(theirs, tenant, invoice).json()["dispute"]["id"]
    assert client_for(other, "owner").get(f"/api/v1/disputes/{made}/").status_code == 404
    assert finance.get(f"/disputes/{uuid4()}/").status_code == 404
    refused = post(finance, f"disputes/{made}/answer/", text="fine", outcome="maybe")
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["outcome"])


@pytest.mark.django_db(transaction=True)
def test_each_side_is_notified_and_webhooks_get_no_texts(demo_clock: DemoClock, as_control: Role, finance: Any) -> None:
    tenant = used(demo_clock, 40_000)
    theirs = client_for(tenant, "finance")
    made = dispute(theirs, tenant, draft_of(tenant)).json()["dispute"]["id"]
    with as_control():
        outbox.drain(tenant.id)
        event = PlatformEvent.objects.get(type="invoice.disputed")
        assert (event.path, event.about) == (f"disputes/{made}/", tenant.id)
        assert WHY not in json.dumps(event.data)
    post(finance, f"disputes/{made}/answer/", text="You are right.", outcome="agreed")
    with as_control():
        outbox.drain(tenant.id)
    with tenant_scope(tenant.id):
        raised = set(Notification.objects.filter(kind="dispute").values_list("title", "path"))
        assert raised == {("The seller agrees to your dispute of line 1", f"disputes/{made}/")}


def test_neither_side_writes_what_is_the_other_s_by_raw_sql(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 40_000)
    dispute(client_for(tenant, "finance"), tenant, draft_of(tenant))
    for role, change in (
        ("exchequer_app", "UPDATE billing_dispute SET state = 'agreed', ended_at = exchequer_now()"),
        ("exchequer_operator", "UPDATE billing_dispute SET state = 'withdrawn', ended_at = exchequer_now()"),
        ("exchequer_app", "UPDATE billing_disputemessage SET text = 'other'"),
        ("exchequer_operator", "DELETE FROM billing_disputemessage"),
        ("exchequer_app", "UPDATE billing_dispute SET line_n = 2"),
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), selling.role(role), tenant_scope(tenant.id):
            connection.cursor().execute(change)
    with tenant_scope(tenant.id):
        assert Dispute.objects.get().state == "open"


def test_the_page_of_the_month_shows_disputes_and_grace(demo_clock: DemoClock, as_control: Role, finance: Any) -> None:
    tenant = used(demo_clock, 40_000, grace_days=9)
    dispute(client_for(tenant, "finance"), tenant, draft_of(tenant))
    post(finance, "periods/2027-03/run/")
    with as_control():
        tasks.run_periods()
    (row,) = finance.get("/api/operator/v1/periods/2027-03/").json()["results"]
    assert (row["disputes"], row["grace_ends"]) == (1, "2027-04-10T00:00:00Z")
    text = words(finance.get("/invoices/months/2027-03/"))
    assert "1 open dispute" in text
    assert "Late usage is awaited until" in text
