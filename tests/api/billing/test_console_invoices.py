"""Invoices by the console's API: who sells, finalise, credit, pay, void; and what the tenant reads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.test import Client

from tests.integration.billing.invoicing.scene import IN_APRIL, draft_of, used
from tests.support import factories

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
API = "/api/operator/v1/"
SELLER = {"name": "Compute GmbH", "address": "1 Main Street", "country": "DE", "reason": "the first seller"}


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def post(browser: Any, path: str, body: Any = None) -> Any:
    return browser.post(f"{API}{path}", body or {}, content_type="application/json")


def get(browser: Any, path: str) -> Any:
    answer = browser.get(f"{API}{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_an_invoice_is_finalised_credited_paid_and_read_by_its_tenant(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 60_000, 30_000, tax_rate=19)
    key, invoice = factories.make_api_key(tenant), draft_of(tenant)
    path = f"invoices/{invoice}/"
    (row,) = get(finance, f"invoices/?tenant={tenant.id}&period=2027-03&state=draft")["results"]
    assert (row["id"], row["tenant"]["slug"], row["total"], row["number"]) == (str(invoice), tenant.slug, None, "")
    draft = get(finance, path)
    assert (draft["subtotal"]["amount"], draft["tax"]["amount"], draft["total"]["amount"]) == (
        "45.000000",
        "8.550000",
        "53.550000",
    )
    refused = post(finance, f"{path}finalise/")
    assert (refused.status_code, refused.json()["code"]) == (409, "seller_unknown")
    finance.prove(factories.PASSWORD)  # the seller's details ask for the password again
    assert finance.put(f"{API}seller/", SELLER, content_type="application/json").status_code == 200
    assert post(finance, f"{path}review/").status_code == 204
    assert get(finance, path)["state"] == "in_review"
    assert post(finance, f"{path}finalise/").json() == {"number": "INV-000001"}
    assert post(finance, f"{path}finalise/").json() == {"number": "INV-000001"}
    assert get(finance, path)["taxes"] == draft["taxes"] != []
    lines = get(finance, f"{path}lines/")["results"]
    assert "project_name" not in lines[0]
    assert [(line["amount"]["amount"], line["tax"]["amount"]) for line in lines] == [
        ("30.000000", "5.700000"),
        ("15.000000", "2.850000"),
    ]
    wrong = {"reason": "a node failed", "lines": [{"line": lines[1]["id"], "amount": "15.01"}]}
    assert post(finance, f"{path}credit-notes/", wrong).json()["fields"] == {
        "lines": ["At most €15.00 is left of line 2."]
    }
    note = post(
        finance, f"{path}credit-notes/", {**wrong, "lines": [{"line": lines[1]["id"], "amount": "0.50"}]}
    ).json()
    assert (note["number"], note["total"]["amount"], note["off_due"]["amount"]) == (
        "CN-000001",
        "0.600000",
        "0.600000",
    )
    paid = post(finance, f"{path}mark-paid/", {"amount": "52.95", "received_on": f"{IN_APRIL.date()}"})
    assert (paid.status_code, paid.json()["state"], paid.json()["due"]["amount"]) == (200, "paid", "0.000000")
    assert post(finance, f"{path}void/", {"reason": "a wrong address"}).json()["code"] == "invoice_not_voidable"
    own = Client()
    headers = {"Authorization": f"Bearer {key}"}
    seen = own.get(f"/api/v1/invoices/{invoice}/", headers=headers).json()
    assert (seen["number"], seen["status"], seen["due_on"], seen["seller"]["name"]) == (
        "INV-000001",
        "paid",
        "2027-05-02",
        "Compute GmbH",
    )
    assert len(seen["content_hash"]) == 64
    for part, number in (("credit-notes", 1), ("payments", 1), ("lines", 2)):
        assert len(own.get(f"/api/v1/invoices/{invoice}/{part}/", headers=headers).json()["results"]) == number
    theirs = {"Authorization": f"Bearer {factories.make_api_key(factories.make_tenant('theirs'))}"}
    for part in ("", "credit-notes/", "payments/", "lines/"):
        assert own.get(f"/api/v1/invoices/{invoice}/{part}", headers=theirs).status_code == 404


def test_a_void_invoice_is_issued_again_under_the_next_number(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 60_000)
    invoice = draft_of(tenant)
    finance.prove(factories.PASSWORD)
    finance.put(f"{API}seller/", SELLER, content_type="application/json")
    post(finance, f"invoices/{invoice}/finalise/")
    assert post(finance, f"invoices/{invoice}/void/", {"reason": "no"}).status_code == 400
    made = post(finance, f"invoices/{invoice}/void/", {"reason": "a wrong address", "reissue": True}).json()["draft"]
    assert post(finance, f"invoices/{made}/finalise/").json() == {"number": "INV-000002"}
    listed = get(finance, "invoices/?period=2027-03")["results"]
    assert {row["number"]: row["state"] for row in listed} == {"INV-000001": "void", "INV-000002": "finalised"}
    assert get(finance, f"invoices/{made}/")["replaces"] == str(invoice)


def test_bad_input_is_named_and_changes_nothing(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 60_000)
    path = f"invoices/{draft_of(tenant)}/"
    for wrong in ({"name": "", "address": "x"}, {"country": "deu"}, {"email": "nobody"}, {"owner": "me"}):
        body = {**SELLER, **wrong}
        assert finance.put(f"{API}seller/", body, content_type="application/json").status_code == 400
    for part, body in (
        ("mark-paid/", {"amount": "-1", "received_on": "2027-04-01"}),
        ("mark-paid/", {"amount": "1"}),
        ("credit-notes/", {"reason": "a node failed", "lines": [{"line": "x", "amount": "1"}]}),
        ("credit-notes/", {"reason": "a node failed", "paid_back": "cash"}),
        ("review/", {"in_review": "perhaps"}),
    ):
        assert post(finance, path + part, body).status_code in (400, 409), part
    for query in ("state=lost", "tenant=x", "period=2027-13", "sort=total"):
        assert finance.get(f"{API}invoices/?{query}").status_code == 400, query
    for part in ("", "lines/", "credit-notes/", "mark-paid/"):
        assert finance.get(f"{API}invoices/{uuid4()}/{part}").status_code == 404
    assert post(finance, f"invoices/{uuid4()}/finalise/").status_code == 404
    assert get(finance, path)["state"] == "draft"
