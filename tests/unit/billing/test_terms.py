"""Terms from forms and JSON: what is wrong with them is described with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from billing.rating.billed.faults import terms_fault, terms_faults
from billing.rating.billed.reading import read_terms, terms_json
from tests.support.billing.examples import SECONDS, agreed

PRICED = {"key": "m", "meter": "seconds", "prices": [str(SECONDS)]}
FULL: dict[str, Any] = {
    "currency": "EUR",
    "models": [
        {**PRICED, "model": "graduated", "included": "5",
         "tiers": [{"up_to": "10", "unit_amount": "1", "flat_amount": "0"},
                   {"unit_amount": "0.000000000001", "flat_amount": "2"}]},
        {**PRICED, "key": "f", "prices": [], "model": "flat", "amount": "10", "included": "0"},
    ],
    "savings_plans": [{"key": "p", "per": "hour", "amount": "0.000001", "percent": "30", "meters": ["seconds"], "projects": []}],
    "commitments": [{"key": "c", "amount": "10", "earlier": "-1", "closes": False, "meters": [], "projects": []}],
    "discounts": [{"key": "d", "percent": "12.5", "meters": [], "projects": [str(SECONDS)]}],
    "minimums": [{"key": "n", "amount": "10", "meters": [], "projects": []}],
    "hours": 744,
    "paid_first": True,
    "prepaid": True,
}  # fmt: skip


def tiered(*ends: str | None) -> dict[str, Any]:
    """Return terms whose tiers end there."""
    tiers = [{"up_to": end, "unit_amount": "1"} for end in ends]
    return {"models": [{**PRICED, "model": "volume", "tiers": tiers}]}


def test_terms_without_fault_are_written_as_they_were_read() -> None:
    terms = read_terms(FULL)
    assert terms_faults(terms) == []
    assert terms_json(terms) == FULL


@pytest.mark.parametrize(
    ("terms", "where", "message"),
    [
        ({"currency": "EU1"}, "currency", "Use a code of ISO 4217, such as EUR, USD or JPY."),
        (tiered("10", "10", None), "models.0.tiers.1.up_to", "End tier 2 above 10, where it begins."),
        (tiered("0", None), "models.0.tiers.0.up_to", "End tier 1 above 0, where it begins."),
        (tiered("10", "20"), "models.0.tiers.1.up_to", "Leave the end of tier 2 empty: the last tier has no end."),
        (tiered(None, None), "models.0.tiers.0.up_to", "Give the end of tier 1: only the last tier has none."),
        (tiered(), "models.0.tiers", "Give 1 to 20 tiers."),
        (tiered(*[str(end) for end in range(1, 21)], None), "models.0.tiers", "Give 1 to 20 tiers."),
        (tiered("1.0000001", None), "models.0.tiers.0.up_to", "Give at most 6 decimals."),
        ({"models": [{**PRICED, "model": "flat", "amount": "-1"}]}, "models.0.amount", "Give a number that is not negative."),
        ({"models": [{**PRICED, "model": "flat", "amount": "1", "included": "1"}]}, "models.0.included",
         "Leave the included units out: a flat price has no units."),
        ({"models": [{**PRICED, "model": "package", "size": "0", "amount": "1"}]}, "models.0.size", "Give a number above zero."),
        ({"models": [{**PRICED, "model": "per_unit", "prices": []}]}, "models.0.prices", "Choose at least one price, or say by dimensions which it covers."),
        ({"models": [{**PRICED, "model": "per_unit"}, {**PRICED, "key": "n", "model": "per_unit"}]}, "models.1.prices",
         "Take the price out of one of the two models that name it."),
        ({"discounts": [{"key": "d"}]}, "discounts.0", "Give either a percentage or an amount."),
        ({"discounts": [{"key": "d", "percent": "1", "amount": "1"}]}, "discounts.0", "Give either a percentage or an amount."),
        ({"discounts": [{"key": "d", "percent": "100.1"}]}, "discounts.0.percent", "Give a percentage above 0, at most 100."),
        ({"discounts": [{"key": "d", "percent": "0"}]}, "discounts.0.percent", "Give a percentage above 0, at most 100."),
        ({"discounts": [{"key": "d", "amount": "0.001"}]}, "discounts.0.amount", "Give the amount with at most 2 decimals."),
        ({"savings_plans": [{"key": "p", "per": "month", "amount": "1", "percent": "100"}]}, "savings_plans.0.percent",
         "Give a percentage from 0, below 100."),
        ({"minimums": [{"key": "m", "amount": "1E+13"}]}, "minimums.0.amount", "Give a number of at most 10^12."),
        ({"minimums": [{"key": "m", "amount": "1"}, {"key": "m", "amount": "1"}]}, "minimums.1.key",
         "Use another key: m appears twice."),
        ({"minimums": [{"key": "a:b", "amount": "1"}]}, "minimums.0.key", "Use 1 to 60 letters, digits, _ . and - for the key."),
        ({"minimums": [{"key": f"m{n}", "amount": "1"} for n in range(51)]}, "minimums", "Give at most 50 entries."),
        ({"discounts": [{"key": "d", "percent": "1", "meters": [str(n) for n in range(201)]}]}, "discounts.0.meters",
         "Choose at most 200, or leave it empty for all."),
        ({"hours": 0}, "hours", "Give the number of hours of the period, at least 1."),
    ],
)  # fmt: skip
def test_a_fault_names_its_field_and_what_to_do(terms: dict[str, Any], where: str, message: str) -> None:
    found = terms_faults(agreed(**terms))
    assert (where, message) in found
    assert terms_fault(agreed(**terms)) == found[0].message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "Write an object for terms."),
        ({"currency": 1}, "Write a text for terms.currency."),
        ({"colour": 1}, "Leave colour out of terms: it has no such field."),
        ({"models": {}}, "Write a list for terms.models."),
        ({"models": [1]}, "Write an object for terms.models.0."),
        ({"models": [{**PRICED, "model": "free"}]}, "Choose terms.models.0.model from per_unit, flat, graduated, volume, package."),
        ({"models": [{**PRICED, "model": "flat"}]}, "Give terms.models.0.amount as a decimal number in quotes."),
        ({"models": [{**PRICED, "prices": ["x"], "model": "per_unit"}]}, "Write a list of ids for terms.models.0.prices."),
        ({"minimums": [{"key": "m", "amount": 1}]}, "Write terms.minimums.0.amount as a decimal number in quotes."),
        ({"minimums": [{"key": "m", "amount": "NaN"}]}, "Write terms.minimums.0.amount as a decimal number in quotes."),
        ({"minimums": [{"key": "m", "amount": "1" * 61}]}, "Write terms.minimums.0.amount as a decimal number in quotes."),
        ({"minimums": [{"key": "m", "amount": "1", "meters": [1]}]}, "Write a list of texts for terms.minimums.0.meters."),
        ({"hours": True}, "Write a whole number for terms.hours."),
        ({"paid_first": "yes"}, "Write true or false for terms.paid_first."),
    ],
)  # fmt: skip
def test_json_that_is_no_terms_is_refused_with_its_field(data: Any, message: str) -> None:
    whole = {"currency": "EUR", **data} if isinstance(data, dict) else data
    with pytest.raises(ValueError, match=r"\w") as refused:
        read_terms(whole)
    assert str(refused.value) == message
