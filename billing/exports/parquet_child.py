"""Write the CSV on standard input as Parquet to standard output, block by block.

Started with the columns as arguments, each `NAME:KIND`; it imports nothing of Exchequer.
"""

import sys

import pyarrow as pa
from pyarrow import csv, parquet

BLOCK_BYTES = 4 * 1024 * 1024
TYPES = {
    "text": pa.string(),
    "number": pa.decimal128(38, 12),
    "price": pa.decimal128(38, 24),
    "time": pa.timestamp("s", tz="UTC"),
}


def main() -> None:
    """Copy; a row group is a block of the CSV."""
    types = {name: TYPES[kind] for name, _, kind in (column.rpartition(":") for column in sys.argv[1:])}
    blocks = csv.open_csv(
        sys.stdin.buffer,
        read_options=csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )
    with parquet.ParquetWriter(sys.stdout.buffer, blocks.schema, compression="zstd") as out:
        for block in blocks:
            out.write_batch(block)


if __name__ == "__main__":
    main()
