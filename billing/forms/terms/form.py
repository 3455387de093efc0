"""The form: single fields, rows for further terms and price models, and JSON for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms

from billing.forms.fields import AmountField, FractionField
from billing.forms.terms import price_models, rows
from billing.money import minor_decimals
from billing.pricing.contracts import bill_faults
from billing.pricing.what_if import SIMPLE_TERMS

PROMOTIONAL, PAID = "promotional", "paid"
#: The field of a row that shows a part of its entry.
PART = {"key": "name", "percent": "percent", "meters": "meters"}


class RestField(forms.JSONField):
    """JSON that is empty where there is none."""

    def prepare_value(self, value: Any) -> Any:
        """Return the JSON as text; nothing for none."""
        return "" if value in (None, {}) else super().prepare_value(value)


class TermsForm(forms.Form):
    """The terms that adjust a period's bill."""

    commitment = AmountField(
        label="Commitment a month", required=False, help_text="What is missing to it is billed, before discounts."
    )
    discount = FractionField(label="Discount in per cent", required=False, help_text="Off all usage.")
    minimum = AmountField(
        label="Minimum a month",
        required=False,
        help_text="The least that a month comes to, after discounts, before tax.",
    )
    credits_used = forms.ChoiceField(
        label="Credits",
        required=False,
        choices=[
            (PROMOTIONAL, "promotional ones first, before tax; then paid ones"),
            (PAID, "paid ones first, then promotional ones, all after tax"),
        ],
    )
    prepaid = forms.BooleanField(
        label="Prepaid",
        required=False,
        help_text="Work is held from the wallet's credit, and does not start without it.",
    )
    terms = RestField(
        label="Other terms, as JSON",
        required=False,
        widget=forms.Textarea({"rows": 6, "spellcheck": "false"}),
        help_text="savings_plans, commitments, discounts, minimums for projects, and models for single prices of a book. "
        "Leave it empty for none.",
    )

    def __init__(
        self,
        data: Any = None,
        *,
        currency: str,
        agreed: Mapping[str, Any],
        meters: Sequence[tuple[str, str]],
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        simple, kept, modelled, rest = _parts(agreed, {key for key, _ in meters})
        shown = {
            **(initial or {}),
            **simple,
            **rows.initial(kept),
            **price_models.initial(modelled),
            "terms": rest or None,
        }
        super().__init__(data, initial=shown)
        self._currency = currency
        self._rows = len(kept) + rows.MORE if data is None else rows.number_of(data)
        self._tiers = price_models.shown_tiers(modelled) if data is None else price_models.tiers_of(data)
        self._places: dict[tuple[str, int], str] = {}
        self._models: list[tuple[int, Sequence[int]]] = []
        rows.add_fields(self, self._rows, meters, currency)
        price_models.add_fields(self, self._tiers, meters)
        for name in ("commitment", "minimum"):
            field = self.fields[name]
            assert isinstance(field, AmountField)  # noqa: S101 (as declared above)
            field.decimals = minor_decimals(currency)

    def clean(self) -> dict[str, Any]:
        """Put what is wrong with the terms beside the field that it came from."""
        data = super().clean() or {}
        rows.check(self, self._rows)
        price_models.check(self, self._tiers)
        if not self.errors:
            for where, message in bill_faults(self.bill_terms, self._currency):
                self.add_error(self._field(where), message)
        return data

    @property
    def bill_terms(self) -> Any:
        """The terms of a valid form, as a contract stores them; the simple ones come first in their lists."""
        given, data = self.cleaned_data.get("terms"), self.cleaned_data
        if given is not None and not isinstance(given, Mapping):
            return given
        own: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for name, (listed, value) in SIMPLE_TERMS.items():
            if (amount := data.get(name)) is not None:
                one = {"key": name, value: format(Decimal(amount).normalize(), "f")}
                own.setdefault(listed, []).append((name, one))
        for listed, n, entry in rows.entries(self, self._rows):
            own.setdefault(listed, []).append((f"term_{n}", entry))
        self._models = []
        for n, places, entry in price_models.entries(self, self._tiers):
            own.setdefault("models", []).append((f"model_{n}", entry))
            self._models.append((n, places))
        terms = dict(given or {})
        for listed, found in own.items():
            others = terms.get(listed, [])
            terms[listed] = [*(one for _, one in found), *others] if isinstance(others, list) else others
            self._places |= {(listed, n): name for n, (name, _) in enumerate(found)}
        if data.get("credits_used") == PAID:
            terms["paid_first"] = True
        if data.get("prepaid"):
            terms["prepaid"] = True
        return terms

    def rows(self) -> Iterator[list[forms.BoundField]]:
        """Yield the fields of each further term."""
        return rows.shown(self, self._rows)

    @property
    def further(self) -> bool:
        """Whether a row of further terms says something, so that the page shows them; what is wrong is in such a row."""
        return any(part.value() for row in self.rows() for part in row)

    @property
    def modelled(self) -> bool:
        """Whether there is a price model, so that the page shows them."""
        return any(one.used for one in self.models())

    def models(self) -> Iterator[price_models.Shown]:
        """Yield the fields of each price model."""
        return price_models.shown(self, self._tiers)

    def _field(self, where: str) -> str:
        """Return the field that a fault is about, such as that of `discounts.0.percent`."""
        listed, _, rest = where.partition(".")
        number, _, part = rest.partition(".")
        if listed == "models" and number.isdecimal() and int(number) < len(self._models):
            return price_models.field_of(*self._models[int(number)], part)
        name = self._places.get((listed, int(number))) if number.isdecimal() else None
        if name is None or name in SIMPLE_TERMS:
            return name or "terms"
        return f"{name}_{PART.get(part, 'amount')}"


def _parts(
    agreed: Mapping[str, Any], meters: set[str]
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Return what the single fields, the rows of terms and of price models, and the JSON show of stored terms."""
    rest: dict[str, Any] = {**agreed}
    shown: dict[str, Any] = {}
    for name, (listed, value) in SIMPLE_TERMS.items():
        entries = rest.get(listed) or []
        if entries and set(entries[0]) == {"key", value} and entries[0]["key"] == name:
            shown[name] = Decimal(entries[0][value])
            rest[listed] = entries[1:]
    shown["credits_used"] = PAID if rest.pop("paid_first", False) else PROMOTIONAL
    shown["prepaid"] = bool(rest.pop("prepaid", False))
    return shown, rows.take(rest, meters), price_models.take(rest, meters), rest
