"""Read a Parquet file in bounded memory. Its metadata is checked before any page is read, and never trusted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models_app.runner_protocol import InputError
from models_app.tables.columns import typed
from models_app.tables.columns.decide import Decision
from models_app.tables.columns.stored import Cells
from models_app.tables.limits import (
    DECODED_FREE_BYTES,
    MAX_COLUMNS,
    MAX_RATIO,
    MAX_ROWS,
    MAX_UNPACKED_BYTES,
    MAX_VALUE_BYTES,
    MIB,
    RATIO_FROM_BYTES,
)
from models_app.tables.reader import dialect

MAGIC, LOCKED = b"PAR1", b"PARE"
"""Start and end of a file, and of one with an encrypted footer."""

ENCRYPTED = ("encrypted_parquet", "The Parquet file is encrypted. Write it without encryption and upload it again.")
THRIFT_LIMIT = 16 * MIB
BATCH_BYTES = 8 * MIB
TEXT_ROWS = 4_096
PLAIN_ROWS = 1_024
DICTIONARY_ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"})
PANDAS_INDEX = "__index_level_0__"
MAX_BATCH_BYTES = 96 * MIB
TOO_BIG = f"The file holds more than {MAX_UNPACKED_BYTES // MIB:,} MiB once unpacked. Take fewer rows or columns."


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file with inferred columns; `decisions` in file order."""

    path: Path
    decisions: tuple[Decision, ...]
    rows: int
    warnings: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def batches(self) -> Iterator[list[Cells]]:
        """Yield the rows: for each column its values, and its text if the values hold less."""
        for columns in _checked_batches(self.path):
            yield [typed.cells(one, column) for one, column in zip(self.decisions, columns, strict=True)]


def named(
    source: Path, names: Sequence[str], *, warnings: Sequence[str] = (), about: Mapping[str, Any], **more: Any
) -> ParquetFile:
    """Open a Parquet file converted from another format, with these column names. Raises InputError."""
    found = open_parquet(source, names=names, **more)
    return replace(found, warnings=(*warnings, *found.warnings), about=about)


def open_parquet(
    source: Path,
    *,
    target: str | None = None,
    choices: Mapping[str, Any] | None = None,
    mixed: Collection[int] = (),
    dated: Collection[int] = (),
    names: Sequence[str] | None = None,
) -> ParquetFile:
    """Validate a Parquet file and infer its columns. Raises InputError.

    `mixed`: columns of text and numbers, which may be numbers with slips; `dated`: text columns that may be dates.
    Other text is kept as stored.
    """
    metadata, schema = _metadata(source)
    called = names or ["" if name == PANDAS_INDEX else name for name in schema.names]
    clean, nameless, warnings = dialect.clean_names(list(called))
    if len(clean) < 2:
        raise InputError("one_column", "Only one column was found. A dataset needs at least one input and one target.")
    for one in schema:
        _canonical_type(one)
    if metadata.num_rows == 0:
        raise InputError("no_rows", "The file has columns but no rows. Add rows and upload again.")
    guesses = [
        typed.guess(name, _canonical_type(one), nameless=name in nameless, mixed=at in mixed, dated=at in dated)
        for at, (name, one) in enumerate(zip(clean, schema, strict=True))
    ]
    rows = 0
    for columns in _checked_batches(source):
        rows += len(columns[0])
        for guess, column in zip(guesses, columns, strict=True):
            guess.see(column)
    decisions = typed.decide(guesses, target=target, choices=choices)
    return ParquetFile(source, tuple(decisions), rows, tuple(warnings), {"format": "parquet"})


def refuse_locked(source: Path, head: bytes) -> None:
    """Raise InputError for a Parquet file with an encrypted footer, which starts differently from others."""
    if head.startswith(LOCKED) and b"\0" in head:
        with source.open("rb") as file:
            file.seek(-4, 2)
            if file.read(4) == LOCKED:
                raise InputError(*ENCRYPTED)


