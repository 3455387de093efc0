"""Tax on a bill: which rate applies, and how much it comes to. Prices are without tax.

Place of supply: the customer's country. Within the EU, a business with a tax id of another member state than the
seller's owes the tax itself (reverse charge, article 196 of directive 2006/112/EC); a customer without one pays the rate
of their own country. Outside the EU a country's rate applies if the table has one for it, else nothing is due there.
An exempt customer pays none. Notes are codes of the VATEX list and categories those of UNCL 5305, both as EN 16931 uses
them on invoices.

Rounding: once for each rate, on the sum of its lines, as EN 16931 computes it. The tax of a rate is then distributed
over its lines by the growth of the running, rounded share, so that a credit note for some lines returns their part and
the parts add up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from billing.money import Money
from billing.rating.billed.faults import Fault, percent_faults
from billing.rating.billed.lines import Line, cumulative_parts, money_of, percent_of

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EU = frozenset(_EU.split())
PREFIXES = {"EL": "GR"}
"""Prefixes of tax ids that differ from the country's code."""
STANDARD = "standard"
COUNTRY = re.compile(r"[A-Z]{2}")
MOST_RATES = 500
ZERO = Decimal(0)


class Treatment(StrEnum):
    """Why a rate applies."""

    STANDARD = "standard"
    REVERSE_CHARGE = "reverse_charge"
    EXEMPT = "exempt"
    OUTSIDE_SCOPE = "outside_scope"


CATEGORIES = {
    Treatment.STANDARD: "S",
    Treatment.REVERSE_CHARGE: "AE",
    Treatment.EXEMPT: "E",
    Treatment.OUTSIDE_SCOPE: "O",
}
NOTES = {Treatment.REVERSE_CHARGE: "VATEX-EU-AE", Treatment.OUTSIDE_SCOPE: "VATEX-EU-O"}
STALE = "The gateway computed the tax for other amounts. Have it computed again."


class MissingRate(ValueError):
    """The tax cannot be known: a country is missing, or no rate is in force for it and the product."""


class StaleTax(ValueError):
    """A gateway computed the tax for other amounts: have it computed again."""


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A country's rate for a product, in percent, from `starts_on` until the day before `ends_on`; `name` is on invoices."""

    country: str
    percent: Decimal
    starts_on: date
    ends_on: date | None = None
    product: str = STANDARD
    name: str = ""


@dataclass(frozen=True, slots=True)
class FixedTax:
    """What a gateway computed for one product: it is used as it is, for exactly this taxable amount."""

    percent: Decimal
    taxable: Money
    tax: Money
    product: str = STANDARD
    treatment: Treatment = Treatment.STANDARD


@dataclass(frozen=True, slots=True)
class TaxTerms:
    """Seller, customer and rates. `products` maps meters to products; what it does not name is standard.

    Countries are codes of ISO 3166. A product without a rate of its own has its country's standard rate. `exempt_note`
    is the code of the ground for an exemption. `fixed` is a gateway's result for all products, in place of the rates.
    """

    seller_country: str
    buyer_country: str
    rates: tuple[TaxRate, ...] = ()
    tax_id: str | None = None
    exempt: bool = False
    exempt_note: str | None = None
    products: Mapping[str, str] = field(default_factory=dict)
    fixed: tuple[FixedTax, ...] | None = None

    def product(self, meter: str | None) -> str:
        """Return the product of a line's meter."""
        return STANDARD if meter is None else self.products.get(meter, STANDARD)


@dataclass(frozen=True, slots=True)
class TaxRow:
    """The tax of one rate. `taxable` is the sum of its rounded lines, `note` the code of the note on the invoice."""

    country: str
    treatment: Treatment
    percent: Decimal
    taxable: Money
    tax: Money
    note: str | None = None
    fixed: bool = False
    name: str = ""

    @property
    def category(self) -> str:
        """The category of UNCL 5305; a standard rate of zero is Z."""
        return "Z" if self.treatment is Treatment.STANDARD and not self.percent else CATEGORIES[self.treatment]


def treatment(terms: TaxTerms) -> Treatment:
    """Return how the customer is taxed."""
    seller, buyer = terms.seller_country, terms.buyer_country
    if terms.exempt:
        return Treatment.EXEMPT
    if seller != buyer and seller in EU and buyer in EU:
        registered = tax_id_country(terms.tax_id)
        return Treatment.REVERSE_CHARGE if registered in EU - {seller} else Treatment.STANDARD
    if seller == buyer or any(rate.country == buyer for rate in terms.rates):
        return Treatment.STANDARD
    return Treatment.OUTSIDE_SCOPE


def tax_id_country(tax_id: str | None) -> str | None:
    """Return the country that a tax id names by its prefix."""
    prefix = (tax_id or "")[:2].upper()
    return PREFIXES.get(prefix, prefix) or None


def rate_for(terms: TaxTerms, product: str, at: date) -> TaxRate:
    """Return the rate in force at the customer's on a day. Raises MissingRate."""
    for name in (product, STANDARD):
        found = [
            rate
            for rate in terms.rates
            if (rate.country, rate.product) == (terms.buyer_country, name)
            and rate.starts_on <= at
            and (rate.ends_on is None or at < rate.ends_on)
        ]
        if found:
            return max(found, key=lambda rate: rate.starts_on)
    raise MissingRate(f"No tax rate for {terms.buyer_country} is in force on {at}. Add one to the table of rates.")


