"""Compare a table's columns with those a model was trained on. Pure, without torch: used by the form and the runner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models_app.tables.columns import kinds
from models_app.tables.columns.cells import plain_name

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
    """Differences between a table and a model.

    Columns are missing, of another kind (name, wanted kind, found kind), without any value, or extra. `called`: the
    table's name of each model column, where blanks differ.
    """

    missing: tuple[str, ...]
    wrong: tuple[tuple[str, str, str], ...]
    empty: tuple[str, ...]
    extra: tuple[str, ...]
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Return what prevents a prediction, as sentences that name the columns; empty if the table fits."""
        found = []
        if self.missing:
            found.append(f"The model needs columns that the dataset does not have: {listed(self.missing)}.")
        if self.wrong:
            wrong = [f"{name} ({WORDS[has]}, the model needs {WORDS[wants]})" for name, wants, has in self.wrong]
            found.append(f"Columns of another kind than the model was trained on: {listed(wrong, quoted=False)}.")
        return found


def fit(
    inputs: Iterable[Mapping[str, Any]],
    found: Mapping[str, str],
    shares: Mapping[str, Mapping[str, float]] | None = None,
) -> Fit:
    """Compare a table's columns (name -> kind) with a signature's inputs (`name`, `kind`).

    `shares`: by column, the share of cells readable as each kind. Cells are read by the model's contract, as online; a
    column without any readable cell does not fit. Categories can be read from anything.
    """
    wanted = {str(one["name"]): str(one["kind"]) for one in inputs}
    by_plain_name = {plain_name(name): name for name in found}
    called = {name: name if name in found else by_plain_name.get(plain_name(name), "") for name in wanted}
    called = {name: theirs for name, theirs in called.items() if theirs}
    has = {name: found[theirs] for name, theirs in called.items()}
    wrong = [
        (name, wanted[name], kind)
        for name, kind in has.items()
        if wanted[name] not in (kind, kinds.CATEGORICAL)
        and kind != kinds.EMPTY
        and (shares or {}).get(called[name], {}).get(wanted[name], 0) == 0
    ]
    return Fit(
        missing=tuple(name for name in wanted if name not in called),
        wrong=tuple(wrong),
        empty=tuple(name for name, kind in has.items() if kind == kinds.EMPTY),
        extra=tuple(name for name in found if name not in called.values()),
        called=called,
    )


def shares(can_be: Mapping[str, int], values: int) -> dict[str, float]:
    """Return the share of a column's values readable as each kind."""
    return {kind: count / values for kind, count in can_be.items()} if values else {}


def listed(names: Iterable[str], *, quoted: bool = True) -> str:
    """Return the first names as text, and how many more there are."""
    every = list(names)
    shown = ", ".join(repr(name) if quoted else name for name in every[:NAMED])
    return f"{shown} and {len(every) - NAMED:,} more" if len(every) > NAMED else shown
