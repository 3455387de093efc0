"""The tables that the demo's organisations upload, made from a seed. Pure: the same seed writes the same bytes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

TUMOURS = Path(__file__).resolve().parents[2] / "static" / "samples" / "breast_cancer.csv"


@dataclass(frozen=True)
class Sheet:
    """A table: column names, rows of texts and numbers; `target` is the target column.

    `moved` is the first drifted row; the number of rows without drift.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    target: str
    moved: int

    def as_csv(self) -> bytes:
        """Return the table as a CSV file."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return out.getvalue().encode()

    def column(self, name: str) -> list[object]:
        """Return one column's values."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True)
class Tables:
    """The training table, and the rows that arrive later."""

    training: Sheet
    arriving: Sheet


def tumours(chance: Random) -> Tables:
    """Return the sample shipped with the product, and new patients measured slightly differently."""
    with TUMOURS.open(newline="") as file:
        header, *lines = csv.reader(file)
    known: list[tuple[object, ...]] = [(*map(float, line[:-1]), line[-1]) for line in lines]

    def patient() -> tuple[object, ...]:
        *numbers, diagnosis = chance.choice(lines)
        return (*(float(f"{float(number) * chance.gauss(1, 0.01):.5g}") for number in numbers), diagnosis)

    target = header[-1]
    return Tables(
        _sheet(header, known, target, len(known)),
        _sheet(header, [patient() for _ in range(600)], target, 600),
    )


def customers(chance: Random) -> Tables:
    """Return a retailer's customers; of those that arrive later, the last third shops by app."""
    columns = (
        "tenure_months", "visits_30d", "basket_eur", "discount_share", "support_calls", "channel", "region",
        "loyalty_card", "outcome",
    )  # fmt: skip

    def customer(app: float) -> tuple[object, ...]:
        tenure = round(chance.expovariate(1 / 26), 1)
        channel = "app" if chance.random() < app else chance.choice(("store", "store", "web"))
        visits = max(0, round(chance.gauss(5 if channel == "store" else 4, 2.2)))
        basket = round(max(3.0, chance.lognormvariate(3.3 if app < 0.5 else 2.9, 0.5)), 2)
        discount = round(min(1.0, max(0.0, chance.betavariate(2, 5))), 3)
        calls = min(6, int(chance.expovariate(1.3)))
        card = "yes" if chance.random() < 0.55 else "no"
        region = chance.choice(("north", "coast", "inland", "islands"))
        pull = 1.5 - 0.05 * tenure - 0.42 * visits + 2.4 * discount + 0.75 * calls - 0.9 * (card == "yes")
        leaves = chance.random() < 1 / (1 + math.exp(-1.9 * pull))
        return (tenure, visits, basket, discount, calls, channel, region, card, "leaves" if leaves else "stays")

    later = [customer(0.15) for _ in range(600)] + [customer(0.62) for _ in range(300)]
    return Tables(
        _sheet(columns, [customer(0.15) for _ in range(2_000)], "outcome", 2_000),
        _sheet(columns, later, "outcome", 600),
    )


def assays(chance: Random) -> Tables:
    """Return a laboratory's reactions and their yields."""
    columns = ("temperature_c", "ph", "minutes", "stirring_rpm", "reagent_lot", "yield_percent")

    def assay() -> tuple[object, ...]:
        temperature, ph = round(chance.gauss(62, 7), 1), round(chance.gauss(6.8, 0.5), 2)
        minutes, rpm, lot = round(chance.uniform(20, 120)), 50 * round(chance.uniform(4, 16)), chance.choice("ABCD")
        best = 78 - 0.055 * (temperature - 64) ** 2 - 14 * (ph - 7) ** 2 + 9 * math.log(minutes / 60)
        found = best + 0.004 * (rpm - 500) + {"A": 1.5, "B": 0.0, "C": -2.5, "D": 0.5}[lot] + chance.gauss(0, 1.8)
        return (temperature, ph, minutes, rpm, lot, round(min(99.5, max(1.0, found)), 2))

    return Tables(
        _sheet(columns, [assay() for _ in range(700)], "yield_percent", 700),
        _sheet(columns, [assay() for _ in range(400)], "yield_percent", 400),
    )


MAKERS: dict[str, Callable[[Random], Tables]] = {"tumours": tumours, "customers": customers, "assays": assays}


def _sheet(columns: Sequence[str], rows: Sequence[tuple[object, ...]], target: str, moved: int) -> Sheet:
    return Sheet(tuple(columns), tuple(rows), target, moved)
