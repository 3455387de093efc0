"""Whether a table has the columns that a model was trained on. Pure, without torch: the form and the runner both ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models_app.datasets import kinds

ACCEPTED = {
    kinds.NUMERIC: frozenset({kinds.NUMERIC, kinds.EMPTY}),
    kinds.BOOLEAN: frozenset({kinds.BOOLEAN, kinds.EMPTY}),
    kinds.DATETIME: frozenset({kinds.DATETIME, kinds.EMPTY}),
    # In a longer table the same categories may be so many that they count as free text.
    kinds.CATEGORICAL: frozenset({kinds.CATEGORICAL, kinds.TEXT, kinds.EMPTY}),
}
WORDS = {
    kinds.NUMERIC: "numbers",
    kinds.BOOLEAN: "yes/no",
    kinds.DATETIME: "dates",
    kinds.CATEGORICAL: "categories",
    kinds.TEXT: "free text",
    kinds.EMPTY: "no value",
}
NAMED = 8


@dataclass(frozen=True)
class Fit:
    """What a table lacks, holds in another kind (name, wanted kind, found kind), has of no value, and has beyond the model."""

    missing: tuple[str, ...]
    wrong: tuple[tuple[str, str, str], ...]
    empty: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def faults(self) -> list[str]:
        """Return what stands against a prediction, in sentences that name the columns; none when the table fits."""
        found = []
        if self.missing:
            found.append(f"The model needs columns that the dataset does not have: {listed(self.missing)}.")
        if self.wrong:
            told = [f"{name} ({WORDS[has]}, the model needs {WORDS[wants]})" for name, wants, has in self.wrong]
            found.append(f"Columns of another kind than the model was trained on: {listed(told, quoted=False)}.")
        return found


def fit(inputs: Iterable[Mapping[str, Any]], found: Mapping[str, str]) -> Fit:
    """Hold a table's columns (name -> kind) against a signature's inputs (`name`, `kind`)."""
    wanted = {str(one["name"]): str(one["kind"]) for one in inputs}
    present = {name: kind for name, kind in wanted.items() if name in found}
    wrong = [(name, kind, found[name]) for name, kind in present.items() if found[name] not in ACCEPTED[kind]]
    return Fit(
        missing=tuple(name for name in wanted if name not in found),
        wrong=tuple(wrong),
        empty=tuple(name for name in present if found[name] == kinds.EMPTY),
        extra=tuple(name for name in found if name not in wanted),
    )


def listed(names: Iterable[str], *, quoted: bool = True) -> str:
    """Return the first names in words, and how many more there are."""
    every = list(names)
    shown = ", ".join(repr(name) if quoted else name for name in every[:NAMED])
    return f"{shown} and {len(every) - NAMED:,} more" if len(every) > NAMED else shown
