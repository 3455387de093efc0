"""What a draft comes to: its usage lines, and the tax of the contract that runs in its month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q

from billing.models import Contract
from billing.money import Money
from billing.queries.lines import InvoiceLine, computed_lines, of_invoice
from billing.rating.tax import taxed


@dataclass(frozen=True, slots=True)
class TaxRow:
    """The tax of one rate, in per cent: what it is on, and what it comes to."""

    rate: Decimal
    taxable: Money
    tax: Money

    def stored(self) -> dict[str, str]:
        """Return the row as it is kept with a finalised invoice."""
        return {"rate": str(self.rate), "taxable": str(self.taxable.amount), "tax": str(self.tax.amount)}

    @classmethod
    def read(cls, kept: Mapping[str, Any], currency: str) -> TaxRow:
        """Return a row that was kept."""
        taxable, tax = (Money(Decimal(kept[name]), currency) for name in ("taxable", "tax"))
        return cls(Decimal(kept["rate"]), taxable, tax)


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice's lines, their sum, and its tax."""

    lines: Sequence[InvoiceLine]
    taxes: Sequence[TaxRow]
    subtotal: Money
    tax: Money

    @property
    def total(self) -> Money:
        """What is to be paid."""
        return self.subtotal + self.tax


def drafts(wanted: Sequence[tuple[UUID, date, str]]) -> dict[UUID, Draft]:
    """Return the drafts of these invoices, each given by id, month and currency."""
    if not wanted:
        return {}
    rates = _tax_rates([period for _, period, _ in wanted])
    found: dict[UUID, Draft] = {}
    for currency in {currency for _, _, currency in wanted}:
        asked = [(invoice_id, period) for invoice_id, period, money in wanted if money == currency]
        lines = computed_lines([period for _, period in asked], currency)
        for invoice_id, period in asked:
            found[invoice_id] = draft_of(of_invoice(invoice_id, lines[period]), rates.get(period), currency)
    return found


def draft_of(lines: Sequence[InvoiceLine], rate: Decimal | None, currency: str) -> Draft:
    """Return the draft of these lines at one rate of tax, in per cent; None: none is agreed, none is charged."""
    zero = Money.zero(currency)
    subtotal = sum((line.amount for line in lines), zero)
    if rate is None:
        return Draft(lines, [], subtotal, zero)
    tax, parts = taxed([line.amount for line in lines], rate, currency)
    listed = [replace(line, tax_rate=rate, tax=part) for line, part in zip(lines, parts, strict=True)]
    return Draft(listed, [TaxRow(rate, subtotal, tax)], subtotal, tax)


def contract_in(period: date) -> Contract | None:
    """Return the contract that runs in a month of the open scope's tenant."""
    return Contract.objects.filter(Q(ends_on=None) | Q(ends_on__gt=period), starts_on__lte=period).first()


def _tax_rates(periods: Sequence[date]) -> dict[date, Decimal | None]:
    rows = list(Contract.objects.values_list("starts_on", "ends_on", "tax_rate"))
    return {
        period: rate
        for period in periods
        for starts, ends, rate in rows
        if starts <= period and (ends is None or period < ends)
    }
