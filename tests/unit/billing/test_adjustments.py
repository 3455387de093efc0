"""Commitments, savings plans, discounts, minimums and credits, by examples with round figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from billing.rating.billed.bills import Bill
from billing.rating.billed.credits import Credit, CreditKind, credit_faults
from billing.rating.billed.differences import difference
from billing.rating.billed.lines import Kind
from billing.rating.billed.tax import TaxRate, TaxTerms
from billing.rating.billed.usage import Scope, UsageLine
from tests.support.billing.examples import AT, ONE, REQUESTS, TWO, amounts, billed, euros, used

HOURS = [datetime(2026, 10, 1, hour, tzinfo=UTC) for hour in range(3)]
VAT = TaxTerms("DE", "DE", (TaxRate("DE", Decimal(20), date(2020, 1, 1)),))


def hourly(key: str, *by_hour: str, **more: Any) -> UsageLine:
    """Return usage at a unit amount of 1, by hour."""
    hours = tuple(zip(HOURS, map(Decimal, by_hour), strict=False))
    return used(key, str(sum(Decimal(amount) for amount in by_hour)), hours=hours, **more)


def credit(key: str, left: str, kind: CreditKind = CreditKind.PAID, **more: Any) -> Credit:
    """Return a credit in euros."""
    return Credit(key, kind, euros(left), **{"starts_on": date(2026, 1, 1), **more})


def uses(made: Bill) -> list[tuple[str, str, str]]:
    """Return credit, amount and what is left, in order."""
    return [(use.key, f"{use.amount.amount:f}", f"{use.left.amount.normalize():f}") for use in made.credits]


def test_a_savings_plan_pays_for_each_hour_by_itself() -> None:
    plan = {"hours": 3, "savings_plans": [{"key": "p", "per": "hour", "amount": "6", "percent": "40"}]}
    # 6.00 pays for 10.00 of usage an hour: all of 5.00, half of 20.00, and nothing in the third hour.
    made = billed([hourly("a", "5", "20")], plan)
    assert amounts(made, Kind.PLAN_FEE) == ["18.00"]
    assert amounts(made, Kind.COVERED) == ["-15.00"]
    assert made.total == euros("28")
    (figures,) = made.plans
    assert (figures.used, figures.committed) == (euros("9"), euros("18"))
    assert (figures.utilisation, figures.coverage) == (Decimal(50), Decimal(60))


def test_a_monthly_plan_pays_for_the_whole_period_and_the_next_plan_for_the_rest() -> None:
    first = {"key": "p", "per": "month", "amount": "6", "percent": "40", "meters": ["seconds"]}
    made = billed([used("a", "25"), used("b", "5", price=REQUESTS)], {"savings_plans": [first]})
    assert (made.plans[0].covered, made.plans[0].eligible) == (euros("10"), euros("25"))
    assert made.total == euros("26")
    second = {"key": "q", "per": "month", "amount": "100", "percent": "0"}
    made = billed([used("a", "25"), used("b", "5", price=REQUESTS)], {"savings_plans": [first, second]})
    assert made.plans[1].covered == euros("20")
    assert made.total == euros("106")


def test_an_hourly_plan_refuses_usage_whose_hours_are_missing() -> None:
    plan = {"hours": 3, "savings_plans": [{"key": "p", "per": "hour", "amount": "6", "percent": "40"}]}
    with pytest.raises(ValueError, match="usage by hour"):
        billed([used("a", "5")], plan)
    with pytest.raises(ValueError, match="number of hours"):
        billed([hourly("a", "5")], {"savings_plans": plan["savings_plans"]})


def test_a_commitment_is_compared_with_spend_before_discounts() -> None:
    terms = {
        "commitments": [{"key": "c", "amount": "50"}], "discounts": [{"key": "d", "percent": "10"}],
    }  # fmt: skip
    made = billed([used("a", "30")], terms)
    assert amounts(made, Kind.COMMITMENT) == ["20.00"]
    assert made.total == euros("47")
    assert amounts(billed([used("a", "60")], terms), Kind.COMMITMENT) == []


def test_three_plans_never_take_off_more_than_the_usage_bills() -> None:
    # 0.60, 0.70 and 1.70 of 3 cents: rounded by themselves they would be 4.
    plans = [
        {"key": key, "per": "hour", "amount": amount, "percent": "0"}
        for key, amount in (("a", "0.006"), ("b", "0.007"), ("c", "0.017"))
    ]
    made = billed([hourly("u", "0.03")], {"hours": 1, "savings_plans": plans})
    assert amounts(made, Kind.COVERED) == ["-0.01", "0.00", "-0.02"]


def test_more_hours_of_usage_than_the_period_has_are_refused() -> None:
    plan = {"hours": 1, "savings_plans": [{"key": "p", "per": "hour", "amount": "6", "percent": "40"}]}
    with pytest.raises(ValueError, match="more hours"):
        billed([hourly("a", "1", "1")], plan)


def test_a_shortfall_takes_back_no_refund_of_a_closed_month() -> None:
    refund = used("late", "-5", origin=date(2026, 9, 1))
    for name in ("commitments", "minimums"):
        assert billed([used("a", "30"), refund], {name: [{"key": "k", "amount": "50"}]}).total == euros("45")


def test_a_commitment_over_several_periods_is_due_in_its_last() -> None:
    yearly = {"key": "c", "amount": "500", "earlier": "420"}
    assert billed([used("a", "30")], {"commitments": [{**yearly, "closes": False}]}).total == euros("30")
    assert billed([used("a", "30")], {"commitments": [yearly]}).total == euros("80")


def test_a_commitment_for_everything_counts_the_shortfall_of_one_for_a_meter() -> None:
    whole, part = {"key": "w", "amount": "100"}, {"key": "p", "amount": "40", "meters": ["requests"]}
    made = billed([used("a", "30")], {"commitments": [whole, part]})
    assert amounts(made, Kind.COMMITMENT) == ["40.00", "30.00"]


def test_percentages_come_before_amounts_and_each_takes_from_what_is_left() -> None:
    terms = {"discounts": [
        {"key": "amount", "amount": "5"}, {"key": "first", "percent": "10"},
        {"key": "second", "percent": "50", "projects": [str(TWO)]},
    ]}  # fmt: skip
    made = billed([used("a", "60"), used("b", "40", project=TWO)], terms)
    assert [(line.term, f"{line.amount.amount}") for line in made.lines if line.kind is Kind.DISCOUNT] == [
        ("first", "-6.00"), ("first", "-4.00"), ("second", "-18.00"), ("amount", "-3.75"), ("amount", "-1.25"),
    ]  # fmt: skip
    assert made.total == euros("67")


def test_a_discount_takes_no_more_than_its_scope_costs() -> None:
    terms = {
        "discounts": [{"key": "d", "amount": "500", "meters": ["requests"]}],
        "minimums": [{"key": "m", "amount": "9"}],
    }
    made = billed([used("a", "7"), used("b", "40", price=REQUESTS)], terms)
    assert amounts(made, Kind.DISCOUNT) == ["-40.00"]
    assert amounts(made, Kind.MINIMUM) == ["2.00"]
    assert made.total == euros("9")


def test_credits_are_used_by_priority_then_by_expiry() -> None:
    credits = [
        credit("never", "100"), credit("late", "10", expires_on=date(2027, 5, 1)),
        credit("soon", "10.005", expires_on=date(2026, 12, 1)), credit("first", "5", priority=1),
        credit("gone", "10", expires_on=AT), credit("coming", "10", starts_on=date(2026, 12, 1)),
    ]  # fmt: skip
    made = billed([used("a", "30")], credits=credits)
    assert uses(made) == [
        ("first", "5.00", "0"),
        ("soon", "10.00", "0.005"),
        ("late", "10.00", "0"),
        ("never", "5.00", "95"),
    ]
    assert made.due == euros("0")


def test_promotional_credits_lower_the_taxable_amount_and_paid_ones_pay_it_with_tax() -> None:
    credits = [credit("paid", "100", priority=1), credit("given", "10", CreditKind.PROMOTIONAL)]
    made = billed([used("a", "50")], credits=credits, tax=VAT)
    assert (made.subtotal, made.tax, made.total, made.due) == (euros("40"), euros("8"), euros("48"), euros("0"))
    assert uses(made) == [("given", "10.00", "0"), ("paid", "48.00", "52")]
    first = billed(
        [used("a", "50")], {"paid_first": True}, credits=[credit("paid", "55", priority=9), credits[1]], tax=VAT
    )
    assert (first.tax, first.due) == (euros("10"), euros("0"))
    assert uses(first) == [("paid", "55.00", "0"), ("given", "5.00", "5")]


def test_a_credit_pays_only_for_its_scope_with_its_tax() -> None:
    scope = Scope(projects=frozenset([TWO]))
    made = billed([used("a", "50"), used("b", "10", project=TWO)], credits=[credit("c", "100", scope=scope)], tax=VAT)
    assert uses(made) == [("c", "12.00", "88")]


def test_a_bill_below_zero_is_carried_and_uses_no_credit() -> None:
    made = billed([used("late", "-5", origin=date(2026, 9, 1))], credits=[credit("c", "9")], tax=VAT)
    assert (made.total, made.due, made.carried, made.credits) == (euros("-6"), euros("0"), euros("6"), ())


def test_a_saving_is_shown_and_not_charged() -> None:
    spot = used("a", "10", "0.3", listed=euros("10"), dims={"tier": "spot"})
    made = billed([spot, used("b", "10", "0.8", listed=euros("10")), used("c", "10")])
    assert [(one.usage_key, one.spot, one.saved) for one in made.savings] == [
        ("a", True, euros("7")),
        ("b", False, euros("2")),
    ]
    assert made.total == euros("21")


def test_other_terms_are_compared_line_by_line() -> None:
    usage = [used("a", "60"), used("b", "40", project=TWO)]
    found = difference(
        billed(usage), billed(usage, {"discounts": [{"key": "d", "percent": "10", "projects": [str(ONE)]}]})
    )
    (change,) = found.lines
    assert (change.before, change.after, change.change) == (None, euros("-6"), euros("-6"))
    assert (found.total, found.due) == (euros("-6"), euros("-6"))
    assert difference(billed(usage), billed(usage)).lines == ()


def test_what_cannot_be_billed_is_refused() -> None:
    with pytest.raises(ValueError, match="occurs once"):
        billed([used("a", "1"), used("a", "2")])
    with pytest.raises(ValueError, match="is negative"):
        used("a", "-1")
    with pytest.raises(ValueError, match="occurs once"):
        billed([], credits=[credit("c", "1"), credit("c", "2")])
    with pytest.raises(ValueError, match="above zero"):
        billed([], {"minimums": [{"key": "m", "amount": "0"}]})


def test_a_credit_with_a_fault_is_described() -> None:
    good = credit("c", "1")
    assert list(credit_faults(good)) == []
    bad = replace(good, left=euros("-1"), priority=101, expires_on=good.starts_on)
    assert [fault.where for fault in credit_faults(bad)] == ["left", "priority", "expires_on"]
