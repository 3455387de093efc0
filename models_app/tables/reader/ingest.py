"""Convert an uploaded file into canonical Parquet and a profile. Runs in the sandbox, never in the web process.

Reads `in/source`; writes `out/data.parquet`, `out/profile.json`, `out/result.json`. Every fault of the file is an
InputError with a code and a sentence that says what to do.
"""

from __future__ import annotations

import difflib
import encodings.utf_8_sig
import encodings.utf_16
import encodings.utf_16_be
import encodings.utf_16_le
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models_app.runner_protocol import Context, InputError, write_json
from models_app.tables.columns.decide import Decision
from models_app.tables.columns.stored import Cells, fields
from models_app.tables.limits import MAX_NUMBER, MAX_UNPACKED_BYTES, MIB
from models_app.tables.reader import encoding, gzipped, json_file, spreadsheet, text
from models_app.tables.reader.csv_file import CsvFile, open_csv
from models_app.tables.reader.dialect import SECOND_HEADER
from models_app.tables.reader.parquet_file import MAGIC, ParquetFile, open_parquet, refuse_locked
from models_app.tables.reader.preview import preview
from models_app.tables.reader.profile import profile

ROW_GROUP_BYTES = 16 * MIB

NAMED_COLUMNS = 8

Source = CsvFile | ParquetFile


def warm_up() -> None:
    """Trigger late imports: after lockdown their files may be inaccessible."""
    for codec in (
        encodings.utf_8_sig,
        encodings.utf_16,
        encodings.utf_16_be,
        encodings.utf_16_le,
    ):
        codec.getregentry()
    encoding.warm_up()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pc.cast(pa.array(["2020-01-01T00:00:00Z"]), pa.timestamp("us", "UTC"))


def run(context: Context) -> None:
    """Ingest as `job.json` says: `inputs.target` names the target column or is null. Raises InputError.

    `inputs.choices` are a person's, by column (`tables/columns/contract.py`), `inputs.writing` those for a text file
    (`tables/writing.py`). `inputs.named_parquet`: the file was named as Parquet; it only affects the message for a file
    that is not a table.
    """
    target = context.job["inputs"].get("target") or None
    context.report.progress("checking", 0, 3)
    path = context.inputs / "source"
    most, size = context.job.get("limits", {}).get("upload_bytes"), path.stat().st_size
    if most is not None and size > most:
        words = f"The file has {size / MIB:.0f} MiB; the most is {most // MIB} MiB. Split it or use Parquet."
        raise InputError("file_too_large", words)
    choices = context.job["inputs"].get("choices") or {}
    source = open_source(
        path,
        context.workdir / "source.utf8",
        named_parquet=bool(context.job["inputs"].get("named_parquet")),
        target=target,
        choices=choices,
        writing=context.job["inputs"].get("writing") or {},
    )
    names = [one.name for one in source.decisions]
    if target is not None and target not in names:
        again = [warning for warning in source.warnings if warning.startswith(SECOND_HEADER[:40])]
        raise InputError(
            "target_missing", f"There is no column {target!r}. {again[0]}" if again else _no_target(target, names)
        )
    context.report.progress("converting", 1, 3)
    data = context.out / "data.parquet"
    write_canonical(source, data)
    for name in ("source.utf8", "source.plain", "source.parquet"):
        (context.workdir / name).unlink(missing_ok=True)
    context.report.progress("profiling", 2, 3)
    described = profile(data, target=target, warnings=[*source.warnings, *doubts(source.decisions)])
    for column, one in zip(described["columns"], source.decisions, strict=True):
        column["role"] = one.contract.role
        column["role_chosen"] = choices.get(one.name, {}).get("role") is not None
    described["preview"] = preview(data)
    write_json(context.out / "profile.json", described)
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    columns = [
        {
            "name": column["name"],
            "kind": column["kind"],
            "integer": column["integer"],
            "distinct": column["distinct"],
            "whole": column.get("whole", False),
        }
        for column in described["columns"]
    ]
    write_json(
        context.out / "result.json",
        {
            "rows": source.rows,
            "columns": columns,
            "warnings": described["warnings"],
            "reading": {
                "format": 1,
                "file": {**source.about, "rows": source.rows},
                "columns": [one.to_json() for one in source.decisions],
            },
            "sha256": digest,
            "size": data.stat().st_size,
            "files": ["data.parquet", "profile.json"],
        },
    )


