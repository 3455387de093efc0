"""What became of reported events."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of events, by index: counted as new, refused, known with other content, or not counted (state, reason)."""

    counted: Set[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)
    conflicts: Mapping[int, str] = field(default_factory=dict)
    held: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def joined(self, other: Outcome) -> Outcome:
        """Return both together."""
        return Outcome(
            {*self.counted, *other.counted},
            {**self.refused, **other.refused},
            {**self.conflicts, **other.conflicts},
            {**self.held, **other.held},
        )

    def part(self, first: int, events: int) -> Outcome:
        """Return the outcome of so many events from the first on, by their own index."""
        inside = range(first, first + events)
        return Outcome(
            {number - first for number in inside if number in self.counted},
            _of(self.refused, inside),
            _of(self.conflicts, inside),
            _of(self.held, inside),
        )


def _of(reasons: Mapping[int, T], inside: range) -> dict[int, T]:
    return {number - inside.start: reasons[number] for number in inside if number in reasons}
