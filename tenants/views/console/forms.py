"""Forms of the console. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from tenants import quotas
from tenants.clock import timezones
from tenants.errors import Invalid
from tenants.fields.codes import CapitalField
from tenants.operations import check_slug
from tenants.operators import first_contract
from tenants.operators.glass import looks
from tenants.views.forms import AuditFilter


def _zones() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(timezones())]


class NewKey(forms.Form):
    """A key of the operator's own."""

    name = forms.CharField(label="Name", max_length=120)
    roles = forms.MultipleChoiceField(label="Roles", widget=forms.CheckboxSelectMultiple)
    days = forms.TypedChoiceField(
        label="Expires", coerce=int, initial=90, choices=[(30, "In 30 days"), (90, "In 90 days"), (365, "In a year")]
    )

    def __init__(self, *args: Any, roles: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["roles"].choices = [(role, role) for role in roles]  # type: ignore[attr-defined]


class LogFilter(AuditFilter):
    """Filter of the operator log; invalid values are ignored and marked."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        del self.fields["acts"]
        self.fields["actor"].label = "Operator"
        example = forms.TextInput(attrs={"placeholder": "tenants.log_in"})
        self.fields["action"] = forms.CharField(required=False, max_length=80, label="Act", widget=example)

    def chosen(self) -> dict[str, Any]:
        """Return the keyword arguments of the query."""
        return {name: value for name, value in super().chosen().items() if name != "acts"}


class Ceiling(forms.Form):
    """A ceiling to set or lift."""

    resource = forms.ChoiceField(label="Resource")
    limit = forms.IntegerField(
        label="At most", required=False, min_value=0, help_text="In the unit of the resource. Empty: no ceiling."
    )
    reason = forms.CharField(label="Reason", max_length=400, help_text="The organisation reads it in its audit log.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = sorted(quotas.resources().values(), key=lambda one: one.title)
        self.fields["resource"].choices = [  # type: ignore[attr-defined]
            (one.name, f"{one.title}{f' ({one.unit_words})' if one.unit_words else ''}") for one in known
        ]


class Erasure(forms.Form):
    """The order to erase a closed tenant."""

    name = forms.CharField(label="Name of the organisation", max_length=120, help_text="Typed, to confirm.")
    reason = forms.CharField(label="Reason", max_length=400)


class Owner(forms.Form):
    """The person to invite as the owner of a tenant without members."""

    owner_email = forms.EmailField(
        label="Owner", max_length=254, help_text="Gets an invitation in place of an earlier one."
    )


class Look(forms.Form):
    """A look inside a tenant."""

    reason = forms.CharField(
        label="Reason", max_length=400, help_text="The owners read it, in a message and in their audit log."
    )
    minutes = forms.IntegerField(
        label="Minutes", min_value=1, max_value=looks.LONGEST, initial=looks.ALONE, help_text="It ends by itself."
    )


class Answer(forms.Form):
    """The answer to a request of a tenant."""

    answer = forms.ChoiceField(choices=[("approve", "Approve"), ("decline", "Decline")])
    reason = forms.CharField(label="Reason", max_length=400, help_text="The organisation reads it.")


def _books() -> list[tuple[str, str]]:
    return [("", "the standard one of the currency"), *first_contract.books()]


class NewTenant(forms.Form):
    """A tenant to create."""

    name = forms.CharField(label="Name", max_length=120)
    slug = forms.CharField(
        label="Short name",
        max_length=50,
        help_text="Part of its addresses: small letters, digits and dashes. It stays.",
    )
    owner_email = forms.EmailField(label="Owner", max_length=254, help_text="Gets an invitation by mail.")
    currency = CapitalField(
        label="Currency", max_length=3, initial="EUR", help_text="ISO 4217; a contract may change it later."
    )
    book = forms.TypedChoiceField(
        label="Price book",
        required=False,
        coerce=UUID,
        empty_value=None,
        choices=_books,
        help_text="The prices that its contract begins with; only price books in the currency above can be chosen.",
    )
    payment_days = forms.IntegerField(
        label="Days to pay", required=False, min_value=0, max_value=365, initial=30, help_text="30 unless given."
    )
    timezone = forms.ChoiceField(label="Time zone", initial="UTC", choices=_zones)

    def clean_slug(self) -> str:
        """Return a valid short name, so that it is marked together with the form's other faults."""
        try:
            return check_slug(str(self.cleaned_data["slug"]))
        except Invalid as refused:
            raise forms.ValidationError(refused.fields["slug"]) from refused

    @property
    def wanted(self) -> dict[str, Any]:
        """Return the arguments of `lifecycle.create` of a valid form."""
        data = dict(self.cleaned_data)
        book, days = data.pop("book"), data.pop("payment_days")
        contract = first_contract.FirstContract(book, first_contract.STANDARD.payment_days if days is None else days)
        return {**data, "contract": contract}
