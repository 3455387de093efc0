"""Small usage in euros, written by hand, for examples with round figures."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.money import Money
from billing.rating.billed.bills import Bill, bill
from billing.rating.billed.lines import Kind
from billing.rating.billed.reading import read_terms
from billing.rating.billed.terms import Terms
from billing.rating.billed.usage import UsageLine

AT = date(2026, 11, 1)
ONE, TWO = UUID(int=1), UUID(int=2)
SECONDS, REQUESTS = UUID(int=100), UUID(int=101)
METERS = {SECONDS: "seconds", REQUESTS: "requests"}


def euros(amount: str) -> Money:
    """Return an amount in euros."""
    return Money(Decimal(amount), "EUR")


def used(
    key: str, quantity: str, unit: str = "1", *, project: UUID = ONE, price: UUID = SECONDS, **more: Any
) -> UsageLine:
    """Return usage rated at a unit amount, which is also its list price unless `listed` is given."""
    amount = euros(unit) * Decimal(quantity)
    given = {"amount": amount, "listed": amount, **more}
    return UsageLine(key, project, METERS[price], price, Decimal(quantity), Decimal(unit), **given)


def agreed(**terms: Any) -> Terms:
    """Return terms in euros from their JSON."""
    return read_terms({"currency": "EUR", **terms})


def amounts(made: Bill, kind: Kind) -> list[str]:
    """Return the rounded amounts of the lines of a kind, in order."""
    return [f"{line.amount.amount:f}" for line in made.lines if line.kind is kind]


def billed(usage: list[UsageLine], terms: dict[str, Any] | None = None, **more: Any) -> Bill:
    """Return the bill of usage under terms."""
    return bill(usage, agreed(**(terms or {})), **{"at": AT, **more})
