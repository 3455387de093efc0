"""Tax: the rate that applies, its sum, and its parts by line."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.money import Money
from billing.rating.billed.tax import FixedTax, MissingRate, StaleTax, TaxRate, TaxTerms, Treatment, tax_faults
from tests.support.billing.examples import REQUESTS, TWO, billed, euros, used

START = date(2021, 1, 1)
RATES = (
    TaxRate("DE", Decimal(19), START), TaxRate("DE", Decimal(7), START, product="reduced"),
    TaxRate("FR", Decimal("19.6"), START, date(2026, 11, 1)), TaxRate("FR", Decimal(20), date(2026, 11, 1)),
    TaxRate("CH", Decimal("8.1"), START),
)  # fmt: skip
HOME = TaxTerms("DE", "DE", RATES)


@pytest.mark.parametrize(
    ("seller", "buyer", "tax_id", "treatment", "percent", "category"),
    [
        ("DE", "DE", None, "standard", "19", "S"), ("DE", "DE", "FR40303265045", "standard", "19", "S"),
        ("DE", "FR", None, "standard", "20", "S"), ("DE", "FR", "DE123456789", "standard", "20", "S"),
        ("DE", "FR", "FR40303265045", "reverse_charge", "0", "AE"), ("DE", "GR", "EL094259216", "reverse_charge", "0", "AE"),
        ("DE", "CH", "CHE123456788", "standard", "8.1", "S"), ("DE", "US", None, "outside_scope", "0", "O"),
        ("CH", "FR", "FR40303265045", "standard", "20", "S"),
    ],
)  # fmt: skip
def test_the_customer_s_country_and_tax_id_decide(
    seller: str, buyer: str, tax_id: str | None, treatment: str, percent: str, category: str
) -> None:
    (row,) = billed([used("a", "100")], tax=TaxTerms(seller, buyer, RATES, tax_id)).taxes
    assert (row.treatment.value, row.percent, row.category) == (treatment, Decimal(percent), category)
    assert row.tax == euros("100") * (Decimal(percent) / 100)
    assert (row.note is None) == (treatment == "standard")


def test_an_exempt_customer_pays_no_tax_and_the_ground_is_noted() -> None:
    (row,) = billed([used("a", "100")], tax=replace(HOME, exempt=True, exempt_note="VATEX-EU-132")).taxes
    assert (row.treatment, row.tax, row.note, row.category) == (Treatment.EXEMPT, euros("0"), "VATEX-EU-132", "E")


def test_the_rate_of_the_day_applies_and_a_missing_one_stops_the_bill() -> None:
    france = TaxTerms("DE", "FR", RATES)
    assert [billed([used("a", "100")], tax=france, at=day).tax for day in (date(2026, 10, 31), date(2026, 11, 1))] == [
        euros("19.6"), euros("20"),
    ]  # fmt: skip
    with pytest.raises(MissingRate, match="No tax rate for ES"):
        billed([used("a", "1")], tax=TaxTerms("DE", "ES", RATES))
    with pytest.raises(MissingRate):
        billed([used("a", "1")], tax=HOME, at=date(2020, 12, 31))
    ended = replace(HOME, rates=(TaxRate("DE", Decimal(16), START, date(2026, 11, 1)),))
    assert billed([used("a", "100")], tax=ended, at=date(2026, 10, 31)).tax == euros("16")
    with pytest.raises(MissingRate):
        billed([used("a", "1")], tax=ended, at=date(2026, 11, 1))


def test_tax_is_rounded_once_for_each_rate_and_its_parts_add_up() -> None:
    usage = [used(f"{n}", "0.33", project=TWO) for n in range(3)] + [used("r", "10", price=REQUESTS)]
    made = billed(usage, tax=replace(HOME, products={"requests": "reduced"}))
    # 0.99 at 19 % is 0.1881, so 0.19; line by line it would have been 0.18.
    assert [(row.percent, row.taxable, row.tax) for row in made.taxes] == [
        (19, euros("0.99"), euros("0.19")), (7, euros("10"), euros("0.70")),
    ]  # fmt: skip
    assert [line.tax for line in made.lines] == [euros("0.06"), euros("0.07"), euros("0.06"), euros("0.70")]


def test_discounts_lower_the_tax_of_the_rate_that_they_belong_to() -> None:
    terms = {"discounts": [{"key": "d", "amount": "50", "meters": ["requests"]}]}
    usage = [used("a", "100"), used("r", "100", price=REQUESTS)]
    made = billed(usage, terms, tax=replace(HOME, products={"requests": "reduced"}))
    assert [(row.percent, row.taxable, row.tax) for row in made.taxes] == [
        (19, euros("100"), euros("19")), (7, euros("50"), euros("3.5")),
    ]  # fmt: skip


def fixed(**more: Any) -> TaxTerms:
    """Return terms with a gateway's result for 100.00."""
    return replace(
        HOME, fixed=(FixedTax(**{"percent": Decimal("8.875"), "taxable": euros("100"), "tax": euros("8.88"), **more}),)
    )


def test_what_a_gateway_computed_is_used_as_it_is() -> None:
    made = billed([used("a", "60"), used("b", "40", project=TWO)], tax=fixed())
    assert (made.tax, made.total) == (euros("8.88"), euros("108.88"))
    assert made.taxes[0].fixed
    assert [line.tax for line in made.lines] == [euros("5.33"), euros("3.55")]


@pytest.mark.parametrize(
    "more",
    [{"taxable": euros("99")}, {"tax": euros("8.875")}, {"product": "other"}, {"taxable": euros("0"), "product": "x"}],
)
def test_what_a_gateway_computed_for_other_amounts_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(StaleTax, match="computed again"):
        billed([used("a", "100")], tax=fixed(**more))


def test_tax_has_the_bill_s_currency() -> None:
    with pytest.raises(TypeError):
        billed([used("a", "100")], tax=fixed(tax=Money(Decimal(8), "USD")))


def test_rates_with_faults_are_described() -> None:
    assert list(tax_faults(HOME)) == []
    rates = (
        TaxRate("de", Decimal(19), START), TaxRate("FR", Decimal(101), START), TaxRate("FR", Decimal(20), date(2026, 1, 1)),
        TaxRate("IT", Decimal(22), START, START),
    )  # fmt: skip
    found = {fault.where: fault.message for fault in tax_faults(TaxTerms("Germany", "DE", rates))}
    assert list(found) == [
        "seller_country",
        "rates.1.percent",
        "rates.3.ends_on",
        "rates.0.country",
        "rates.2.starts_on",
    ]
    assert found["rates.2.starts_on"] == "End the rate of 2021-01-01 by 2026-01-01 first."
    assert [fault.where for fault in tax_faults(replace(HOME, rates=RATES[:1] * 501))] == ["rates"]
