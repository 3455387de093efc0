"""Gapless numbers of invoices and credit notes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

INVOICES, CREDIT_NOTES = "INV", "CN"
TAKE = """
UPDATE billing_numberseries SET next_number = next_number + 1 WHERE prefix = %s
RETURNING id, prefix, next_number - 1 AS number
"""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a series; `label` is how people write it."""

    series_id: UUID
    prefix: str
    number: int

    @property
    def label(self) -> str:
        """The prefix and the number with six digits at least."""
        return f"{self.prefix}-{self.number:06}"


def take(prefix: str) -> Number:
    """Take the next number of a series in the transaction that issues its document.

    The series is locked until that transaction ends: if it rolls back, the next document gets the number. So take it last.
    """
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [prefix])
        return Number(*cursor.fetchone())
