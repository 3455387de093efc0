"""Bills: generated usage, terms, credits and tax, against a second computation and against what must always hold."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from billing.money import CurrencyMismatch, Money, minor_decimals
from billing.rating.billed.bills import Bill, bill
from billing.rating.billed.credits import Credit, CreditKind
from billing.rating.billed.lines import Kind, cumulative_parts
from billing.rating.billed.model_lines import target
from billing.rating.billed.price_models import PerUnit
from billing.rating.billed.reading import read_terms, terms_json
from tests.support.billing.cases import PRICES, PROJECTS, billed, cases, usage_line
from tests.support.billing.rerater import Rerated
from tests.support.examples import examples

ALLOCATED = {Kind.MODEL, Kind.DISCOUNT, Kind.CREDIT}
RUNNING = {Kind.COVERED}
AT = date(2026, 11, 1)


def sums(made: Bill) -> tuple[object, ...]:
    """Return all that a bill comes to."""
    return made.subtotal, made.tax, made.total, made.due, made.carried, made.credits


@settings(max_examples=examples(5_000), deadline=None)
@given(cases())
def test_b18_a_re_rater_without_our_code_comes_to_the_same_bill(case: dict[str, Any]) -> None:
    ours, theirs = billed(case), Rerated(case)
    assert (ours.subtotal.minor, ours.total.minor, ours.due.minor) == (theirs.subtotal, theirs.total, theirs.due)
    assert {use.key: use.amount.minor for use in ours.credits} == theirs.used
    nets: dict[tuple[str, str], int] = defaultdict(int)
    for line in ours.lines:
        nets[str(line.project_id or ""), line.meter or ""] += line.amount.minor
    assert {cell: net for cell, net in nets.items() if net} == {cell: net for cell, net in theirs.nets().items() if net}


@settings(max_examples=examples(2_000), deadline=None)
@given(cases())
def test_b7_lines_are_rounded_once_and_add_up(case: dict[str, Any]) -> None:
    made = billed(case)
    currency = made.currency
    unit = Decimal(1).scaleb(-minor_decimals(currency))
    zero = Money.zero(currency)
    assert sum((line.amount for line in made.lines), zero) == made.subtotal
    assert sum((line.gross for line in made.lines), zero) == made.total == made.subtotal + made.tax
    assert sum((row.tax for row in made.taxes), zero) == made.tax
    assert sum((row.taxable for row in made.taxes), zero) == (made.subtotal if made.taxes else zero)
    for row in made.taxes:
        assert row.tax == sum((line.tax or zero for line in made.lines if line.tax_percent == row.percent), zero)
    assert len({line.key for line in made.lines}) == len(made.lines)
    adjusted: dict[tuple[Kind, str | None], list[Money]] = defaultdict(lambda: [zero, zero])
    for line in made.lines:
        assert line.amount == line.amount.rounded()
        if line.kind in ALLOCATED:
            sides = adjusted[line.kind, line.term]
            sides[0] += line.exact
            sides[1] += line.amount
            assert abs(line.amount.amount - line.exact.amount) < unit
        elif line.kind in RUNNING:
            assert abs(line.amount.amount - line.exact.amount) <= unit
        else:
            assert line.amount == line.exact.rounded()
    for exact, amount in adjusted.values():
        assert amount == exact.rounded()


@settings(max_examples=examples(2_000), deadline=None)
@given(cases())
def test_nothing_but_a_refund_falls_below_zero(case: dict[str, Any]) -> None:
    made = billed(case)
    zero = Money.zero(made.currency)
    nets: dict[object, Money] = defaultdict(lambda: zero)
    for line in made.lines:
        nets[line.cell] += line.amount
    refunded = {line.cell for line in made.lines if line.kind is Kind.CORRECTION and line.amount < zero}
    assert all(net >= zero for cell, net in nets.items() if cell not in refunded)
    assert zero <= made.due <= max(made.total, zero)
    assert made.carried == max(-made.total, zero)
    left = {one["key"]: Decimal(one["left"]) for one in case["credits"]}
    for use in made.credits:
        assert use.amount > zero
        assert use.left >= zero
        assert use.amount.amount + use.left.amount == left[use.key]
    for plan in made.plans:
        assert zero <= plan.used <= plan.committed
        assert zero <= plan.covered <= plan.eligible


@settings(max_examples=examples(1_000), deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_usage_and_credits_changes_nothing(case: dict[str, Any], dice: random.Random) -> None:
    usage, credits = case["usage"][:], case["credits"][:]
    dice.shuffle(usage)
    dice.shuffle(credits)
    assert billed({**case, "usage": usage, "credits": credits}) == billed(case)


@settings(max_examples=examples(1_000), deadline=None)
@given(cases(), st.sampled_from(PROJECTS), st.sampled_from(list(PRICES)), st.sampled_from(["a", "zz"]))
def test_usage_of_zero_changes_no_sum(case: dict[str, Any], project: str, price: str, key: str) -> None:
    nothing = {
        "key": key, "project": project, "meter": PRICES[price], "price": price, "quantity": "0", "unit": "1",
        "amount": "0", "listed": "0", "origin": None, "hours": [],
    }  # fmt: skip
    assert sums(billed({**case, "usage": [*case["usage"], nothing]})) == sums(billed(case))


@settings(max_examples=examples(1_000), deadline=None)
@given(cases(late=False), st.integers(0, 9), st.integers(1, 9))
def test_usage_in_two_lines_costs_the_same_but_for_one_rounding(case: dict[str, Any], index: int, tenths: int) -> None:
    assume(index < len(case["usage"]))
    terms = read_terms({"currency": case["terms"]["currency"], "models": case["terms"]["models"]})
    usage = [usage_line(one, terms.currency) for one in case["usage"]]
    line, share = usage.pop(index), Decimal(tenths) / 10
    first = replace(line, key="first", quantity=line.quantity * share, amount=line.amount * share)
    second = replace(line, key="second", quantity=line.quantity - first.quantity, amount=line.amount - first.amount)
    whole, halves = bill([*usage, line], terms, at=AT), bill([*usage, first, second], terms, at=AT)
    assert abs(whole.total.minor - halves.total.minor) <= 1


@settings(max_examples=examples(1_000), deadline=None)
@given(cases(late=False))
def test_b7_a_modelled_price_comes_to_its_amount_within_half_a_minor_unit(case: dict[str, Any]) -> None:
    terms = read_terms({"currency": case["terms"]["currency"], "models": case["terms"]["models"]})
    usage = [usage_line(one, terms.currency) for one in case["usage"]]
    made = bill(usage, terms, at=AT)
    half = Decimal(5).scaleb(-minor_decimals(terms.currency) - 1)
    for model in terms.models:
        if isinstance(model.model, PerUnit) and not model.included:
            continue
        own = [line for line in usage if line.price_id in model.prices]
        exact = target(
            model, sum((one.quantity for one in own), Decimal(0)), sum((one.amount.amount for one in own), Decimal(0))
        )
        lines = [one for one in made.lines if one.price_id in model.prices or one.term == model.key]
        assert abs(sum((one.amount.amount for one in lines), Decimal(0)) - exact) <= half


@settings(max_examples=examples(1_000), deadline=None)
@given(cases())
def test_terms_survive_their_json(case: dict[str, Any]) -> None:
    terms = read_terms(case["terms"])
    assert read_terms(terms_json(terms)) == terms


@given(st.integers(-(10**6), 10**6), st.lists(st.integers(-1000, 1000), min_size=1, max_size=9))
def test_tax_of_a_rate_is_shared_out_exactly(total: int, weights: list[int]) -> None:
    parts = cumulative_parts(total, weights)
    assert sum(parts) == total
    if sum(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - Decimal(total) * weight / sum(weights)) <= 1


def test_b13_another_currency_is_refused_wherever_it_appears() -> None:
    line = {
        "key": "a", "project": PROJECTS[0], "meter": "seconds", "price": next(iter(PRICES)), "quantity": "1", "unit": "1",
        "amount": "1", "listed": "1", "origin": None, "hours": [],
    }  # fmt: skip
    terms = read_terms({"currency": "EUR"})
    with pytest.raises(CurrencyMismatch):
        bill([usage_line(line, "USD")], terms, at=AT)
    for kind in CreditKind:
        foreign = Credit("c", kind, Money(Decimal(1), "USD"), AT)
        with pytest.raises(CurrencyMismatch):
            bill([usage_line(line, "EUR")], terms, credits=[foreign], at=AT)
