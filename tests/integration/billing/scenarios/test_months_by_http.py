"""Months by HTTP alone: what a customer's programs send and read, and what the seller answers at the console, from day to day."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.test import Client

from billing.ledger.reconcile import ledger_faults, reconcile_faults
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import factories, selling

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
MARCH, APRIL = "2027-03-01", "2027-04-01"
EURO = 50_000
"""So many requests cost one euro."""
SELLER = {"name": "Compute GmbH", "address": "1 Main Street", "country": "DE", "reason": "the first seller"}


@pytest.fixture(autouse=True)
def _price_list() -> None:
    """Use the prices of a new tenant, which count requests."""


def on(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2027, month, day, hour, tzinfo=UTC)


class Sides:
    """A customer with a key, and the seller's finance at the console, at one time that moves."""

    def __init__(self, demo_clock: DemoClock, console: Any) -> None:
        self.at, self.console = demo_clock.move_to, console
        self.at(on(2, 3))
        self.tenant: Tenant = factories.make_tenant()
        self.key = factories.make_api_key(self.tenant)
        self.name_seller()

    def name_seller(self, **changes: str) -> None:
        """Enter who sells, which asks for the password again."""
        self.console.prove(factories.PASSWORD)
        answer = self.console.put("/api/operator/v1/seller/", SELLER | changes, content_type="application/json")
        assert answer.status_code == 200, answer.content

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Send a request of the customer."""
        kind = "application/cloudevents-batch+json" if path == "events" else "application/json"
        raw = "" if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = Client().generic(method, f"/api/v1/{path}", raw, kind, headers=headers)
        assert answer.status_code == status, (path, answer.status_code, answer.content[:600])
        return answer.json() if answer.content else None

    def rows(self, path: str) -> list[dict[str, str]]:
        """Return a file of the customer's by the names of its columns."""
        answer: Any = Client().get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {self.key}"})
        assert answer.status_code == 200, answer.content
        return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))

    def sell(self, path: str, status: int = 200, **body: Any) -> Any:
        """Send a request of the seller."""
        answer = self.console.post(f"/api/operator/v1/{path}", body, content_type="application/json")
        assert answer.status_code == status, (path, answer.status_code, answer.content[:600])
        return answer.json() if answer.content else None

    def use(self, euros: str, at: datetime, status: int = 204, **data: Any) -> Any:
        """Report so many euros' worth of requests."""
        event = {
            "specversion": "1.0", "id": uuid4().hex, "source": "gateway", "type": "inference.requests", "subject": "model-x",
            "time": at.isoformat(), "data": {"quantity": int(Decimal(euros) * EURO), **data},
        }  # fmt: skip
        return self.ask("POST", "events", [event], status)

    def invoice(self, period: str) -> Any:
        """Return the invoice of a month that is not void, as the customer reads it, when all figures agree."""
        with tenant_scope(self.tenant.id):
            assert [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]] == []
        listed = self.ask("GET", f"invoices/?period={period[:7]}")["results"]
        (found,) = [one for one in listed if one["state"] != "void" and one["kind"] == "period"]
        return self.ask("GET", f"invoices/{found['id']}/")

    def lines(self, invoice: Any) -> list[tuple[str, str | None, str]]:
        """Return kind, corrected month and amount of an invoice's lines."""
        found = self.ask("GET", f"invoices/{invoice['id']}/lines/")["results"]
        return [(one["kind"], one["origin"], amount(one, "amount")) for one in found]

    def pay(self, invoice: str, euros: str, received: datetime) -> Any:
        return self.sell(f"invoices/{invoice}/mark-paid/", amount=euros, received_on=f"{received.date()}")


def amount(of: Any, name: str = "total") -> str:
    """Return an amount in euros with two decimals."""
    assert of[name]["currency"] == "EUR"
    return f"{Decimal(of[name]['amount']):.2f}"


@pytest.fixture
def sides(demo_clock: DemoClock, seller: Any) -> Sides:
    return Sides(demo_clock, seller("platform_finance"))


