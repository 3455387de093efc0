"""Amounts and tags as people type them: 2000, 2,000, 2.000,50; team=vision. Ambiguous input is refused, never guessed."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Any

from django import forms

from billing.money import COMPUTING_DECIMALS, computed
from billing.queries.books import BookRow
from billing.rating.tags import read_tags, tag_fault, tags_text

SPACES = re.compile(r"[\s'’_]")
SHAPE = re.compile(r"[+-]?[0-9][0-9., '’_]*")
LONGEST = 40
HOURLY = re.compile(r"(.*?)\s*(?:/\s*h|/\s*hour|an hour|per hour)", re.IGNORECASE)


def read_amount(text: str, *, decimals: int = 2) -> Decimal:
    """Parse an amount with at most `decimals` decimals. Raises ValueError with what to type.

    Of two different separators the last is the decimal one. A single separator before exactly three digits is
    ambiguous: a comma groups thousands if amounts have fewer than three decimals, anything else is refused.
    """
    plain = unicodedata.normalize("NFKC", text).strip().replace("\u2212", "-")
    if len(plain) > LONGEST or not SHAPE.fullmatch(plain):
        raise ValueError("This is not an amount. Write digits only, such as 2000 or 2000.50.")
    sign, plain = ("-", plain[1:]) if plain[0] == "-" else ("", plain.removeprefix("+"))
    marks = [mark for mark in plain if mark in ",."]
    decimal = ""
    if len(set(marks)) == 2:
        decimal = marks[-1]
    elif len(marks) == 1:
        decimal = _single(plain, marks[0], decimals)
    whole, _, part = plain.rpartition(decimal) if decimal else (plain, "", "")
    groups = re.split(r"[,.\s'’_]", whole)
    grouped = len(groups) > 1
    if (not part.isdecimal() and part) or SPACES.search(part) or not all(group.isdecimal() for group in groups):
        raise ValueError("The separators in this amount do not match. Write digits only, such as 2000 or 2000.50.")
    if grouped and not (1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])):
        raise ValueError("Groups of thousands have three digits. Write digits only, such as 2000 or 2000.50.")
    return Decimal(f"{sign}{''.join(groups)}.{part or 0}")


def typed(amount: Decimal) -> str:
    """Format an amount as typed, so that it parses only one way."""
    text = f"{amount.normalize():f}"
    whole, _, part = text.partition(".")
    return f"{text}0" if len(part) == 3 and whole != "0" else text


def filled(amount: Decimal, decimals: int) -> str:
    """Format an amount for a field of a currency: with its decimals, unless three could be read two ways."""
    exact = f"{amount:.{decimals}f}"
    return exact if decimals != 3 and Decimal(exact) == amount else typed(amount)


def _single(plain: str, mark: str, decimals: int) -> str:
    """Return the separator if it starts the decimals; empty if it groups thousands."""
    whole, _, part = plain.partition(mark)
    thousands = len(part) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
    if not thousands:
        return mark
    if mark == "," and decimals < 3:
        return ""
    if decimals >= 3:
        raise ValueError(f"“{plain}” can be read two ways. Write {whole}{part} or {whole}.{part}0.")
    fine = f"Give the amount with at most {decimals} decimals." if decimals else "Give the amount without decimals."
    raise ValueError(f"“{plain}” can be read two ways. Write {whole}{part} if it means thousands. {fine}")


class AmountField(forms.DecimalField):
    """A field for an amount of money. Set `decimals` to the number of its currency."""

    def __init__(self, *, decimals: int = 2, **more: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(**{"widget": widget, **more})
        self.decimals = decimals

    def to_python(self, value: Any) -> Any:
        """Return the amount; refuse ambiguous input with what to type."""
        if value in self.empty_values or not isinstance(value, str) or not value.strip():
            return super().to_python(value.strip() if isinstance(value, str) else value)
        try:
            return read_amount(value, decimals=self.decimals)
        except ValueError as error:
            raise forms.ValidationError(str(error), code="invalid") from None


class FractionField(forms.DecimalField):
    """A field for a percentage or a rate: it has no thousands, so a comma starts its decimals as a point does."""

    def __init__(self, **more: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(**{"widget": widget, **more})

    def to_python(self, value: Any) -> Any:
        """Return the number; a per cent sign may follow it."""
        if isinstance(value, str):
            value = value.strip().removesuffix("%").rstrip()
            value = value.replace(",", ".") if value.count(",") == 1 and "." not in value else value
        return super().to_python(value)


class PriceField(AmountField):
    """A field for a unit price; for seconds also per hour, as 1.80/h."""

    def __init__(self, *, timed: bool = True, **more: Any) -> None:
        super().__init__(decimals=COMPUTING_DECIMALS, **more)
        self.timed = timed

    def to_python(self, value: Any) -> Any:
        """Return the price of one unit, with the precision of stored prices."""
        hourly = HOURLY.fullmatch(value.strip()) if isinstance(value, str) else None
        if hourly is None:
            return super().to_python(value)
        if not self.timed:
            raise forms.ValidationError("This unit is not a time: enter the price of one unit.")
        price = super().to_python(hourly[1])
        return None if price is None else computed(price / 3600)


class TagsField(forms.CharField):
    """A field for tags: team=vision, ticket=A-7."""

    def to_python(self, value: Any) -> Any:
        """Return the tags by name; refuse invalid ones."""
        if isinstance(value, dict):
            return value
        try:
            tags = read_tags(str(value or ""))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if fault := tag_fault(tags):
            raise forms.ValidationError(fault)
        return tags

    def prepare_value(self, value: Any) -> Any:
        """Return the tags as typed."""
        return tags_text(value) if isinstance(value, dict) else value


def book_label(book: BookRow, currency: str) -> str:
    """Return a price book's name where one is chosen, with its currency if its prices are converted."""
    return book.name if book.currency == currency else f"{book.name} ({book.currency}, converted)"
