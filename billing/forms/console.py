"""Forms of the console about prices. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from django import forms

from billing.forms.fields import FractionField, book_label
from billing.forms.terms.form import TermsForm
from billing.pricing.contracts import MOST_DAYS, MOST_GRACE, ContractTerms
from billing.queries.books import BookRow
from billing.queries.prices import ContractView
from tenants.currencies import currency_fault
from tenants.fields.codes import CapitalField

#: What a contract states beside its book and the terms of its bills.
FACTS = [name for name in ContractTerms.__dataclass_fields__ if name not in ("terms", "currency")]


class NewBook(forms.Form):
    """A price book to create."""

    name = forms.CharField(label="Name", max_length=120)
    currency = CapitalField(label="Currency", max_length=3, initial="EUR", help_text="ISO 4217; it stays.")
    copy_of = forms.TypedChoiceField(label="Prices", required=False, empty_value=None)
    reason = forms.CharField(label="Reason", max_length=400)

    def __init__(self, data: Any = None, *, books: Sequence[BookRow]) -> None:
        super().__init__(data)
        copies = [(str(book.id), f"as in {book.name} ({book.currency})") for book in books]
        self.fields["copy_of"].choices = [("", "the defaults"), *copies]  # type: ignore[attr-defined]


class OtherCurrency(forms.Form):
    """The currency to agree on a contract in, which shows what would change."""

    currency = CapitalField(label="Currency", max_length=3, help_text="Three letters, as EUR.")

    def clean_currency(self) -> str:
        """Refuse what is no currency."""
        code = str(self.cleaned_data["currency"])
        if fault := currency_fault(code):
            raise forms.ValidationError(fault)
        return code


class BillingDetailsForm(forms.Form):
    """To whom a tenant's invoices go. Its page has another form with the same fields, so its ids differ."""

    def __init__(self, data: Any = None, *, initial: Any = None) -> None:
        super().__init__(data, initial=initial, auto_id="details_%s")

    billing_name = forms.CharField(label="Bill to", required=False, max_length=200)
    billing_address = forms.CharField(
        label="Address", required=False, max_length=1000, widget=forms.Textarea({"rows": 3})
    )
    country = CapitalField(
        label="Country", required=False, max_length=2, help_text="Two capital letters, as DE. It decides the tax."
    )
    tax_number = forms.CharField(label="Tax number", required=False, max_length=40)
    billing_email = forms.EmailField(label="Email for invoices", required=False)
    reason = forms.CharField(label="Reason", max_length=400, help_text="The organisation reads it in its audit log.")


class NextContract(TermsForm):
    """The next contract of a tenant."""

    currency = forms.CharField(widget=forms.HiddenInput, required=False, max_length=3)
    book = forms.ChoiceField(label="Price book")
    starts_on = forms.TypedChoiceField(label="From", coerce=date.fromisoformat)
    payment_days = forms.IntegerField(label="Days to pay", min_value=0, max_value=MOST_DAYS, initial=30)
    billing_name = forms.CharField(label="Bill to", required=False, max_length=200)
    billing_address = forms.CharField(
        label="Address", required=False, max_length=1000, widget=forms.Textarea({"rows": 3})
    )
    billing_email = forms.EmailField(label="Email for invoices", required=False)
    tax_number = forms.CharField(label="Tax number", required=False, max_length=40)
    tax_rate = FractionField(
        label="Tax in per cent", required=False, min_value=0, max_value=100, max_digits=5, decimal_places=2
    )
    country = CapitalField(label="Country", required=False, max_length=2, help_text="Two capital letters, as DE.")
    grace_days = forms.IntegerField(
        label="Days of grace",
        min_value=0,
        max_value=MOST_GRACE,
        required=False,
        help_text="After a month's end: late usage is awaited so long before its invoice is finalised.",
    )
    reason = forms.CharField(label="Reason", max_length=400, help_text="The organisation reads it in its audit log.")

    def __init__(
        self,
        data: Any = None,
        *,
        currency: str,
        books: Sequence[BookRow],
        months: Sequence[date],
        meters: Sequence[tuple[str, str]],
        last: ContractView | None,
    ) -> None:
        given = {name: getattr(last, name) for name in FACTS} if last else {}
        initial = {**given, "book": str(last.book_id)} if last else {}
        # Amounts of another currency are no terms of this one.
        agreed = last.terms if last and last.currency == currency else {}
        super().__init__(
            data, currency=currency, agreed=agreed, meters=meters, initial={**initial, "currency": currency}
        )
        self.fields["book"].choices = [(str(book.id), book_label(book, currency)) for book in books]  # type: ignore[attr-defined]
        self.fields["starts_on"].choices = [(one.isoformat(), f"{one:%B %Y}") for one in months]  # type: ignore[attr-defined]

    @property
    def agreed(self) -> dict[str, Any]:
        """Return the arguments of `contracts.agree` of a valid form."""
        data = self.cleaned_data
        facts = {name: data[name] for name in FACTS} | {"grace_days": data["grace_days"] or 0}
        terms = ContractTerms(**facts, currency=data["currency"], terms=self.bill_terms)
        return {"book_id": data["book"], "starts_on": data["starts_on"], "terms": terms, "reason": data["reason"]}
