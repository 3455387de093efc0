"""Real tables from scikit-learn as CSV, written at test time; the repository contains none of them."""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path

from sklearn import datasets

TARGET = "target"
NAMES = ("breast_cancer", "digits", "diabetes")


@cache
def csv_bytes(name: str) -> bytes:
    """Return one of NAMES as CSV with a header; the last column is `target`, classes as whole numbers."""
    found = getattr(datasets, f"load_{name}")()
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(str(column).replace(" ", "_") for column in found.feature_names), TARGET])
    classes = name != "diabetes"
    for row, goal in zip(found.data.tolist(), found.target.tolist(), strict=True):
        writer.writerow([*row, int(goal) if classes else goal])
    return out.getvalue().encode()


def write_csv(name: str, folder: Path) -> Path:
    """Write one of NAMES as `<name>.csv` into `folder` and return its path."""
    path = folder / f"{name}.csv"
    path.write_bytes(csv_bytes(name))
    return path
