"""The form of the tags that launches must carry: a row for each tag, and some empty ones. A form only parses; operations decide."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.forms import BoundField

from billing.allocation.required_tags import MOST_TAGS, Required, list_faults

MORE = 2
NAMED = re.compile(r"tag_(\d{1,2})_name")
PARTS = ("name", "values", "kinds")


class RequiredTagsForm(forms.Form):
    """The complete list: a tag without a name is removed."""

    def __init__(self, data: Any = None, *, tags: Sequence[Required], kinds: Mapping[str, str]) -> None:
        super().__init__(data)
        self._kinds = kinds
        posted = [int(part[1]) + 1 for name in data or () if (part := NAMED.fullmatch(name))]
        wanted = len(tags) + MORE if data is None else max(posted, default=0)
        shown = [*tags, *([Required("")] * MOST_TAGS)][: min(wanted, MOST_TAGS)]
        self._number = len(shown)
        for n, one in enumerate(shown):
            self.fields |= {
                f"tag_{n}_name": forms.CharField(label="Name", required=False, max_length=60, initial=one.name),
                f"tag_{n}_values": forms.CharField(
                    label="Allowed values",
                    required=False,
                    max_length=20_000,
                    initial="\n".join(one.values),
                    help_text="One a line. Empty: any.",
                    widget=forms.Textarea({"rows": 2, "spellcheck": "false"}),
                ),
                f"tag_{n}_kinds": forms.MultipleChoiceField(
                    label="Work that must carry it",
                    required=False,
                    choices=list(kinds.items()),
                    initial=list(one.kinds or kinds),
                    widget=forms.CheckboxSelectMultiple,
                ),
            }

    def clean(self) -> dict[str, Any]:
        """Put what is wrong with a tag beside its field."""
        data = super().clean() or {}
        places = list(self._named())
        for n in set(range(self._number)) - set(places):
            if data.get(f"tag_{n}_values"):
                self.add_error(f"tag_{n}_name", "Name the tag, or empty its values.")
        for n in places:
            if not data.get(f"tag_{n}_kinds") and f"tag_{n}_kinds" not in self.errors:
                self.add_error(f"tag_{n}_kinds", "Choose at least one kind of work, or empty the name.")
        if not self.errors:
            for fault in list_faults(self.tags):
                self.add_error(None if fault.n is None else f"tag_{places[fault.n]}_{fault.part}", fault.message)
        return data

    @property
    def tags(self) -> list[Required]:
        """What was typed, without empty rows. All kinds of work are stored as none, so that later ones count too."""
        found = []
        for n in self._named():
            lines = self.cleaned_data[f"tag_{n}_values"].splitlines()
            kinds = self.cleaned_data[f"tag_{n}_kinds"]
            found.append(
                Required(
                    self.cleaned_data[f"tag_{n}_name"],
                    tuple(line.strip() for line in lines if line.strip()),
                    () if len(kinds) == len(self._kinds) else tuple(kinds),
                )
            )
        return found

    def rows(self) -> Iterator[list[BoundField]]:
        """Yield the fields of each tag."""
        for n in range(self._number):
            yield [self[f"tag_{n}_{part}"] for part in PARTS]

    def _named(self) -> Iterator[int]:
        return (n for n in range(self._number) if self.cleaned_data.get(f"tag_{n}_name"))
