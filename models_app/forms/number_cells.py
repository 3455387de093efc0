"""A number as people type it, read as the cells of its column are."""

from __future__ import annotations

import math
from typing import Any

from django import forms

from models_app.tables.columns import cells, kinds
from models_app.tables.columns.contract import NUMBERS, Contract

LONGEST = 400
WRONG = "Enter a number."


class NumberCell(forms.Field):
    """A field for one cell of a column of numbers: first by the column's contract, else by the one notation that fits.

    A text that can be read two ways, such as 1,234 in a column of 1234.5, is refused with what to type.
    """

    def __init__(self, *, contract: Contract | None, **more: Any) -> None:
        # A browser empties a number field that holds more than it can count, which would read as a missing value.
        super().__init__(widget=forms.TextInput(attrs={"inputmode": "decimal"}), **more)
        self.contract = contract if contract and contract.type == kinds.NUMERIC else Contract(kinds.NUMERIC)

    def to_python(self, value: Any) -> float | None:
        """Return the number; None where the cell holds none."""
        text = str(value if value is not None else "").strip(cells.BLANKS)
        if len(text) > LONGEST:
            raise forms.ValidationError(WRONG)
        try:
            found = cells.clean(text, self.contract)
        except cells.Odd:
            found = self._otherwise(text)
        try:
            number = None if found is None else float(found)
        except OverflowError:
            number = math.inf
        if number is not None and not math.isfinite(number):
            raise forms.ValidationError(WRONG)
        return number

    def prepare_value(self, value: Any) -> Any:
        """Write a number so that the contract reads the same one back."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return repr(value).replace(".", cells.notation(self.contract.number)[1])

    def _otherwise(self, text: str) -> float:
        read: dict[float, None] = {}
        for number in NUMBERS:
            try:
                read[float(cells.number_of(text, number))] = None
            except (cells.Odd, OverflowError):
                continue
        if len(read) > 1:
            decimal = cells.notation(self.contract.number)[1]
            ways = " or ".join(f"{one:.12g}".replace(".", decimal) for one in read)
            raise forms.ValidationError(f"“{text[:40]}” can be read two ways. Write {ways}.")
        if not read:
            raise forms.ValidationError(WRONG)
        return next(iter(read))
