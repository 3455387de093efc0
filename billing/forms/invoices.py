"""Forms of the console about invoices. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from django import forms

from billing import second_person as rule
from billing.forms.fields import AmountField, filled
from billing.invoices.crediting import PaidBack, Part
from billing.invoices.parties import LONGEST, Party
from billing.invoices.paying import LONGEST_REFERENCE, Received
from billing.invoices.reminders import HELP, Step, from_text
from billing.money import fineness_fault, minor_decimals
from billing.queries.invoices import InvoiceView
from billing.queries.issued import InvoiceFilter
from billing.queries.lines import InvoiceLine
from tenants.errors import Invalid
from tenants.fields.codes import CapitalField
from tenants.fields.days import DayField, MonthField

STATUSES = [
    ("draft", "Draft"),
    ("in_review", "In review"),
    ("open", "Open"),
    ("past_due", "Past due"),
    ("paid", "Paid"),
    ("void", "Void"),
]


class ListFilter(forms.Form):
    """Filter of the list of invoices; invalid values are ignored and marked."""

    status = forms.ChoiceField(required=False, choices=[("", "All"), *STATUSES], widget=forms.HiddenInput)
    month = MonthField(required=False, label="Month")
    organisation = forms.CharField(required=False, label="Organisation", max_length=100)

    @property
    def chosen(self) -> InvoiceFilter:
        """What the valid fields ask for."""
        self.is_valid()
        data = self.cleaned_data
        return InvoiceFilter(
            status=data.get("status") or None, period=data.get("month"), text=data.get("organisation") or ""
        )


class SellerForm(forms.Form):
    """Who issues invoices."""

    name = forms.CharField(label="Name", max_length=LONGEST["name"])
    address = forms.CharField(label="Address", max_length=LONGEST["address"], widget=forms.Textarea({"rows": 3}))
    country = CapitalField(
        label="Country", required=False, max_length=LONGEST["country"], help_text="Two capital letters, such as DE."
    )
    tax_number = forms.CharField(label="Tax number", required=False, max_length=LONGEST["tax_number"])
    email = forms.EmailField(label="Email for questions", required=False, max_length=LONGEST["email"])
    how_to_pay = forms.CharField(
        label="How to pay",
        required=False,
        max_length=LONGEST["how_to_pay"],
        widget=forms.Textarea({"rows": 3}),
        help_text="Such as a bank account. It stands on each invoice.",
    )
    sends_invoices = forms.BooleanField(
        label="Send each invoice by email when it is finalised",
        required=False,
        help_text="To the billing address of the contract, else to those who manage invoices.",
    )
    dunning = forms.CharField(label="Reminders of unpaid invoices", required=False, max_length=300, help_text=HELP)
    second_person = forms.BooleanField(
        label="A second operator approves finalising, voiding and crediting", required=False
    )
    second_person_from = forms.CharField(
        label="From these amounts", required=False, max_length=300, help_text=rule.HELP
    )
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in the operator log.")

    def clean_second_person_from(self) -> Mapping[str, Decimal]:
        """Read the amounts."""
        try:
            return rule.from_text(self.cleaned_data["second_person_from"])
        except Invalid as refused:
            raise forms.ValidationError(refused.fields["second_person_from"]) from None

    @property
    def second_rule(self) -> rule.SecondPerson:
        """From which amounts a second operator approves, of a valid form."""
        return rule.SecondPerson(self.cleaned_data["second_person"], self.cleaned_data["second_person_from"])

    def clean_dunning(self) -> Sequence[Step]:
        """Read the schedule."""
        try:
            return from_text(self.cleaned_data["dunning"])
        except Invalid as refused:
            raise forms.ValidationError(refused.fields["dunning"]) from None

    @property
    def party(self) -> Party:
        """The seller of a valid form."""
        return Party(**{name: self.cleaned_data[name] for name in LONGEST})


class VoidForm(forms.Form):
    """Why an invoice is void, and whether another takes its place."""

    reissue = forms.BooleanField(label="Open a draft of the same month in its place", required=False, initial=True)
    reason = forms.CharField(label="Reason, which the organisation reads on the invoice", max_length=400)


class DeferForm(forms.Form):
    """Until when launches go on despite an overdue invoice."""

    until = DayField(label="Launches go on until", help_text="That day included. Yesterday ends a deferral.")
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in both logs.")


class Settling(forms.Form):
    """A form that changes what is settled of an invoice; `shown` is what it showed, so that no second click counts."""

    shown = forms.CharField(widget=forms.HiddenInput, max_length=100)

    def __init__(self, data: Any = None, *, invoice: InvoiceView, **given: Any) -> None:
        super().__init__(data, initial={"shown": settled(invoice), **given})
        self._invoice = invoice

    def clean(self) -> dict[str, Any]:
        """Refuse a form that shows the invoice before its last payment or credit note."""
        if self.cleaned_data.get("shown") != settled(self._invoice):
            self.data = dict(self.data.items()) | {"shown": settled(self._invoice)}
            raise forms.ValidationError(
                "Money was credited or paid since this form was opened. Check what is due now, then send it again."
            )
        return self.cleaned_data


class PaymentForm(Settling):
    """A payment that arrived."""

    amount = AmountField(label="Amount", max_digits=38, decimal_places=12)
    received_on = DayField(label="Received on")
    reference = forms.CharField(label="Reference", required=False, max_length=LONGEST_REFERENCE)

    def __init__(self, data: Any = None, *, invoice: InvoiceView, **given: Any) -> None:
        decimals = minor_decimals(invoice.currency)
        if "amount" in given:
            given["amount"] = filled(given["amount"], decimals)
        super().__init__(data, invoice=invoice, **given)
        cast(AmountField, self.fields["amount"]).decimals = decimals

    @property
    def received(self) -> Received:
        """The payment of a valid form."""
        return Received(**{name: self.cleaned_data[name] for name in ("amount", "received_on", "reference")})


class CreditForm(Settling):
    """A credit note: an amount for each line to credit, or all that is left of the invoice."""

    paid_back = forms.ChoiceField(
        label="What was paid already",
        choices=[("refund", "goes back to the payer"), ("wallet", "goes into the wallet")],
    )
    reason = forms.CharField(label="Reason, which the organisation reads on the credit note", max_length=400)

    def __init__(
        self,
        data: Any = None,
        *,
        invoice: InvoiceView,
        lines: Sequence[InvoiceLine],
        given: Mapping[str, Any] | None = None,
    ) -> None:
        decimals = minor_decimals(invoice.currency)
        first = {name: filled(it, decimals) if isinstance(it, Decimal) else it for name, it in (given or {}).items()}
        super().__init__(data, invoice=invoice, **first)
        self._lines = {f"line_{line.n}": line for line in lines}
        for name, line in self._lines.items():
            self.fields[name] = AmountField(
                label=f"Credit of line {line.n}",
                required=False,
                max_digits=38,
                decimal_places=12,
                decimals=decimals,
            )

    def clean(self) -> dict[str, Any]:
        """Check each amount by itself, and that there is one; a form for the whole invoice needs none."""
        super().clean()
        for name in self._lines:
            amount = self.cleaned_data.get(name)
            if amount is None:
                continue
            fault = fineness_fault(amount, self._invoice.currency) if amount > 0 else "Give an amount above 0."
            if fault:
                self.add_error(name, fault)
        if not self.whole and not self.errors and not self.parts:
            raise forms.ValidationError("Give an amount for at least one line, or credit the whole invoice.")
        return self.cleaned_data

    @property
    def whole(self) -> bool:
        """Whether all that is left is to be credited."""
        return "whole" in self.data

    @property
    def parts(self) -> list[Part]:
        """What to take off each line; nothing for the whole invoice."""
        if self.whole:
            return []
        given = ((line, self.cleaned_data.get(name)) for name, line in self._lines.items())
        return [Part(line.id, Decimal(amount)) for line, amount in given if amount is not None]

    @property
    def paid_back_as(self) -> PaidBack:
        """Where money that was paid goes, of a valid form."""
        return cast(PaidBack, self.cleaned_data["paid_back"])

    def rows(self) -> list[tuple[InvoiceLine, forms.BoundField]]:
        """Return the lines with their fields."""
        return [(line, self[name]) for name, line in self._lines.items()]


def settled(invoice: InvoiceView) -> str:
    """Return what is credited, paid and returned of an invoice, to notice a change of it."""
    sums = (invoice.credited, invoice.paid, invoice.returned)
    return " ".join(f"{money.amount.normalize():f}" for money in sums if money is not None)