def test_a_late_event_joins_the_draft_and_after_closing_the_next_invoice(sides: Sides) -> None:
    sides.at(on(3, 20))
    sides.use("2", on(3, 20, 11))
    # April: before March is closed, what is late joins its draft.
    sides.at(on(4, 2))
    sides.use("1", on(3, 31, 23))
    sides.use("0.5", on(4, 1))
    march = sides.invoice(MARCH)
    assert (march["state"], amount(march), amount(sides.invoice(APRIL))) == ("draft", "3.00", "0.50")
    assert sides.sell(f"invoices/{march['id']}/finalise/") == {"number": "INV-000001"}
    stands, file = sides.invoice(MARCH), sides.rows(f"invoices/{march['id']}/csv/")
    # After: it is a correction on the next invoice, at its own price, and March stands as it was.
    sides.at(on(4, 3))
    sides.use("0.25", on(3, 20, 15))
    assert sides.invoice(MARCH) == stands
    assert sides.rows(f"invoices/{march['id']}/csv/") == file
    assert sides.lines(stands) == [("usage", None, "3.00")]
    assert sorted(sides.lines(sides.invoice(APRIL)), key=str) == [
        ("correction", MARCH, "0.25"),
        ("usage", None, "0.50"),
    ]
    # More than 35 days late: it waits for a person, whatever is open.
    sides.at(on(5, 10))
    assert [one["state"] for one in sides.use("0.75", on(3, 21), 202)["held"]] == ["waiting"]
    april = sides.invoice(APRIL)
    sides.sell(f"invoices/{april['id']}/finalise/")
    for number, euros in ((march["id"], "3.00"), (april["id"], "0.75")):
        assert sides.pay(number, euros, on(5, 10))["state"] == "paid"
    (waits,) = sides.ask("GET", "usage/held/")["results"]
    sides.ask("POST", "usage/held/decide/", {"events": [waits["id"]], "decision": "accept", "reason": "it ran"})
    assert sides.lines(sides.invoice("2027-05-01")) == [("correction", MARCH, "0.75")]
    assert (sides.invoice(MARCH)["content_hash"], sides.invoice(APRIL)["total"]) == (
        stands["content_hash"],
        april["total"],
    )


def test_an_invoice_with_a_wrong_address_is_void_and_issued_again_and_its_successor_is_paid(sides: Sides) -> None:
    sides.at(on(3, 20))
    sides.use("30", on(3, 20, 11))
    sides.at(on(4, 2))
    first = sides.invoice(MARCH)
    sides.sell(f"invoices/{first['id']}/finalise/")
    sides.name_seller(address="2 Side Street", reason="we moved in March")
    sides.at(on(4, 5))
    made = sides.sell(f"invoices/{first['id']}/void/", reason="the old address", reissue=True)["draft"]
    # The month stays closed: what comes in between corrects it.
    sides.use("2", on(3, 21))
    assert amount(sides.ask("GET", f"invoices/{made}/")) == "30.00"
    assert sides.sell(f"invoices/{made}/finalise/") == {"number": "INV-000002"}
    void, second = sides.ask("GET", f"invoices/{first['id']}/"), sides.invoice(MARCH)
    assert (void["state"], void["number"], void["void_reason"]) == ("void", "INV-000001", "the old address")
    assert (void["seller"]["address"], second["seller"]["address"]) == ("1 Main Street", "2 Side Street")
    assert (second["replaces"], amount(second)) == (first["id"], "30.00")
    paid = {"amount": "30.00", "received_on": "2027-04-05"}
    assert sides.sell(f"invoices/{first['id']}/mark-paid/", 409, **paid)["code"] == "invoice_not_payable"
    assert sides.pay(second["id"], "30.00", on(4, 5))["state"] == "paid"
    assert sides.sell(f"invoices/{second['id']}/void/", 409, reason="again")["code"] == "invoice_not_voidable"
    # Exports and the next invoice know of one March.
    charges = sides.rows("exports/focus/?period=2027-03")
    assert {row["InvoiceId"] for row in charges} == {"INV-000002"}
    assert sum(Decimal(row["BilledCost"]) for row in charges) == 30
    assert sides.lines(sides.invoice(APRIL)) == [("correction", MARCH, "2.00")]


