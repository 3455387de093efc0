"""A tenant pays in dollars until April and in euros from then on: what runs, is held, budgeted and billed over the change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client

from billing import tasks
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import Hold
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Outcome
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification
from tests.api.compute.test_jobs import ORDER
from tests.api.tenants.quotas.test_approvals import Person
from tests.integration.billing.scenarios.rerating import rerated
from tests.integration.billing.scenarios.test_months_by_http import Sides
from tests.integration.compute.test_leases import World
from tests.support import factories, selling
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
CHANGE = datetime(2027, 4, 1, tzinfo=UTC)
RATE = Decimal("0.8")
LINES = """
SELECT i.period, i.currency, sum(round(e.billable * p.unit_amount, 12)) FROM billing_usageevent e
JOIN billing_price p ON p.id = e.price_id JOIN billing_priceversion v ON v.id = p.version_id JOIN billing_pricebook b ON b.id = v.book_id
JOIN billing_invoice i ON i.tenant_id = e.tenant_id AND i.period = e.period AND i.currency = b.currency AND i.kind = 'period' GROUP BY 1, 2
"""


@pytest.fixture(autouse=True)
def _price_list() -> None:
    """Use the prices of a new tenant."""


class Changing(Sides):
    """Both sides, of a tenant that pays in dollars."""

    def __init__(self, demo_clock: DemoClock, console: Any) -> None:
        super().__init__(demo_clock, console)
        self.tenant = factories.make_tenant(currency="USD")
        self.key = factories.make_api_key(self.tenant)
        self.book = self.sell("price-books/", 201, name="In euros", currency="EUR", reason="for Europe")

    def rate(self) -> None:
        body = {
            "from_currency": "USD",
            "to_currency": "EUR",
            "rate": str(RATE),
            "origin": "ECB",
            "reason": "as published",
        }
        self.sell("exchange-rates/", 201, **body)

    def preview(self, currency: str = "EUR") -> Any:
        path = f"/api/operator/v1/tenants/{self.tenant.id}/contracts/currency/?currency={currency}"
        answer = self.console.get(path)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def agree(self, status: int = 201, **more: Any) -> Any:
        body = {
            "price_book": self.book["id"],
            "starts_on": "2027-04-01",
            "currency": "EUR",
            "reason": "they moved",
            **more,
        }
        return self.sell(f"tenants/{self.tenant.id}/contracts/", status, **body)

    def hold(self, quantity: int) -> str:
        asked = {"project": "default", "meter": "inference_requests", "quantity": str(quantity), "expires_in_s": 7200}
        return str(self.ask("POST", "holds/", asked, 201)["id"])

    def faults(self) -> list[str]:
        with tenant_scope(self.tenant.id):
            return [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]]

    def bills(self, period: str) -> dict[str, Any]:
        """Return the invoices of a month by currency, once all figures agree."""
        assert self.faults() == []
        listed = self.ask("GET", f"invoices/?period={period}")["results"]
        return {one["currency"]: self.ask("GET", f"invoices/{one['id']}/") for one in listed if one["kind"] == "period"}


@pytest.fixture
def sides(demo_clock: DemoClock, seller: Any) -> Changing:
    return Changing(demo_clock, seller("platform_finance"))


def money(of: Any) -> tuple[Decimal, str]:
    return Decimal(of["amount"]), of["currency"]


def test_b66_a_job_a_hold_a_budget_and_invoices_over_a_change_of_currency(
    sides: Changing, as_control: Any, demo_clock: DemoClock
) -> None:
    sides.rate()
    effects = sides.preview()
    assert (effects["before"], effects["after"], Decimal(effects["rate"]), effects["obstacles"]) == (
        "USD",
        "EUR",
        RATE,
        [],
    )
    asked = {"scope": "tenant", "amount": "100.00", "at_limit": "stop_running"}
    budget = sides.ask("POST", "budgets/", asked, 201)["id"]
    sides.agree()
    sides.at(CHANGE - timedelta(days=10))
    sides.use("2", CHANGE - timedelta(days=10, hours=1))
    sides.at(CHANGE - timedelta(minutes=20))
    world = World(as_control, sides.tenant)
    outside = sides.hold(100_000)
    mine = world.running({}, max_cost=Decimal(1), max_seconds=3600)
    leases.heartbeat(mine, Heartbeat(elapsed=0.01))
    sides.at(CHANGE - timedelta(seconds=12))
    with tenant_scope(sides.tenant.id), connection.cursor() as cursor:
        cursor.execute("UPDATE compute_attempt SET lease_until = exchequer_now() + interval '60 seconds'")
    leases.heartbeat(mine, Heartbeat(elapsed=1190.0))
    march = sides.ask("GET", f"budgets/{budget}/")
    assert money(march["amount"]) == (Decimal(100), "USD") and march["held"]["currency"] == "USD"
    # The first heartbeat of April brings seconds of both months: each is paid by a hold in its own currency.
    sides.at(CHANGE + timedelta(seconds=8))
    leases.heartbeat(mine, Heartbeat(elapsed=1210.0))
    with tenant_scope(sides.tenant.id):
        holds = {one.currency: one for one in Hold.objects.filter(subject=f"job:{mine.job.id}")}
        assert (holds["USD"].state, holds["EUR"].state) == ("released", "open")
        assert holds["USD"].settled > 0 and holds["EUR"].settled > 0
    april = sides.ask("GET", f"budgets/{budget}/")
    assert money(april["amount"]) == (Decimal(80), "EUR")
    assert money(april["held"])[0] > 0 < money(april["spent"])[0] and april["spent"]["currency"] == "EUR"
    job = sides.ask("GET", f"jobs/{mine.job.id}/")
    assert job["cost"]["currency"] == "EUR" and [one["currency"] for one in job["earlier_costs"]] == ["USD"]
    assert money(job["max_cost"]) == (Decimal("0.8"), "EUR")
    (listed,) = sides.ask("GET", "jobs/")["results"]
    assert (listed["cost"], listed["earlier_costs"]) == (job["cost"], job["earlier_costs"])
    owner, ours = Person(sides.tenant, "owner").client, f"/t/{sides.tenant.slug}/"
    for page, shown in (
        ("", "€"),
        ("jobs/", "€"),
        (f"jobs/{mine.job.id}/", "before"),
        (f"budgets/{budget}/", "€80.00"),
    ):
        assert shown in text_of(owner.get(ours + page)), page
    # A hold from outside pays what was used in its currency; the rest counts against the budgets.
    sides.use("1", CHANGE - timedelta(minutes=5), hold=outside)
    sides.use("1", CHANGE + timedelta(seconds=2), hold=outside)
    placed = sides.ask("GET", f"holds/{outside}/")
    assert money(placed["settled"]) == (Decimal(1), "USD")
    refused = sides.ask("POST", f"holds/{outside}/extend/", {"quantity": "10"}, 409)
    assert refused["code"] == "hold_ended" and "now pays in EUR" in refused["title"]
    assert sides.faults() == []
    with selling.as_control():
        assert tasks.change_currencies() == 1
        assert tasks.change_currencies() == 0
    now = sides.ask("GET", f"budgets/{budget}/")
    assert money(now["amount"]) == (Decimal(80), "EUR")
    with tenant_scope(sides.tenant.id):
        assert Notification.objects.filter(title__endswith="now pays in EUR").exists()
    contract = text_of(sides.console.get(f"/contracts/{sides.tenant.id}/"))
    assert "pays in EUR" in contract and "$" in contract and "€" in contract
    # A span with both shows both, each in its own.
    spent = sides.ask("GET", "spend/?from=2027-03-01&to=2027-05-01")["results"]
    assert sorted(one["cost"]["currency"] for one in spent) == ["EUR", "USD"]
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=1210.0), complete=lambda job: {})
    # Late usage of March stays in dollars, after March is closed on an invoice of its own.
    sides.at(CHANGE + timedelta(days=1))
    sides.sell(f"invoices/{sides.bills('2027-03')['USD']['id']}/finalise/")
    sides.use("0.5", CHANGE - timedelta(days=2))
    sides.use("3", CHANGE + timedelta(hours=3))
    bills = sides.bills("2027-04")
    assert money(bills["USD"]["total"]) == (Decimal("0.5"), "USD")
    # The page of the running month is that of its own currency, whichever draft is newer.
    assert f"/invoices/{bills['EUR']['id']}/" in owner.get(f"{ours}invoice/").content.decode()
    sides.at(datetime(2027, 5, 2, tzinfo=UTC))
    for bill in sides.bills("2027-04").values():
        sides.sell(f"invoices/{bill['id']}/finalise/")
    with tenant_scope(sides.tenant.id), connection.cursor() as cursor:
        cursor.execute(LINES)
        again = {(period, currency): Fraction(amount) for period, currency, amount in cursor.fetchall()}
        other = {
            (month, currency): rerated("UTC", month, {"currency": currency})
            for month, currency in ((date(2027, 3, 1), "USD"), (date(2027, 4, 1), "EUR"))
        }
    assert set(again) == {(date(2027, 3, 1), "USD"), (date(2027, 4, 1), "USD"), (date(2027, 4, 1), "EUR")}
    for period, currency in again:
        lines = sides.ask("GET", f"invoices/{sides.bills(f'{period:%Y-%m}')[currency]['id']}/lines/")["results"]
        assert sum(Fraction(one["exact"]["amount"]) for one in lines) == again[period, currency]
    assert money(sides.bills("2027-04")["EUR"]["total"])[0] == Decimal(other[date(2027, 4, 1), "EUR"].total) / 100


def test_a_change_of_currency_is_refused_with_what_to_do(sides: Changing) -> None:
    def refused(**more: Any) -> str:
        answer = sides.agree(400, **more)
        return str(answer["fields"]["currency"])

    assert "Enter one first" in refused() and "Enter one first" in str(sides.preview()["obstacles"])
    sides.rate()
    assert "not prepaid first" in refused(terms={"prepaid": True})
    year = sides.ask(
        "POST", "budgets/", {"scope": "tenant", "amount": "9", "period": "year", "at_limit": "notify"}, 201
    )["id"]
    assert "A budget by quarter or year runs across 1 April 2027" in refused()
    sides.ask("DELETE", f"budgets/{year}/", status=204)
    assert refused(currency="EUX")
    sides.agree()
    quarter = {"scope": "tenant", "amount": "9", "period": "year", "at_limit": "notify"}
    answer = sides.ask("POST", "budgets/", quarter, 400)
    assert "pays in EUR from 1 April 2027" in str(answer["fields"])
    page = sides.console.get(f"/contracts/{sides.tenant.id}/?currency=eur")
    assert page.status_code == 200 and "Budgets are restated at 0.8 EUR for one USD." in page.content.decode()
    assert sides.console.get(f"/contracts/{sides.tenant.id}/?currency=EUX").status_code == 200
    assert Client().get(f"/api/operator/v1/tenants/{sides.tenant.id}/contracts/currency/").status_code in (
        401,
        403,
        404,
    )


def test_what_waits_over_a_change_is_restated_or_refused_with_what_to_do(sides: Changing, as_control: Any) -> None:
    sides.rate()
    asked = {"scope": "tenant", "amount": "100.00", "at_limit": "block_new"}
    budget = sides.ask("POST", "budgets/", asked, 201)["id"]
    sides.agree()
    sides.at(CHANGE - timedelta(seconds=20))
    World(as_control, sides.tenant)
    quote = sides.ask("POST", "quotes/", ORDER, 201)["id"]
    job = sides.ask("POST", "jobs/", {**ORDER, "max_cost": "10"}, 201)["id"]
    sides.ask("POST", f"jobs/{job}/pause/")
    more = Person(sides.tenant, "engineer").post(
        f"budgets/{budget}/requests/", {"amount": "150", "reason": "a deadline"}
    )
    assert more.status_code == 201, more.content
    sides.at(CHANGE + timedelta(seconds=8))
    assert sides.ask("POST", "jobs/", {**ORDER, "quote": quote}, 409)["code"] == "quote_expired"
    sides.ask("POST", f"jobs/{job}/resume/")
    found = sides.ask("GET", f"jobs/{job}/")
    assert money(found["max_cost"]) == (Decimal(8), "EUR") and found["cost"]["currency"] == "EUR"
    with tenant_scope(sides.tenant.id):
        (held,) = Hold.objects.filter(subject=f"job:{job}", state="open")
        assert (held.currency, held.period) == ("EUR", CHANGE.date())
    refused = Person(sides.tenant, "finance").post(f"approvals/{more.json()['id']}/approve/")
    assert refused.status_code == 409 and "Decline it, and ask again" in refused.json()["title"]
    # A budget that is changed before the sweep has run is restated first.
    changed = sides.ask("PATCH", f"budgets/{budget}/", {"alerts": [50]})
    assert money(changed["amount"]) == (Decimal(80), "EUR")
    assert sides.faults() == []


def test_a_contract_in_another_currency_is_billed_what_it_owes_beside_a_late_correction(sides: Changing) -> None:
    sides.rate()
    sides.agree(terms={"minimums": [{"key": "least", "amount": "70"}]})
    sides.at(CHANGE - timedelta(days=10))
    sides.use("2", CHANGE - timedelta(days=10, hours=1))
    sides.at(CHANGE + timedelta(days=1))
    sides.sell(f"invoices/{sides.bills('2027-03')['USD']['id']}/finalise/")
    sides.use("0.5", CHANGE - timedelta(days=2))
    assert set(sides.bills("2027-04")) == {"USD"}
    sides.at(datetime(2027, 5, 2, tzinfo=UTC))
    sides.sell("periods/2027-04/run/", 202)
    with selling.as_control():
        tasks.run_periods()
    totals = {currency: money(bill["subtotal"])[0] for currency, bill in sides.bills("2027-04").items()}
    assert totals == {"USD": Decimal("0.5"), "EUR": Decimal(70)}
