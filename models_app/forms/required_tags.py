"""Fields for the tags that the organisation requires, beside the field for all others."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms

from billing.allocation.required_tags import Required, required_tags
from tenants.errors import ExchequerError, Invalid
from tenants.web.form_posts import explain

#: Before the name of a required tag in the name of its field.
REQUIRED = "tag-"


class RequiredTagsForm(forms.Form):
    """A form with a field `tags`, which also has one for each required tag, once `ask_for_required` was called.

    `kind`: the kind of work that it launches.
    """

    kind: ClassVar[str]

    def ask_for_required(self, *, must: bool) -> None:
        """Add the fields; `must`: the form is not valid without them, else the operation decides."""
        given = self.initial.get("tags") or {}
        for one in required_tags(self.kind):
            self.fields[REQUIRED + one.name] = _field(one, given.get(one.name, ""), must=must)

    def required_fields(self) -> list[forms.BoundField]:
        """Return the fields of the tags that the organisation requires."""
        return [self[name] for name in self.fields if name.startswith(REQUIRED)]

    def all_tags(self) -> dict[str, str]:
        """Return all tags that were entered; call after it is valid."""
        data: dict[str, Any] = self.cleaned_data
        asked = {name.removeprefix(REQUIRED): it for name, it in data.items() if name.startswith(REQUIRED) and it}
        return {**data["tags"], **asked}

    def explain(self, refused: ExchequerError) -> None:
        """Add a domain error to the form: what is about a required tag, to its field."""
        named = refused.fields if isinstance(refused, Invalid) else {}
        for sentence in named.get("tags", []):
            place = (
                one.name
                for one in self.required_fields()
                if sentence.startswith(f"The tag {one.name.removeprefix(REQUIRED)} ")
            )
            self.add_error(next(place, "tags"), sentence)
        if others := {field: sentences for field, sentences in named.items() if field != "tags"}:
            explain(self, Invalid(refused.message, fields=others))
        elif not named:
            explain(self, refused)


def _field(one: Required, given: str, *, must: bool) -> forms.Field:
    label = f"Tag {one.name}"
    if not one.values:
        return forms.CharField(label=label, max_length=120, initial=given, required=must)
    choices = [("", "Choose a value"), *((value, value) for value in one.values)]
    return forms.ChoiceField(label=label, choices=choices, initial=given, required=must)