def test_a_price_changes_in_mid_month_and_late_usage_keeps_the_price_of_its_time(sides: Sides) -> None:
    book = next(one for one in sides.console.get("/api/operator/v1/price-books/").json()["results"] if one["tenants"])
    sides.at(on(3, 10))
    sides.use("1", on(3, 10, 11))
    prices = [{"meter": "inference_requests", "unit_amount": "0.00004"}]
    sides.sell(
        f"price-books/{book['id']}/versions/", 201, prices=prices, effective_at=on(3, 15, 0).isoformat(),
        after=book["versions"], reason="twice as much from the 15th",
    )  # fmt: skip
    sides.use("1", on(3, 10, 11))
    sides.at(on(3, 20))
    sides.use("1", on(3, 20, 11))
    sides.use("1", on(3, 14, 23))
    sides.at(on(4, 2))
    march = sides.invoice(MARCH)
    found = sides.ask("GET", f"invoices/{march['id']}/lines/")["results"]
    assert sorted((one["price_version_number"], one["quantity"], amount(one, "amount")) for one in found) == [
        (1, "150000.000000", "3.00"), (2, "50000.000000", "2.00"),
    ]  # fmt: skip
    sides.sell(f"invoices/{march['id']}/finalise/")
    listed = [row for row in sides.rows(f"invoices/{march['id']}/csv/?intervals=1") if row["row"] == "interval"]
    prices_of = {1: Decimal("0.00002"), 2: Decimal("0.00004")}
    versions = {str(one["n"]): prices_of[one["price_version_number"]] for one in found}
    again = sum(Decimal(row["quantity"]) * versions[row["line"]] for row in listed)
    assert (f"{again:.2f}", amount(sides.invoice(MARCH))) == ("5.00", "5.00")
    # After March is closed, too: the correction has the price of its time.
    sides.use("1", on(3, 14, 22))
    sides.use("1", on(3, 16))
    assert sorted(sides.lines(sides.invoice(APRIL)), key=str) == [
        ("correction", MARCH, "1.00"), ("correction", MARCH, "2.00"),
    ]  # fmt: skip


def test_a_wallet_is_filled_by_an_invoice_spent_to_zero_and_filled_again(sides: Sides) -> None:
    book = next(one for one in sides.console.get("/api/operator/v1/price-books/").json()["results"] if one["tenants"])
    terms = {
        "price_book": book["id"],
        "starts_on": MARCH,
        "terms": {"prepaid": True},
        "tax_rate": "25",
        "reason": "prepaid",
    }
    sides.sell(f"tenants/{sides.tenant.id}/contracts/", 201, **terms)

    def top_up(euros: str, at: datetime) -> None:
        sides.at(at)
        sides.ask("POST", "wallet/top-ups/", {"amount": euros}, 201)
        with selling.as_control():
            for _ in range(2):
                outbox.relay(outbox.deliver)
        invoice = sides.ask("GET", "wallet/top-ups/")["results"][0]["invoice"]
        assert sides.pay(invoice, euros, at)["state"] == "paid"

    def work(at: datetime) -> bool:
        """Hold two euros, use one and a half, give the rest back; return False if nothing is left to hold."""
        sides.at(at)
        asked = {"project": "default", "meter": "inference_requests", "quantity": str(2 * EURO), "expires_in_s": 3600}
        answer = Client().post(
            "/api/v1/holds/", asked, "application/json", headers={"Authorization": f"Bearer {sides.key}"}
        )
        if answer.status_code == 402:
            assert answer.json()["code"] == "budget_exceeded"
            assert "left in the wallet. Top it up" in answer.json()["title"]
            return False
        assert answer.status_code == 201, answer.content
        sides.use("1.5", at, hold=answer.json()["id"])
        sides.ask("POST", f"holds/{answer.json()['id']}/release/")
        return True

    top_up("10.00", on(3, 1))
    # Ten euros pay for eight without their tax of a quarter: after five days half a euro is left.
    assert [work(on(3, day)) for day in range(2, 9)] == [True] * 5 + [False] * 2
    wallet = sides.ask("GET", "wallet/")
    assert (amount(wallet, "balance"), amount(wallet, "unbilled")) == ("10.00", "7.50")
    top_up("5.00", on(3, 20))
    assert [work(on(3, day)) for day in range(21, 25)] == [True] * 2 + [False] * 2
    sides.at(on(4, 2))
    march = sides.invoice(MARCH)
    assert (amount(march, "subtotal"), amount(march)) == ("10.50", "13.12")
    sides.sell(f"invoices/{march['id']}/finalise/")
    assert (sides.invoice(MARCH)["state"], amount(sides.invoice(MARCH), "due")) == ("paid", "0.00")
    wallet = sides.ask("GET", "wallet/")
    assert (amount(wallet, "balance"), amount(wallet, "unbilled")) == ("1.88", "0.00")
    # April begins with what is left: not enough for a launch, until more is paid in.
    assert work(on(4, 3)) is False
    top_up("2.00", on(4, 4))
    assert work(on(4, 4)) is True
    assert amount(sides.invoice(APRIL), "subtotal") == "1.50"
