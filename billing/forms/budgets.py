"""Forms of budgets and reported usage. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django import forms

from billing.budgets.alerts import DEFAULT_ALERTS
from billing.budgets.budgets import BudgetKind
from billing.forms.fields import AmountField, typed
from billing.models.budgets import BLOCK_NEW, LENGTHS, NOTIFY, STOP_RUNNING
from billing.money import coarser, fineness_fault, minor_decimals
from billing.queries import BudgetStatus
from billing.rating.tags import parse_tags, tag_fault
from tenants.currencies import exact_text
from tenants.queries import ProjectRow

WHOLE, TAGGED, PERSON = "tenant", "tag", "person"
MOST_ALERTS = 10
AT_LIMIT = (
    (NOTIFY, "Alert only"),
    (BLOCK_NEW, "Refuse new work"),
    (STOP_RUNNING, "Refuse new work and pause running work"),
)


class Percentages(forms.CharField):
    """Whole percentages, separated by commas: 50, 80, 100."""

    def to_python(self, value: Any) -> Any:
        """Return them as numbers, unique and sorted."""
        found = set()
        for part in str(value or "").replace("%", "").replace(";", ",").split(","):
            text = part.strip()
            if not text:
                continue
            if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 100):
                raise forms.ValidationError(
                    f"“{text[:20]}” is not a whole percentage from 1 to 100. Write 50, 80, 100."
                )
            found.add(int(text))
        if len(found) > MOST_ALERTS:
            raise forms.ValidationError(f"Enter at most {MOST_ALERTS} percentages.")
        return sorted(found)

    def prepare_value(self, value: Any) -> Any:
        """Return the numbers as typed."""
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


class BudgetTerms(forms.Form):
    """The changeable fields of a budget."""

    amount = AmountField(label="Amount", min_value=0, max_digits=27, decimal_places=12)
    at_limit = forms.ChoiceField(
        label="At the limit",
        choices=AT_LIMIT,
        help_text="Paused work saves its state and resumes when there is headroom again.",
    )
    alerts = Percentages(
        label="Alert at (%)",
        required=False,
        help_text="Whole percentages, separated by commas. Members who manage budgets are notified once a period for each. Empty: no alerts.",
    )

    was = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, data: Any = None, *, status: BudgetStatus | None = None, currency: str = "", **more: Any
    ) -> None:
        initial: dict[str, Any] = {"at_limit": BLOCK_NEW, "alerts": list(DEFAULT_ALERTS)}
        self.overtaken = False
        if status is not None:
            self.current = status.limit.amount
            initial = {"amount": typed(status.limit.amount), "at_limit": status.at_limit, "alerts": list(status.alerts)}
            initial["was"] = f"{initial['amount']} {status.at_limit} {initial['alerts']}"
            if data and data.get("was", initial["was"]) != initial["was"]:
                self.overtaken = True
                data = {**data.dict(), "was": initial["was"]}  # resubmitting replaces the terms it now names
        super().__init__(data, initial=initial, **more)
        self.currency = currency
        cast("AmountField", self.fields["amount"]).decimals = minor_decimals(currency)
        length = "period" if status is None else f"calendar {status.length}"
        self.fields["amount"].help_text = f"In {currency}, for each {length} in the time zone of the organisation."
        if status is not None:
            self.fields["amount"].label = f"Amount a {status.length}"
        self.fields["amount"].error_messages["max_decimal_places"] = coarser(currency)

    def clean(self) -> dict[str, Any]:
        """Refuse a form that was opened before somebody else changed the budget."""
        if self.overtaken:
            now = f"{exact_text(self.current, self.currency)}, {dict(AT_LIMIT)[self.initial['at_limit']].lower()}"
            self.add_error(None, f"This budget was changed meanwhile, to {now}. Submit yours again to replace it.")
        return self.cleaned_data

    def clean_amount(self) -> Decimal:
        """Refuse amounts finer than the currency. The operation accepts them, because computed sums have them."""
        amount: Decimal = self.cleaned_data["amount"]
        if fault := fineness_fault(amount, self.currency):
            raise forms.ValidationError(fault)
        return amount


class NewBudget(BudgetTerms):
    """A budget for all, for one project, for work with a tag or for a person; at most one of each length.

    Without `whole` only for projects. `people`: id and address of each member.
    """

    scope = forms.ChoiceField(label="Budget of")
    tag = forms.CharField(
        label="Tag",
        required=False,
        max_length=170,
        help_text="Only for a budget for work with a tag, such as team=vision.",
        widget=forms.TextInput(attrs={"placeholder": "team=vision", "autocomplete": "off"}),
    )
    person = forms.ChoiceField(
        label="Member",
        required=False,
        help_text="Only for a budget for a person: it counts their work and that of their keys.",
    )
    period = forms.ChoiceField(
        label="Period",
        choices=LENGTHS,
        initial="month",
        required=False,
        help_text="A calendar month, quarter or year. A scope may have one budget of each.",
    )
    field_order = ("scope", "tag", "person", "period", "amount", "at_limit", "alerts")

    def __init__(
        self,
        data: Any = None,
        *,
        projects: Sequence[ProjectRow],
        known: Sequence[BudgetStatus],
        people: Sequence[tuple[UUID, str]] = (),
        whole: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(data, **more)
        plain = [status.project_id for status in known if not status.tag and not status.person]
        taken = {scope for scope in plain if plain.count(scope) == len(LENGTHS)}
        choices = [(WHOLE, "The whole organisation")] if whole and None not in taken else []
        choices += [(str(project.id), project.name) for project in projects if project.id not in taken]
        if whole:
            choices += [(TAGGED, "Work with a tag"), (PERSON, "A person")]
            listed = [("", "–"), *((str(person), address) for person, address in people)]
            cast("forms.ChoiceField", self.fields["person"]).choices = listed
        else:
            del self.fields["tag"], self.fields["person"]
        cast("forms.ChoiceField", self.fields["scope"]).choices = choices

    def clean(self) -> dict[str, Any]:
        """Require a tag if, and only if, the budget is for a tag; the same of a person."""
        data: dict[str, Any] = self.cleaned_data
        text = data.get("tag", "")
        if data.get("scope") == TAGGED and "tag" not in self.errors:
            try:
                tags = parse_tags([text])
            except ValueError as error:
                self.add_error("tag", str(error))
            else:
                data["tag_pair"] = next(iter(tags.items()))
                if fault := tag_fault(tags):
                    self.add_error("tag", fault)
        elif text:
            self.add_error("tag", "Choose “Work with a tag”, or leave the tag empty.")
        if (data.get("scope") == PERSON) != bool(data.get("person")) and "person" not in self.errors:
            chosen = data.get("scope") == PERSON
            self.add_error("person", "Choose a member." if chosen else "Choose “A person”, or leave the member empty.")
        return data

    @property
    def project_id(self) -> UUID | None:
        """Return the chosen project; None for the whole organisation or a tag."""
        scope = self.cleaned_data["scope"]
        return None if scope in (WHOLE, TAGGED, PERSON) else UUID(scope)

    @property
    def kind(self) -> BudgetKind:
        """Return the chosen tag, person and length."""
        person = self.cleaned_data.get("person")
        return BudgetKind(
            self.cleaned_data.get("tag_pair"), UUID(person) if person else None, self.cleaned_data["period"] or "month"
        )


class BudgetRequest(forms.Form):
    """A request for a higher budget."""

    amount = AmountField(label="New amount", min_value=0, max_digits=27, decimal_places=12)
    this_month = forms.BooleanField(required=False)
    reason = forms.CharField(label="Reason", max_length=500, help_text="Who answers reads it.")

    def __init__(self, data: Any = None, *, currency: str, length: str = "month", **more: Any) -> None:
        super().__init__(data, **more)
        self.currency = currency
        cast("AmountField", self.fields["amount"]).decimals = minor_decimals(currency)
        self.fields["amount"].label = f"New amount a {length}"
        self.fields["amount"].help_text = f"In {currency}."
        self.fields["this_month"].label = f"For this {length} only"
        self.fields["this_month"].help_text = f"The next {length} has the former amount again."

    def clean_amount(self) -> Decimal:
        """Refuse amounts finer than the currency."""
        amount: Decimal = self.cleaned_data["amount"]
        if fault := fineness_fault(amount, self.currency):
            raise forms.ValidationError(fault)
        return amount


class SenderLimits(forms.Form):
    """Daily limits of each key or person."""

    events = forms.IntegerField(label="Events a day", min_value=0, max_value=1_000_000_000)
    amount = AmountField(label="Cost a day", min_value=0, max_digits=27, decimal_places=12)

    def __init__(self, data: Any = None, *, currency: str, **more: Any) -> None:
        super().__init__(data, **more)
        cast("AmountField", self.fields["amount"]).decimals = minor_decimals(currency)
        self.fields[
            "amount"
        ].help_text = f"In {currency}, for each key or person on a day of UTC. Above it, requests are refused."


class Decision(forms.Form):
    """Decision about reported events, with its reason."""

    reason = forms.CharField(label="Why", max_length=200, help_text="Kept in the audit log.")