def highest_percent(terms: TaxTerms, at: date) -> Decimal:
    """Return the highest percentage that a customer's lines may have on a day; 0 if none is in force."""
    if treatment(terms) is not Treatment.STANDARD:
        return ZERO
    in_force = (rate for rate in terms.rates if rate.country == terms.buyer_country and rate.starts_on <= at)
    return max((rate.percent for rate in in_force if rate.ends_on is None or at < rate.ends_on), default=ZERO)


def taxed(lines: Sequence[Line], terms: TaxTerms, currency: str, at: date) -> tuple[list[Line], list[TaxRow]]:
    """Return the lines with their part of the tax, and one row for each rate, higher rates first.

    Raises MissingRate, or StaleTax if a gateway's tax is for other amounts.
    """
    _check_countries(terms)
    groups: dict[object, list[int]] = {}
    how = treatment(terms)
    percents: dict[str, Decimal] = {}
    names: dict[Decimal, str] = {}
    for index, line in enumerate(lines):
        product = terms.product(line.meter)
        if terms.fixed is None and product not in percents:
            rate = rate_for(terms, product, at) if how is Treatment.STANDARD else None
            percents[product] = rate.percent if rate else ZERO
            names.setdefault(percents[product], rate.name if rate else "")
        groups.setdefault(product if terms.fixed is not None else percents[product], []).append(index)
    result, rows = list(lines), []
    fixed = {one.product: one for one in terms.fixed or ()}
    for group, indexes in groups.items():
        taxable = _sum((lines[index].amount for index in indexes), currency)
        if isinstance(group, Decimal):
            tax = percent_of(taxable, group).rounded()
            row = TaxRow(terms.buyer_country, how, group, taxable, tax, _note(terms, how), name=names[group])
        else:
            row = _fixed_row(terms, fixed.get(str(group)), taxable)
        parts = cumulative_parts(row.tax.minor, [lines[index].amount.minor for index in indexes])
        for index, part in zip(indexes, parts, strict=True):
            result[index] = replace(lines[index], tax=money_of(part, currency), tax_percent=row.percent)
        rows.append(row)
    if any(one.tax or one.taxable for product, one in fixed.items() if product not in groups):
        raise StaleTax(STALE)
    return result, sorted(rows, key=lambda row: (-row.percent, row.taxable.amount))


def _check_countries(terms: TaxTerms) -> None:
    if terms.exempt or terms.fixed is not None:
        return
    if not terms.seller_country:
        raise MissingRate("The seller has tax rates, but no country. Enter it under Invoices, Seller.")
    if not terms.buyer_country:
        raise MissingRate("The contract has no country, which decides the tax. Enter the customer's.")


def _fixed_row(terms: TaxTerms, found: FixedTax | None, taxable: Money) -> TaxRow:
    zero = Money.zero(taxable.currency)
    given = found or FixedTax(ZERO, zero, zero)
    if given.taxable - taxable or given.tax - given.tax.rounded() or (given.tax and not taxable):
        raise StaleTax(STALE)
    note = _note(terms, given.treatment)
    return TaxRow(terms.buyer_country, given.treatment, given.percent, taxable, given.tax, note, fixed=True)


def _note(terms: TaxTerms, how: Treatment) -> str | None:
    return terms.exempt_note if how is Treatment.EXEMPT else NOTES.get(how)


def _sum(amounts: Iterable[Money], currency: str) -> Money:
    total = Money.zero(currency)
    for amount in amounts:
        total += amount
    return total


def tax_faults(terms: TaxTerms) -> Iterator[Fault]:
    """Yield the faults of tax terms: countries, percentages, and rates that overlap."""
    for name in ("seller_country", "buyer_country"):
        if not COUNTRY.fullmatch(getattr(terms, name)):
            yield Fault(name, "Use a country's code of two capital letters, such as DE.")
    if len(terms.rates) > MOST_RATES:
        yield Fault("rates", f"Give at most {MOST_RATES} rates.")
        return
    ordered = sorted(enumerate(terms.rates), key=lambda one: (one[1].country, one[1].product, one[1].starts_on))
    for index, rate in ordered:
        if not COUNTRY.fullmatch(rate.country):
            yield Fault(f"rates.{index}.country", "Use a country's code of two capital letters, such as DE.")
        yield from percent_faults(f"rates.{index}.percent", rate.percent, zero=True)
        if rate.ends_on is not None and rate.ends_on <= rate.starts_on:
            yield Fault(f"rates.{index}.ends_on", f"Choose an end after {rate.starts_on}, when the rate begins.")
    for (_, one), (index, following) in pairwise(ordered):
        same = (one.country, one.product) == (following.country, following.product)
        if same and (one.ends_on is None or one.ends_on > following.starts_on):
            yield Fault(f"rates.{index}.starts_on", f"End the rate of {one.starts_on} by {following.starts_on} first.")