def open_source(
    path: Path,
    scratch: Path,
    *,
    named_parquet: bool = False,
    target: str | None = None,
    choices: Mapping[str, Any] | None = None,
    writing: Mapping[str, str] | None = None,
) -> Source:
    """Detect the format by content, never by name. Raises InputError."""
    path = gzipped.unpacked(path, scratch.with_suffix(".plain"))
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if spreadsheet.is_workbook(path, head):
        return spreadsheet.open_workbook(path, scratch.with_suffix(".parquet"), target=target, choices=choices)
    if json_file.is_json(head):
        return json_file.open_json(path, scratch.with_suffix(".parquet"), target=target, choices=choices)
    refuse_locked(path, head)
    text.refuse_other_formats(head)
    parquet = head.startswith(MAGIC) and size > 12
    try:
        if parquet:
            return open_parquet(path, target=target, choices=choices)
        return open_csv(path, scratch, target=target, choices=choices, writing=writing)
    except InputError as error:
        if parquet or not named_parquet:
            raise
        # Its faults as CSV would not help a person who meant to send Parquet.
        raise InputError(
            "not_parquet",
            "This is not a Parquet file, though its name says so. Write it as Parquet again; if it is CSV, end its name in .csv.",
        ) from error
    except pa.ArrowMemoryError as error:
        raise InputError(
            "too_big_unpacked", "The file needs more memory than an upload may use. Take fewer rows or columns."
        ) from error


def write_canonical(source: Source, path: Path) -> None:
    """Write typed columns as Parquet, each with its kind and contract. Raises InputError for absurd numbers."""
    writer: pq.ParquetWriter | None = None
    pending: list[pa.RecordBatch] = []
    held = written = 0
    for columns in source.batches():
        _check_numbers(columns)
        if writer is None:
            schema = pa.schema(fields(columns))
            writer = pq.ParquetWriter(path, schema, compression="zstd")
        arrays = [one.values for one in columns] + [one.raw for one in columns if one.raw is not None]
        batch = pa.RecordBatch.from_arrays(arrays, schema=writer.schema)
        pending.append(batch)
        held += batch.nbytes
        written += sum(one.values.nbytes for one in columns)
        if written > MAX_UNPACKED_BYTES:
            raise InputError(
                "too_big_unpacked",
                f"The file holds more than {MAX_UNPACKED_BYTES // MIB:,} MiB once unpacked. Take fewer rows or columns.",
            )
        if held >= ROW_GROUP_BYTES:
            _flush(writer, pending)
            held = 0
    if writer is not None:
        _flush(writer, pending)
        writer.close()


def doubts(decisions: Sequence[Decision]) -> list[str]:
    """Return what the person should know about how columns were read and may change."""
    return [f"Column {one.name}: {said}" for one in decisions for said in (one.ambiguous, one.evidence) if said]


def _no_target(target: str, names: list[str]) -> str:
    """Return the message for a target that is not a column, with the nearest names, or all."""
    close = difflib.get_close_matches(target.casefold(), [name.casefold() for name in names], n=3)
    near = [name for hit in dict.fromkeys(close) for name in names if name.casefold() == hit]
    more = f" and {len(names) - NAMED_COLUMNS:,} more" if len(names) > NAMED_COLUMNS else ""
    hint = f"Did you mean {', '.join(near)}?" if near else f"Its columns are {', '.join(names[:NAMED_COLUMNS])}{more}."
    return f"There is no column {target!r}. {hint} The file is fine: upload it again and name one of its columns as the target."


def _flush(writer: pq.ParquetWriter, pending: list[pa.RecordBatch]) -> None:
    if pending:
        writer.write_table(pa.Table.from_batches(pending))
        pending.clear()


def _check_numbers(columns: list[Cells]) -> None:
    for one in columns:
        column = one.values
        if pa.types.is_floating(column.type) and column.null_count < len(column):
            bounds = pc.min_max(column)
            if not (bounds["min"].as_py() >= -MAX_NUMBER and bounds["max"].as_py() <= MAX_NUMBER):
                raise InputError(
                    "number_out_of_range",
                    f"Column {one.decision.name!r} holds numbers beyond 1e30. Correct them, or use another unit.",
                )
