"""The first contract of a tenant that an operator creates. The app that sells registers what to choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from tenants.access.actor import Actor


@dataclass(frozen=True)
class FirstContract:
    """What an operator chooses: a price book, or the standard one of the tenant's currency, and the days to pay."""

    book_id: UUID | None = None
    payment_days: int = 30


STANDARD = FirstContract()


@dataclass(frozen=True)
class Seller:
    """`books()`: id and label of each price book; `sign(actor, chosen)`: open the contract in the open scope."""

    books: Callable[[], list[tuple[str, str]]]
    sign: Callable[[Actor, FirstContract], None]


_sellers: list[Seller] = []


def register(seller: Seller) -> None:
    """Register who sells; once, when Django starts."""
    _sellers[:] = [seller]


def books() -> list[tuple[str, str]]:
    """Return id and label of each price book."""
    return [one for seller in _sellers for one in seller.books()]


def sign(actor: Actor, chosen: FirstContract) -> None:
    """Open the contract of a new tenant, in the transaction that creates it."""
    for seller in _sellers:
        seller.sign(actor, chosen)
