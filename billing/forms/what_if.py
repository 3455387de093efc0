"""The form of a what-if: what would be different from the contract. A form only parses; the comparison decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from django import forms

from billing.forms.fields import AmountField, FractionField, book_label
from billing.forms.terms.form import TermsForm
from billing.money import fineness_fault, minor_decimals
from billing.pricing.what_if import SIMPLE_TERMS, Assumed
from billing.queries.books import BookRow
from billing.queries.prices import ContractView
from billing.rating.billed.reading import read_terms
from tenants.fields.days import MonthField


class WhatIfForm(TermsForm):
    """A month, and another book, other terms or another rate of tax."""

    month = MonthField(label="Month", required=False, help_text="Empty: the last one.")
    book = forms.ChoiceField(label="Price book", required=False)
    tax_rate = FractionField(
        label="Tax in per cent", required=False, min_value=0, max_value=100, max_digits=5, decimal_places=2,
        help_text="Empty: as it is.",
    )  # fmt: skip

    def __init__(
        self,
        data: Any = None,
        *,
        currency: str,
        books: Sequence[BookRow],
        meters: Sequence[tuple[str, str]],
        contract: ContractView | None,
    ) -> None:
        self._agreed: Mapping[str, Any] = contract.terms if contract else {}
        super().__init__(data, currency=currency, agreed=self._agreed, meters=meters)
        choices = [("", "as it is"), *((str(book.id), book_label(book, currency)) for book in books)]
        self.fields["book"].choices = choices  # type: ignore[attr-defined]

    @property
    def assumed(self) -> Assumed:
        """What a valid form changes."""
        terms, of = self.bill_terms, {"currency": self._currency}
        return Assumed(
            book_id=self.cleaned_data["book"] or None,
            terms=None if read_terms({**of, **terms}) == read_terms({**of, **self._agreed}) else terms,
            tax_rate=self.cleaned_data["tax_rate"],
        )


class OwnWhatIfForm(forms.Form):
    """A month, and other simple terms of the organisation's own contract."""

    month = MonthField(label="Month", required=False, help_text="Empty: the last one.")
    commitment = AmountField(label="Commitment a month", required=False, min_value=0)
    minimum = AmountField(label="Minimum a month", required=False, min_value=0)
    discount = FractionField(
        label="Discount in per cent", required=False, min_value=0, max_value=100, max_digits=9, decimal_places=6
    )

    def __init__(self, data: Any = None, *, currency: str, agreed: Mapping[str, Any]) -> None:
        self._own, self._currency = {name: _own(agreed, name) for name in SIMPLE_TERMS}, currency
        super().__init__(data, initial={name: it and f"{it.normalize():f}" for name, it in self._own.items()})
        for name in ("commitment", "minimum"):
            cast("AmountField", self.fields[name]).decimals = minor_decimals(currency)
            self.fields[name].label = f"{self.fields[name].label} ({currency})"

    def clean(self) -> dict[str, Any]:
        """Refuse amounts that are finer than the currency."""
        data = super().clean() or {}
        for name in ("commitment", "minimum"):
            if data.get(name) is not None and (fault := fineness_fault(data[name], self._currency)):
                self.add_error(name, fault)
        return data

    @property
    def changed(self) -> dict[str, Decimal | None]:
        """What a valid form changes; None and zero take a term away."""
        given = {name: self.cleaned_data[name] or None for name in self._own}
        return {name: amount for name, amount in given.items() if amount != self._own[name]}


def _own(agreed: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a simple term of a contract; None without it."""
    listed, value = SIMPLE_TERMS[name]
    found = next((one for one in agreed.get(listed, ()) if one.get("key") == name and one.get(value)), None)
    return None if found is None else Decimal(found[value])
