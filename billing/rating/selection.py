"""Which price applies: the version in force at a moment, then its most specific entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """One price of a version: it applies to usage that carries all of its dimensions."""

    price_id: UUID
    meter: str
    dims: Mapping[str, str]
    unit_amount: Decimal


@dataclass(frozen=True, slots=True)
class PriceList:
    """A published version of a price book, in force from `effective_at` until the next one."""

    version_id: UUID
    effective_at: datetime
    currency: str
    entries: tuple[PriceEntry, ...]


def in_force(lists: Sequence[PriceList], at: datetime) -> PriceList | None:
    """Return the list with the latest start that is not after `at`."""
    started = [item for item in lists if item.effective_at <= at]
    return max(started, key=lambda item: (item.effective_at, item.version_id), default=None)


def starts_within(lists: Iterable[PriceList], start: datetime, end: datetime) -> list[datetime]:
    """Return the moments strictly inside `(start, end)` at which another list comes into force."""
    return sorted({item.effective_at for item in lists if start < item.effective_at < end})


def choose(entries: Iterable[PriceEntry], meter: str, dims: Mapping[str, str]) -> PriceEntry | None:
    """Return the entry of `meter` that names the most of `dims` and nothing else.

    Among equally specific entries the one whose dimensions sort first wins, so that the choice
    does not depend on the order in which they are read.
    """
    fitting = [
        entry
        for entry in entries
        if entry.meter == meter and all(dims.get(name) == value for name, value in entry.dims.items())
    ]
    return min(fitting, key=lambda entry: (-len(entry.dims), sorted(entry.dims.items())), default=None)
