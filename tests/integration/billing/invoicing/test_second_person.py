"""A second operator approves what is done to invoices, from the amounts that the seller sets."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing.metering.metering import record_usage
from billing.models import CreditNote, Invoice, InvoiceLine
from billing.runs import running
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, AuditEntry, OperatorAct, OutboxMessage, Project, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import IN_MARCH, draft_of, name_the_seller, used
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
SELLER = {"name": "Compute GmbH", "address": "1 Main Street", "reason": "as agreed"}
API = "/api/operator/v1/"


class Desk:
    """Two operators who manage invoices, and one who reads."""

    def __init__(self, seller: Any) -> None:
        name_the_seller()
        self.ann, self.bob = seller("platform_finance"), seller("platform_finance", "platform_admin")
        self.support = seller("platform_support")
        page = SELLER | {"second_person": "on", "second_person_from": "2 EUR, 150000 JPY"}
        self.ann.prove(factories.PASSWORD)
        assert self.ann.post("/invoices/seller/", page).status_code == 302

    def post(self, who: Any, path: str, body: dict[str, Any] | None = None) -> Any:
        return who.post(f"{API}{path}", body or {}, content_type="application/json")

    def answer(self, who: Any, approval: str, what: str = "approve") -> Any:
        return who.post(f"/approvals/{approval}/answer/", {"answer": what, "reason": "looked at it"})


@pytest.fixture
def desk(seller: Any) -> Desk:
    return Desk(seller)


def state(tenant: Tenant, invoice: UUID) -> tuple[str, str, Decimal]:
    with tenant_scope(tenant.id):
        row = Invoice.objects.get(pk=invoice)
        return row.state, row.finalised_by, row.credited


def test_another_operator_lets_an_invoice_be_finalised(demo_clock: DemoClock, desk: Desk) -> None:
    tenant = used(demo_clock, 60_000)
    invoice = draft_of(tenant)
    desk.ann.post("/invoices/months/2027-03/")
    with selling.role("exchequer_control"):
        running.carry_out()
    assert "Waits for a second operator" not in text_of(desk.bob.get("/invoices/months/2027-03/"))

    asked = desk.ann.post(f"/invoices/{invoice}/finalise/")
    assert asked.status_code == 302
    assert "Another operator must approve this." in text_of(desk.ann.get(asked["Location"]))
    with tenant_scope(tenant.id):
        (row,) = Approval.objects.all()
    approval = str(row.id)
    again = desk.post(desk.bob, f"invoices/{invoice}/finalise/")
    assert (again.status_code, again.json()) == (202, {"approval": approval}), "one request, of either"
    assert state(tenant, invoice)[0] == "draft"
    said = f"Finalise March 2027 of {tenant.name}, €3.00."
    month = text_of(desk.bob.get("/invoices/months/2027-03/"))
    assert "Waits for a second operator" in month and said in month
    for page in (f"/invoices/{invoice}/", "/approvals/"):
        assert said in text_of(desk.bob.get(page))
    assert "Requests that wait for an answer" in text_of(desk.bob.get("/"))

    # Neither the asker, nor who reads, nor the tenant answers; the tenant does not see it.
    own = desk.post(desk.ann, f"approvals/{approval}/approve/", {"reason": "it is mine"})
    assert (own.status_code, own.json()["code"]) == (403, "self_approval")
    assert desk.answer(desk.support, approval).status_code == 403
    owner = client_for(tenant, "owner")
    assert owner.get("/api/v1/approvals/").json()["results"] == []
    answered = owner.post(f"/api/v1/approvals/{approval}/approve/", {}, content_type="application/json")
    assert answered.status_code == 404
    assert state(tenant, invoice)[0] == "draft"

    assert desk.answer(desk.bob, approval).status_code == 302
    assert state(tenant, invoice)[:2] == ("finalised", "platform_finance@platform.example")
    page = text_of(desk.bob.get(f"/invoices/{invoice}/"))
    assert "Waits" not in page and "INV-000001" in page
    with tenant_scope(tenant.id):
        actions = set(AuditEntry.objects.values_list("action", flat=True))
        assert {"tenants.approval.requested", "tenants.approval.granted", "billing.invoice.finalised"} <= actions
        topics = set(OutboxMessage.objects.values_list("topic", flat=True))
        assert "billing.InvoiceFinalised" in topics
        assert not {topic for topic in topics if "Approval" in topic}, "no webhook of the tenant carries it"
    with selling.role("exchequer_operator"):
        (act,) = OperatorAct.objects.filter(action="billing.invoice.finalised")
    assert act.operator_label == "platform_finance-platform_admin@platform.example"
    assert "asked by platform_finance@platform.example" in act.target_label
    assert desk.answer(desk.bob, approval).status_code == 409


def test_small_credits_add_up_until_a_second_operator_is_needed(demo_clock: DemoClock, desk: Desk) -> None:
    tenant = used(demo_clock, 60_000)
    invoice = draft_of(tenant)
    desk.answer(desk.bob, desk.post(desk.ann, f"invoices/{invoice}/finalise/").json()["approval"])
    with tenant_scope(tenant.id):
        line = str(InvoiceLine.objects.get(invoice=invoice).pk)

    def credit(who: Any, amount: str) -> Any:
        body = {"lines": [{"line": line, "amount": amount}], "reason": "a node failed"}
        return desk.post(who, f"invoices/{invoice}/credit-notes/", body)

    assert credit(desk.ann, "1.00").status_code == 201
    asked = credit(desk.ann, "1.00")
    assert asked.status_code == 202
    assert desk.answer(desk.bob, asked.json()["approval"], "decline").status_code == 302
    assert state(tenant, invoice)[2] == 1
    asked = credit(desk.bob, "1.00")
    assert desk.answer(desk.bob, asked.json()["approval"]).status_code == 403
    # Somebody credits a little meanwhile: what was asked for is no longer what would happen.
    assert credit(desk.ann, "0.50").status_code == 201
    changed = desk.post(desk.ann, f"approvals/{asked.json()['approval']}/approve/", {"reason": "looked at it"})
    assert (changed.status_code, changed.json()["code"]) == (409, "amount_changed")
    asked = credit(desk.bob, "1.00")
    assert desk.answer(desk.ann, asked.json()["approval"]).status_code == 302
    assert state(tenant, invoice)[2] == Decimal("2.50")
    with tenant_scope(tenant.id):
        note = CreditNote.objects.order_by("-id")[0]
        assert (note.total, note.reason) == (1, "a node failed")
        assert note.issued_by == "platform_finance-platform_admin@platform.example"


def test_late_usage_after_the_request_asks_for_another_one_and_a_void_needs_two(
    demo_clock: DemoClock, desk: Desk
) -> None:
    tenant = used(demo_clock, 60_000)
    invoice = draft_of(tenant)
    first = desk.post(desk.ann, f"invoices/{invoice}/finalise/").json()["approval"]
    with tenant_scope(tenant.id):
        project = Project.objects.exclude(slug="default").get()
        record_usage([interval(project.id, IN_MARCH - timedelta(hours=30), 20_000)])
    late = desk.answer(desk.bob, first)
    assert late.status_code == 409
    assert "It comes to €4.00 now, and €3.00 was asked for." in text_of(late)
    assert desk.answer(desk.bob, first, "decline").status_code == 302
    second = desk.post(desk.ann, f"invoices/{invoice}/finalise/").json()["approval"]
    assert desk.answer(desk.bob, second).status_code == 302

    asked = desk.ann.post(f"/invoices/{invoice}/void/", {"reason": "a wrong address", "reissue": "on"})
    assert asked["Location"] == f"/invoices/{invoice}/"
    with tenant_scope(tenant.id):
        void = Approval.objects.get(state="open")
    assert state(tenant, invoice)[0] == "finalised"
    assert desk.answer(desk.bob, str(void.id)).status_code == 302
    assert state(tenant, invoice)[0] == "void"
    assert draft_of(tenant) != invoice
    with tenant_scope(tenant.id):
        assert Invoice.objects.get(pk=invoice).void_reason == "a wrong address"

    # Many at once ask, and without the rule one operator is enough.
    listed = desk.ann.post("/invoices/", {"invoice": str(draft_of(tenant))}, follow=True)
    assert "1 waits for another operator" in text_of(listed)
    body = SELLER | {"second_person": False}
    answer = desk.ann.put(f"{API}seller/", body, content_type="application/json")
    assert answer.json()["second_person_from"] == {"EUR": "2", "JPY": "150000"}
    assert desk.post(desk.ann, f"invoices/{draft_of(tenant)}/finalise/").status_code == 200
    with selling.role("exchequer_operator"):
        assert OperatorAct.objects.filter(action="billing.second_person.changed").count() == 2


@pytest.mark.parametrize("text", ["2", "2 EURO", "2.001 EUR", "-2 EUR", "2 XXX", "2 EUR, 3 EUR"])
def test_amounts_that_do_not_hold_are_refused(desk: Desk, text: str) -> None:
    refused = desk.ann.post("/invoices/seller/", SELLER | {"second_person": "on", "second_person_from": text})
    assert refused.status_code == 422
    assert "Amounts with tax by currency" in text_of(refused)
    found = desk.ann.get(f"{API}seller/").json()
    assert (found["second_person"], found["second_person_from"]) == (True, {"EUR": "2", "JPY": "150000"})
