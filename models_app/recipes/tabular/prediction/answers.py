"""Write predictions to Parquet and CSV at once, batch by batch. NumPy and Arrow only.

A classifier's row is `row`, `label` and `score_<class>` for each class; a regressor's is `row` and `prediction`. `row`
is 1 for the first row of the dataset. Scores are single precision, as the network computes them.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models_app.tables.columns.cells import PLAIN

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
GROUP_ROWS = 65_536
GROUP_BYTES = 16 * 1024**2
MOST_CSV_SCORES = 100_000_000
"""Beyond this many scores the CSV has only the label's own score, so that it can still be opened; the Parquet has all."""


class Answers:
    """The two files, which are complete once closed."""

    def __init__(self, folder: Path, classes: list[Any], rows: int) -> None:
        self.paths = [folder / "predictions.parquet", folder / "predictions.csv"]
        self._classes = pa.array(classes) if classes else None
        self._plain = pa.array([_harmless(value) for value in classes]) if classes else None
        self._names = [f"score_{_word(value)}" for value in classes]
        self._short = rows * len(classes) > MOST_CSV_SCORES
        self._row = 1
        self._pending: list[pa.RecordBatch] = []
        self._held = 0
        self._parquet: pq.ParquetWriter | None = None
        self._csv: pcsv.CSVWriter | None = None

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        for writer in (self._parquet, self._csv):
            if writer is not None:
                writer.close()

    def add(self, outputs: NDArray[np.float64]) -> None:
        """Append the next rows: scores [rows, classes], or numbers [rows, 1]."""
        rows = pa.array(np.arange(self._row, self._row + len(outputs), dtype=np.int64))
        self._row += len(outputs)
        if self._classes is None or self._plain is None:
            batch = plain = pa.RecordBatch.from_arrays([rows, pa.array(outputs[:, 0])], names=["row", "prediction"])
        else:
            best = outputs.argmax(axis=1)
            scores = [pa.array(outputs[:, at].astype(np.float32)) for at in range(outputs.shape[1])]
            batch = pa.RecordBatch.from_arrays(
                [rows, self._classes.take(pa.array(best)), *scores], names=["row", "label", *self._names]
            )
            shown = [pa.array(outputs[np.arange(len(best)), best].astype(np.float32))] if self._short else scores
            names = ["score"] if self._short else self._names
            plain = pa.RecordBatch.from_arrays(
                [rows, self._plain.take(pa.array(best)), *shown], names=["row", "label", *names]
            )
        if self._csv is None:
            self._csv = pcsv.CSVWriter(self.paths[1], plain.schema)
        self._csv.write_batch(plain)
        self._pending.append(batch)
        self._held += batch.nbytes
        if self._held >= GROUP_BYTES or sum(len(one) for one in self._pending) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            whole = pa.Table.from_batches(self._pending)
            if self._parquet is None:
                self._parquet = pq.ParquetWriter(self.paths[0], whole.schema, compression="zstd")
            self._parquet.write_table(whole)
        self._pending, self._held = [], 0


def _word(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _harmless(value: Any) -> Any:
    """Return a class safe for CSV: text that a spreadsheet would read as a formula gets a leading apostrophe.

    Plain numbers are left as they are, with any sign.
    """
    formula = isinstance(value, str) and value.startswith(FORMULA) and not re.fullmatch(PLAIN, value)
    return f"'{value}" if formula else value
