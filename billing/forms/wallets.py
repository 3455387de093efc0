"""Forms of wallets: a top-up, the rule of automatic ones, and the console's grant. A form only parses; operations decide."""

from __future__ import annotations

from typing import Any

from django import forms

from billing.forms.fields import AmountField, typed
from billing.invoices.topping_up import Rule
from billing.money import minor_decimals
from billing.rating.billed.credits import LAST_PRIORITY
from billing.wallets.granting import Grant
from billing.wallets.queries import Automatic
from tenants.fields.days import DayField

SIZE = {"min_value": 0, "max_digits": 27, "decimal_places": 12}


class _InCurrency(forms.Form):
    """A form whose amounts are in one currency."""

    def __init__(self, data: Any = None, *, currency: str, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        for field in self.fields.values():
            if isinstance(field, AmountField):
                field.decimals = minor_decimals(currency)
                field.label = f"{field.label} in {currency}"


class TopUpForm(_InCurrency):
    """An amount to pay into the wallet."""

    amount = AmountField(label="Amount", **SIZE)


class RuleForm(_InCurrency):
    """When the wallet is topped up by itself."""

    below = AmountField(label="Once less is available than an amount", **SIZE)
    amount = AmountField(label="Top up by an amount", **SIZE)
    most = AmountField(label="At most in a month, an amount", **SIZE)

    @classmethod
    def of(cls, data: Any, currency: str, rule: Automatic | None) -> RuleForm:
        """Return the form, filled with the rule that there is."""
        names = ("below", "amount", "most")
        given = {name: typed(getattr(rule, name).amount) for name in names} if rule else None
        return cls(data, currency=currency, initial=given)

    @property
    def rule(self) -> Rule:
        """The rule of a valid form."""
        return Rule(**self.cleaned_data)


class GrantForm(_InCurrency):
    """Promotional credit to give."""

    amount = AmountField(label="Amount", **SIZE)
    expires_on = DayField(
        label="Expires on",
        required=False,
        help_text="It pays bills of months that end before that day, and usage of its days if it ends within a month. "
        "Leave it empty for no end.",
    )
    priority = forms.IntegerField(
        label="Priority", min_value=0, max_value=LAST_PRIORITY, initial=50, help_text="0 is used first."
    )
    reason = forms.CharField(label="Reason, which the organisation reads", max_length=400)

    @property
    def given(self) -> Grant:
        """The credit of a valid form."""
        return Grant(**{name: self.cleaned_data[name] for name in ("amount", "expires_on", "priority")})