def _metadata(source: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    with source.open("rb") as file:
        file.seek(-8, 2)
        tail = file.read(8)
    if tail[4:] != MAGIC or int.from_bytes(tail[:4], "little") > min(THRIFT_LIMIT, source.stat().st_size):
        raise InputError(
            "truncated_parquet",
            "The Parquet file is cut off or damaged: its end is missing. Export and upload it again.",
        )
    try:
        file_ = _open(source)
        metadata, schema = file_.metadata, file_.schema_arrow
        # The decoded size of the columns, whatever run lengths and dictionaries the file uses.
        least = metadata.num_rows * sum(_least_bytes(_canonical_type(field)) for field in schema)
    except UnicodeDecodeError as error:
        raise InputError(
            "bad_column_name", "A column name is not UTF-8 text. Rename it and write the Parquet file again."
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise _cause(error, "is damaged and cannot be read") from error
    if metadata.num_columns > MAX_COLUMNS:
        raise InputError(
            "too_many_columns",
            f"The file has {metadata.num_columns:,} columns; the most is {MAX_COLUMNS:,}. Leave out columns.",
        )
    if metadata.num_rows > MAX_ROWS:
        raise InputError(
            "too_many_rows",
            f"The file has {metadata.num_rows:,} rows; the most is {MAX_ROWS:,}. Take a sample and upload that.",
        )
    unpacked = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    packed = least > DECODED_FREE_BYTES and least > MAX_RATIO * source.stat().st_size
    if packed or max(unpacked, least) > MAX_UNPACKED_BYTES or metadata.num_rows < 0 or unpacked < 0:
        raise InputError("too_big_unpacked", TOO_BIG)
    if unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * source.stat().st_size:
        raise InputError(
            "too_big_unpacked", f"The file unpacks to more than {MAX_RATIO} times its size. Take fewer rows or columns."
        )
    return metadata, schema


def _open(source: Path, dictionaries: list[str] | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(
        source,
        read_dictionary=dictionaries,
        thrift_string_size_limit=THRIFT_LIMIT,
        thrift_container_size_limit=1_000_000,
        pre_buffer=False,
        buffer_size=MIB,
    )


def _checked_batches(source: Path) -> Iterator[list[pa.Array]]:
    """Yield batches in canonical types, counting their actual bytes against the cap."""
    unpacked = 0
    try:
        plain = _open(source)
        names = plain.schema_arrow.names
        texts = [one.name for one in plain.schema_arrow if _is_text(one.type)]
        packed = [name for name in texts if _by_dictionary(plain.metadata, plain.schema_arrow, name)]
        most = 65_536 if not texts else TEXT_ROWS if len(packed) == len(texts) else PLAIN_ROWS
        size = max(64, min(most, BATCH_BYTES // (8 * len(names))))
        for batch in _open(source, packed).iter_batches(batch_size=size, use_threads=False):
            spread = sum(_spread_bytes(column) for column in batch.columns)
            unpacked += spread
            if spread > MAX_BATCH_BYTES or unpacked > MAX_UNPACKED_BYTES:
                raise InputError("too_big_unpacked", TOO_BIG)
            yield [_canonical(name, column) for name, column in zip(names, batch.columns, strict=True)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _cause(error, "is damaged: some of its pages cannot be read") from error


def _by_dictionary(metadata: pq.FileMetaData, schema: pa.Schema, name: str) -> bool:
    """Return whether text can be read dictionary-encoded, which Arrow does not support for every encoding."""
    at = schema.names.index(name)
    if schema.names.count(name) > 1 or metadata.num_columns != len(schema):
        return True
    found = {one for group in range(metadata.num_row_groups) for one in metadata.row_group(group).column(at).encodings}
    return found <= DICTIONARY_ENCODINGS


def _cause(error: Exception, damage: str) -> InputError:
    """Return why a Parquet file cannot be read: damage, encryption, or a limit of ours."""
    said = str(error)
    if re.search("encrypt|decrypt", said, re.IGNORECASE):
        return InputError(*ENCRYPTED)
    if isinstance(error, pa.ArrowNotImplementedError) or re.search(
        "not (yet )?(implemented|supported)|unsupported", said, re.IGNORECASE
    ):
        detail = re.sub(r"[^ -~]", "?", said)[:160]
        return InputError(
            "unsupported_parquet",
            f"The Parquet file may be valid, but the reader does not support its encoding ({detail}). Write it with the default settings of your program and upload it again.",
        )
    return InputError("bad_parquet", f"The Parquet file {damage}. Export and upload it again.")


def _canonical(name: str, column: pa.Array) -> pa.Array:
    """Return a column in one of the types of `_canonical_type`; text as stored."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    target = _canonical_type(pa.field(name, column.type))
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pc.any(pc.is_inf(column)).as_py():
            raise InputError(
                "infinite_value", f"Column {name!r} holds infinite values. Replace them by empty cells or real numbers."
            )
    try:
        column = pc.cast(column, options=_cast_to(target))
    except pa.ArrowInvalid as error:
        if not pa.types.is_timestamp(target):
            raise
        raise InputError(
            "date_out_of_range", f"Column {name!r} holds dates more than 290,000 years away. Correct them."
        ) from error
    if pa.types.is_string(target):
        longest = pc.max(pc.binary_length(column)).as_py() or 0
        if longest > MAX_VALUE_BYTES:
            raise InputError(
                "value_too_long",
                f"A value in column {name!r} is longer than {MAX_VALUE_BYTES:,} bytes. Leave out that column.",
            )
        column.validate(full=True)
        if pc.any(pc.match_substring(column, "\0")).as_py():
            raise InputError(
                "not_text",
                f"Column {name!r} holds zero bytes, which are not text. Remove them or leave out that column.",
            )
    return column


def _cast_to(target: pa.DataType) -> pc.CastOptions:
    """Allow rounding of numbers and nanoseconds, but no overflow of dates."""
    options = pc.CastOptions.unsafe(target)
    options.allow_time_overflow = False
    return options


def _spread_bytes(column: pa.Array) -> int:
    """Return the size of a column after its dictionary is expanded, before doing so."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary.cast(pa.large_string()))
    return int(pc.sum(pc.take(lengths, column.indices)).as_py() or 0) + 4 * len(column)


def _least_bytes(kind: pa.DataType) -> float:
    return 4.0 if pa.types.is_string(kind) else kind.bit_width / 8


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _canonical_type(field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_uint64(kind):
        return kind
    if pa.types.is_decimal(kind) and kind.scale == 0 and kind.precision <= 38:
        return pa.decimal128(38, 0)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC") if kind.tz else pa.timestamp("us")
    if pa.types.is_date(kind):
        return pa.timestamp("us")
    if _is_text(kind) or pa.types.is_null(kind):
        return pa.string()
    raise InputError(
        "unsupported_type",
        f"Column {field.name!r} holds {kind}, which is not read. Use numbers, yes/no, dates or text, or leave the column out.",
    )
