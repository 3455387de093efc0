"""The applicable price: the version in force at a time, then its most specific entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.rating.tags import PREFIX


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """One price of a version, for usage that carries all of its dimensions; `list_amount` if that differs."""

    price_id: UUID
    meter: str
    dims: Mapping[str, str]
    unit_amount: Decimal
    list_amount: Decimal | None = None


class PriceTable:
    """The prices of one meter in one version, indexed by dimensions; a price that names a tag matches nothing."""

    def __init__(self, entries: Iterable[PriceEntry]) -> None:
        kept = [entry for entry in entries if not any(name.startswith(PREFIX) for name in entry.dims)]
        used = Counter(name for entry in kept for name in entry.dims)
        self._entries: dict[tuple[str, ...], dict[tuple[str, ...], PriceEntry]] = {}
        self._shapes: dict[str, list[tuple[str, ...]]] = {}
        for entry in kept:
            shape = tuple(sorted(entry.dims))
            if shape not in self._entries:
                self._entries[shape] = {}
                # Under its rarest name, so that names shared by many entries lead to few shapes.
                rarest = min(shape, key=lambda name: (used[name], name), default="")
                self._shapes.setdefault(rarest, []).append(shape)
            self._entries[shape].setdefault(tuple(entry.dims[name] for name in shape), entry)
        self.size = len(kept)

    def candidates(self, dims: Mapping[str, str]) -> list[PriceEntry]:
        """Return the entries that match `dims`, without scanning the others."""
        shapes = [shape for name in ("", *dims) for shape in self._shapes.get(name, ())]
        found = [
            self._entries[shape].get(tuple(dims[name] for name in shape))
            for shape in shapes
            if all(name in dims for name in shape)
        ]
        return [entry for entry in found if entry is not None]

    def find(self, dims: Mapping[str, str]) -> PriceEntry | None:
        """Return the most specific entry that matches `dims`.

        Among equally specific entries the one whose dimensions sort first wins, so that the choice does not depend on
        their order.
        """
        return min(
            self.candidates(dims),
            key=lambda entry: (-len(entry.dims), sorted(entry.dims.items())),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class PriceList:
    """A published version of a price book, in force from `effective_at` until the next one; `tables` by meter.

    Its contract is in `target`; empty: in the tenant's. `rate` converts its prices to `currency`; None: they are in it. `lacks`: the currency of a list that has no prices,
    because no exchange rate from it is in force.
    """

    version_id: UUID
    effective_at: datetime
    currency: str
    entries: tuple[PriceEntry, ...] = ()
    tables: Mapping[str, PriceTable] = field(default_factory=dict, compare=False)
    rate: Decimal | None = None
    rate_id: UUID | None = None
    lacks: str = ""
    target: str = ""


def in_force(lists: Sequence[PriceList], at: datetime) -> PriceList | None:
    """Return the list with the latest start that is not after `at`."""
    started = [item for item in lists if item.effective_at <= at]
    return max(started, key=lambda item: (item.effective_at, item.version_id), default=None)


def starts_within(lists: Iterable[PriceList], start: datetime, end: datetime) -> list[datetime]:
    """Return the moments strictly inside `(start, end)` at which another list comes into force."""
    return sorted({item.effective_at for item in lists if start < item.effective_at < end})


def choose(entries: Iterable[PriceEntry], meter: str, dims: Mapping[str, str]) -> PriceEntry | None:
    """Return the entry of `meter` that applies to `dims`; see `PriceTable.find`."""
    return PriceTable(entry for entry in entries if entry.meter == meter).find(dims)
