"""A month at prices in dollars under a contract in euros: the rate changes in mid-month, and each second has the one of its time."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from billing import queries
from billing.documents import rows as csv_rows
from billing.documents import wording
from billing.exchange.queries import rate_in_force
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import UsageRollup
from billing.pricing import price_books, publishing, quotes
from billing.queries.lines import InvoiceLine
from billing.rating.exchange import converted
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.exports.scene import rows_of, take, text_of, total
from tests.integration.billing.invoicing.scene import (
    APRIL,
    IN_APRIL,
    IN_MARCH,
    MARCH,
    draft_of,
    finalise,
    name_the_seller,
)  # fmt: skip
from tests.integration.billing.scenarios.rerating import in_euros, taxed
from tests.support import selling
from tests.support.billing import focus_rules
from tests.support.billing.rerater import Rerated
from tests.support.factories import make_project, make_tenant
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
#: Within a quarter hour, and within a second of a running job.
CHANGE = IN_MARCH - timedelta(hours=3, seconds=53)
FIRST, SECOND = Decimal("0.912345678901"), Decimal("0.95")
SECONDS, TOKENS = Decimal("0.000123457"), Decimal("0.000000123457")
TERMS = {"discounts": [{"key": "friend", "percent": "7.5"}]}


def key_of(line: InvoiceLine) -> tuple[str, str, str]:
    assert line.rate is not None
    return str(line.project_id), str(line.price_id), str(Fraction(line.rate.value))


def rerated(used: dict[tuple[str, str, str], Fraction]) -> Rerated:
    """Return the bill of usage in euros, by the second program."""
    usage: list[dict[str, Any]] = [
        {
            "key": f"{number}", "project": key[0], "price": key[1], "meter": key[1], "origin": None, "quantity": "1",
            "amount": str(used[key]), "hours": [],
        }
        for number, key in enumerate(sorted(used))
    ]  # fmt: skip
    terms, tax = {"currency": "EUR", **TERMS}, taxed("DE", "DE", "19")
    return Rerated({"usage": usage, "terms": terms, "credits": [], "tax": tax, "at": "2027-03-31"})


@pytest.fixture
def vision(demo_clock: DemoClock) -> tuple[Tenant, UUID]:
    """Return a tenant that pays dollar prices in euros, and its project, with the usage of March: in March."""
    name_the_seller()
    demo_clock.move_to(IN_MARCH - timedelta(days=40))
    selling.enter_rate(str(FIRST))
    tenant = make_tenant(contract=False, timezone="UTC")
    with selling.role("exchequer_operator"):
        book = publishing.create_book(operator=selling.SELLER, name="Dollars", currency="USD", reason="dollars")
    selling.open_contract(tenant, book=book, tax_rate=Decimal(19), terms=TERMS)
    project = make_project(tenant)
    demo_clock.move_to(IN_MARCH - timedelta(days=1))
    prices = [
        selling.NewPrice("device_seconds", {}, SECONDS, Decimal("0.0002")), selling.NewPrice("inference_requests", {}, TOKENS),
    ]  # fmt: skip
    selling.publish(prices=prices, book_id=book.pk, effective_at=IN_MARCH - timedelta(hours=20))
    selling.enter_rate(str(SECOND), CHANGE)
    demo_clock.move_to(IN_MARCH - timedelta(hours=6))
    with tenant_scope(tenant.id):
        work = quotes.Work(project_id=project.id, meter="device_seconds", dims=DIMS, typical_s=60, worst_s=7200)
        estimate = quotes.estimate(work)
    # Held at the rate of the moment, in the currency of the contract; rounded once.
    held = (7200 * SECONDS * FIRST).quantize(Decimal("1e-12"))
    assert (estimate.worst.amount, estimate.worst.currency) == (held, "EUR")
    demo_clock.move_to(IN_MARCH)
    failed = uuid4()
    with tenant_scope(tenant.id):
        record_usage([interval(project.id, IN_MARCH - timedelta(hours=6), 6 * 3600 - 60)])
        at: dict[str, Any] = {"meter": "inference_requests", "quantity": Decimal(1_000_003)}
        record_usage([interval(project.id, IN_MARCH - timedelta(minutes=5 + n * 300), 1, **at) for n in range(2)])
        record_usage([interval(project.id, IN_MARCH - timedelta(hours=5), 600, attempt_id=failed)])
        waive_usage(failed, reason="a node failed")
    return tenant, project.id


def test_b54_a_month_in_dollars_is_billed_in_euros_at_the_rate_of_each_second(
    vision: tuple[Tenant, UUID], demo_clock: DemoClock
) -> None:
    tenant, project = vision
    demo_clock.move_to(IN_APRIL)
    finalise(tenant)
    invoice = draft_of(tenant)
    demo_clock.move_to(IN_APRIL + timedelta(days=1))
    with tenant_scope(tenant.id):
        # Late usage has the rate of its own time.
        record_usage([interval(project, IN_MARCH - timedelta(hours=10), 777)])
        (late,) = queries.invoice_lines(draft_of(tenant, APRIL))[:1]
        view, lines = queries.invoice(invoice), queries.invoice_lines(invoice)
        used = [one for one in lines if one.kind == "usage"]
        expected = in_euros(MARCH)
        frozen = {key_of(one): Fraction(one.exact.amount) for one in used}
        frozen[key_of(late)] += Fraction(late.exact.amount)
        assert frozen == expected
        expected[key_of(late)] -= Fraction(late.exact.amount)
        assert list(reconcile_faults()) == list(ledger_faults()) == []
        rows = list(csv_rows.interval_rows(tenant.id, view, lines))
        shares = queries.explain(invoice, used[0].n).shares
    other = rerated(expected)
    assert (view.subtotal.minor, view.total.minor) == (other.subtotal, other.total)
    assert {(one.meter, one.rate.value) for one in used if one.rate} == {
        ("device_seconds", FIRST), ("device_seconds", SECOND), ("inference_requests", FIRST), ("inference_requests", SECOND),
    }  # fmt: skip
    assert (late.kind, late.rate and late.rate.value) == ("correction", FIRST)
    first = used[0]
    assert first.rate is not None
    assert wording.rate(first.rate, "EUR").startswith("1 USD = 0.912345678901 EUR from 8 February 2027, ")
    assert sum((one.exact.amount for one in shares), Decimal(0)) == first.exact.amount
    names = csv_rows.header(intervals=True)
    listed = [dict(zip(names, row, strict=True)) for row in rows]
    for line in used:
        of = [row for row in listed if row["line"] == line.n]
        assert {(row["price_currency"], row["currency"], row["rate"]) for row in of} == {
            ("USD", "EUR", line.rate and line.rate.value)
        }
        assert sum(row["exact_amount"] for row in of if row["row"] == "interval") == line.exact.amount
    # A file in both currencies: every charge is its quantity times its price in dollars.
    file = text_of(take(tenant, "period=2027-03"))
    assert focus_rules.faults(file) == []
    charges = rows_of(take(tenant, "period=2027-03"))
    assert total(charges) == view.total
    assert {row["PricingCurrency"] for row in charges if row["ChargeCategory"] == "Usage"} == {"USD"}


def test_b54_usage_converted_by_another_rate_than_that_of_its_time_is_found(
    vision: tuple[Tenant, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, project = vision
    real, old = converted, rate_in_force("USD", "EUR", IN_MARCH - timedelta(days=1))
    assert old is not None
    with tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
        monkeypatch.setattr(price_books, "converted", lambda lists, _, currency: real(lists, [old], currency))
        record_usage([interval(project, IN_MARCH - timedelta(minutes=30), 60)])
        assert [fault.rule for fault in reconcile_faults()] == [
            "an interval is converted by the exchange rate in force"
        ]
        assert UsageRollup.objects.filter(rate__rate=FIRST, hour__gte=CHANGE).count() == 1


def test_b54_without_a_rate_nothing_is_quoted_and_usage_is_measured_and_free(demo_clock: DemoClock) -> None:
    demo_clock.move_to(IN_MARCH)
    tenant = make_tenant(contract=False, timezone="UTC")
    with selling.role("exchequer_operator"):
        book = publishing.create_book(operator=selling.SELLER, name="Yen", currency="JPY", reason="yen prices")
    selling.open_contract(tenant, book=book)
    project = make_project(tenant)
    with tenant_scope(tenant.id):
        with pytest.raises(price_books.ExchangeRateMissing, match="no exchange rate"):
            price_books.price_at("device_seconds", DIMS)
        record_usage([interval(project.id, IN_MARCH - timedelta(minutes=3), 60)])
        (line,) = queries.invoice_lines(draft_of(tenant))
        assert line.price_id is None and line.rate is None
        assert (line.measured, line.amount.amount) == (60, 0)
        assert list(reconcile_faults()) == []
