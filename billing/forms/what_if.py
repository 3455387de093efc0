"""The form of a what-if: what would be different from the contract. A form only parses; the comparison decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from billing.forms.terms import TermsForm
from billing.pricing.what_if import Assumed
from billing.queries.books import BookRow
from billing.queries.prices import ContractView
from tenants.fields.days import MonthField


class WhatIfForm(TermsForm):
    """A month, and another book, other terms or another rate of tax."""

    month = MonthField(label="Month", required=False, help_text="Empty: the last one.")
    book = forms.ChoiceField(label="Price book", required=False)
    tax_rate = forms.DecimalField(
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
        choices = [("", "as it is"), *((str(book.id), book.name) for book in books)]
        self.fields["book"].choices = choices  # type: ignore[attr-defined]

    @property
    def assumed(self) -> Assumed:
        """What a valid form changes."""
        terms = self.bill_terms
        return Assumed(
            book_id=self.cleaned_data["book"] or None,
            terms=None if terms == self._agreed else terms,
            tax_rate=self.cleaned_data["tax_rate"],
        )
