"""Differences between two price lists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing.rating.selection import PriceEntry, PriceTable

Mark = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Change:
    """One price before and after; None if a list does not name it. `fallback` applies in place of a removed one."""

    meter: str
    dims: Mapping[str, str]
    before: Decimal | None
    after: Decimal | None
    fallback: PriceEntry | None = None

    @property
    def percent(self) -> Decimal | None:
        """The relative change in percent; None if there is nothing to compare."""
        if self.before is None or self.after is None or not self.before:
            return None
        return (self.after - self.before) * 100 / self.before

    @property
    def percent_size(self) -> Decimal | None:
        """The same without its sign."""
        return None if self.percent is None else abs(self.percent)

    @property
    def word(self) -> str:
        """The kind of change: new, removed, higher or lower."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "removed"
        return "higher" if self.after > self.before else "lower"


def mark(meter: str, dims: Mapping[str, str]) -> Mark:
    """Return the identity of a price across lists: its meter and its dimensions."""
    return meter, tuple(sorted(dims.items()))


def changes(before: Iterable[tuple[Mark, Decimal]], after: Iterable[tuple[Mark, Decimal]]) -> list[Change]:
    """Return the prices that differ between two lists, by meter and dimensions."""
    old, new = dict(before), dict(after)
    entries: dict[str, list[PriceEntry]] = {}
    for (meter, dims), amount in new.items():
        entries.setdefault(meter, []).append(PriceEntry(UUID(int=0), meter, dict(dims), amount))
    tables = {meter: PriceTable(listed) for meter, listed in entries.items()}
    return [
        Change(
            one[0],
            dict(one[1]),
            old.get(one),
            new.get(one),
            None if one in new or one[0] not in tables else tables[one[0]].find(dict(one[1])),
        )
        for one in sorted(old.keys() | new.keys())
        if old.get(one) != new.get(one)
    ]
