"""Predict every row of a table in bounded memory: read, predict and write one batch of rows at a time.

There are no checkpoints: a stopped or killed run starts from the first row again. Only the runner imports this.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from models_app.recipes import columns
from models_app.recipes.tabular.features import UNKNOWN, Encoded, Feature, encode, widths
from models_app.recipes.tabular.network import TabularNet
from models_app.recipes.tabular.prediction.answers import Answers
from models_app.recipes.tabular.prediction.predict import Predictor
from models_app.recipes.tabular.prediction.reading import as_in_training, in_doubt, own_notation, slips, values_of
from models_app.runner_protocol import Context, InputError, StopRequested, counted, note, write_json
from models_app.tables.columns.kinds import CATEGORICAL
from models_app.tables.columns.stored import RAW, columns_of

BATCH_BYTES = 24 * 1024**2
BATCH_ROWS = (64, 16_384)
PROGRESS_S = 1.0
LINE_S = 10.0


def warm_up() -> None:
    """Trigger the late imports of torch and Arrow: after lockdown their files may be inaccessible."""
    net = TabularNet(numeric=2, codes=[3], outputs=1, layers=1, width=4, dropout=0.1).eval()
    with torch.no_grad():
        net(torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64))
    pc.fill_null(pa.array(["a", None]).dictionary_encode().indices, -1)


def run(context: Context) -> None:
    """Predict `in/data.parquet` with the model in `in/`; write the results to `out/`.

    The results are predictions.parquet, predictions.csv and result.json. Raises InputError if the table does not fit
    the model, before the first row; StopRequested on request.
    """
    signature = json.loads((context.inputs / "signature.json").read_text(encoding="utf-8"))
    predictor = Predictor(signature, load_file(context.inputs / "model.safetensors"), context.device)
    table = Rows(context.inputs / "data.parquet", predictor)
    threads = counted(torch.get_num_threads(), "thread")
    note(f"{signature['recipe']} on {context.device}, {threads}: {counted(table.rows, 'row')} to predict")
    table.tell()
    done = PredictionLog(context, table.rows)
    with Answers(context.out, predictor.classes, table.rows) as answers:
        for encoded in table.batches():
            if context.stopping():
                note(f"asked to stop after {done.rows:,} rows: the next run starts from the first row")
                raise StopRequested
            answers.add(predictor.outputs(encoded))
            done.add(len(encoded.numeric))
    table.tell_odd()
    note(f"wrote {', '.join(f'{path.name}, {path.stat().st_size:,} bytes' for path in answers.paths)}")
    write_json(
        context.out / "result.json",
        {
            "rows": done.rows,
            "ignored_columns": len(table.fit.extra),
            "empty_columns": list(table.fit.empty),
            "unknown_categories": {name: count for name, count in table.unknown.items() if count},
            "taken_as_missing": {name: count for name, count in table.odd.items() if count},
            "read_as_written": table.otherwise,
            "read_as_trained": table.doubted,
            "files": [path.name for path in answers.paths],
        },
    )


class Rows:
    """The rows of a table as model input, a bounded number at a time, in file order."""

    def __init__(self, path: Path, predictor: Predictor) -> None:
        self.features = predictor.features
        self._path = path
        with pq.ParquetFile(path) as file:
            self._stored, self.rows = columns_of(file.schema_arrow), file.metadata.num_rows
        shares = {name: columns.shares(one.can_be, one.values) for name, one in self._stored.items()}
        kinds = {name: one.kind for name, one in self._stored.items()}
        self.fit = columns.fit(predictor.signature["inputs"], kinds, shares)
        if self.fit.faults:
            raise InputError("columns_do_not_fit", " ".join(self.fit.faults))
        self._size = batch_rows(self.features, predictor.signature["network"])
        self.odd: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        used = as_in_training([(feature, self._stored[self.fit.called[feature.name]]) for feature in self.features])
        self._stored |= {one.name: one for _, one in used}
        self.otherwise = {one.name: said for one, table in used if (said := own_notation(one, table))}
        self.doubted = {one.name: held for one, table in used if (held := in_doubt(one, table))}
        self._words = [feature.name for feature in self.features if feature.kind == CATEGORICAL]

    def tell(self) -> None:
        """Log which columns are read and which are ignored."""
        note(f"reading {len(self.features):,} columns, {self._size:,} rows at a time")
        if self.fit.extra:
            note(f"ignored, as the model was not trained on them: {columns.listed(self.fit.extra)}")
        for name, said in self.otherwise.items():
            note(f"{name!r} is written otherwise than in training: read as {said}")
        for name, held in self.doubted.items():
            note(f"{name!r} can be read in two ways: read as in training, {held}")
        if self.fit.empty:
            note(f"warning: without any value, so taken as missing: {columns.listed(self.fit.empty)}")

    def tell_odd(self) -> None:
        """Log how many cells the model could not read, and which columns have unknown categories; never a value."""
        for name, count in self.odd.items():
            if count:
                note(f"warning: {counted(count, 'cell')} of {name!r} not of the model's type, so taken as missing")
        for name, count in self.unknown.items():
            if count:
                note(f"warning: {counted(count, 'cell')} of {name!r} with a category that training never saw")

    def batches(self) -> Iterator[Encoded]:
        """Yield the rows, read by the model's contract and encoded as in training."""
        used = [self._stored[self.fit.called[feature.name]] for feature in self.features]
        self.odd.update({feature.name: slips(feature, one) for feature, one in zip(self.features, used, strict=True)})
        names = [one.name for one in used] + [RAW + one.name for one in used if one.raw]
        with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=1024**2) as file:
            for batch in file.iter_batches(batch_size=self._size, columns=names, use_threads=False):
                found = {}
                for feature, one in zip(self.features, used, strict=True):
                    raw = batch.column(RAW + one.name) if one.raw else None
                    found[feature.name], odd = values_of(feature, one, batch.column(one.name), raw)
                    self.odd[feature.name] += odd
                encoded = encode(self.features, found, batch.num_rows)
                for at, name in enumerate(self._words):
                    self.unknown[name] += int((encoded.codes[:, at] == UNKNOWN).sum())
                yield encoded


class PredictionLog:
    """Progress of the run, for the page and, at intervals, the log."""

    def __init__(self, context: Context, total: int) -> None:
        self._report, self._total, self.rows = context.report, total, 0
        self._began = self._lined = time.monotonic()
        self._told = float("-inf")
        self.add(0)

    def add(self, rows: int) -> None:
        """Count finished rows."""
        self.rows += rows
        now = time.monotonic()
        pace = (now - self._began) / self.rows if self.rows else None
        left = None if pace is None else round(pace * (self._total - self.rows), 1)
        if now - self._told >= PROGRESS_S or self.rows == self._total:
            self._told = now
            self._report.progress("predicting", self.rows, self._total, left)
        if now - self._lined >= LINE_S and pace:
            self._lined = now
            note(f"{self.rows:,} of {self._total:,} rows, {1 / pace:,.0f} rows a second")


def batch_rows(features: list[Feature], network: Mapping[str, Any]) -> int:
    """Return the number of rows for which columns, activations and scores fit into about BATCH_BYTES."""
    numeric, codes = widths(features)
    a_row = 24 * (numeric + len(codes)) + 12 * network["width"] + 40 * network["outputs"]
    least, most = BATCH_ROWS
    return int(max(least, min(most, BATCH_BYTES // a_row)))
