"""A price before it is published. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class NewPrice:
    """A price to publish. `unit_amount` is in the book's currency per unit of the meter; `list_amount`, if given, is the
    list price that it is a discount on.
    """

    meter: str
    dims: Mapping[str, str]
    unit_amount: Decimal
    list_amount: Decimal | None = None
