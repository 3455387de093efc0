"""Charges written to a file of this host, portion by portion, and read from there.

The transaction that reads them ends before the first byte is sent: no slow reader holds it, and a month of any
size takes the same memory.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import weakref
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import BoundedSemaphore
from typing import IO

import structlog
from django.http import StreamingHttpResponse

from billing.exports.charge import Charge
from billing.exports.profiles import Column, Kind
from tenants.errors import Invalid, RateLimited, Unavailable
from tenants.web.pagination import cell

CHILD = Path(__file__).resolve().parent / "parquet_child.py"
FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
MOST_ROWS = 500_000
"""About 300 MB of a file; a range with more is asked for in parts."""
PIECE = 256 * 1024
WALL_S = 300
AT_ONCE, WAIT_S = 2, 5

_places = BoundedSemaphore(AT_ONCE)
log = structlog.get_logger(__name__)


class TooManyExports(RateLimited):
    """Too many exports are being written. Try again in half a minute."""

    code = "too_many_exports"

    def __init__(self) -> None:
        super().__init__(retry_after=30)


class ExportTooLarge(Invalid):
    """This export has too many rows for one file. Ask for a shorter range, or for usage by day."""

    code = "export_too_large"


class ParquetFailed(Unavailable):
    """The Parquet file could not be written. Nothing was changed; try again, or use the CSV."""

    code = "parquet_failed"


def spooled(charges: Generator[Charge, None, None], columns: Sequence[Column], *, guarded: bool) -> IO[bytes]:
    """Return an open file, at its start, with the charges as CSV. Raises ExportTooLarge.

    `guarded`: texts that a spreadsheet would execute get a leading apostrophe.
    """
    out = TemporaryFile()  # noqa: SIM115 (returned open)
    try:
        # Closed here, with its cursor, while the transaction lasts.
        with closing(charges):
            _write(charges, columns, out, guarded=guarded)
    except BaseException:
        out.close()
        raise
    return out


def as_parquet(table: IO[bytes], columns: Sequence[Column]) -> IO[bytes]:
    """Return an open file with a CSV as Parquet, and close the CSV. Raises ParquetFailed.

    A child process writes it, row group by row group: only it has the library in memory.
    """
    out = TemporaryFile()  # noqa: SIM115 (returned open)
    try:
        with table:
            _convert(table, out, [f"{column.name}:{column.kind.value}" for column in columns])
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def file_response(content: IO[bytes], filename: str, form: str) -> StreamingHttpResponse:
    """Answer with a written file; it is closed once it is sent, or with an answer that nobody reads."""
    answer = StreamingHttpResponse(_pieces(content), headers=headers(filename, form))
    weakref.finalize(answer, content.close)
    return answer


def headers(filename: str, form: str) -> dict[str, str]:
    """Return the headers of a file that no cache keeps and no browser guesses the type of."""
    return {
        "Content-Type": FORMATS[form],
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }


def _write(charges: Iterable[Charge], columns: Sequence[Column], out: IO[bytes], *, guarded: bool) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_MINIMAL)
    writer.writerow([column.name for column in columns])
    guards = [guarded and column.kind is Kind.TEXT for column in columns]
    for n, charge in enumerate(charges, start=1):
        if n > MOST_ROWS:
            raise ExportTooLarge
        values = [column.read(charge) for column in columns]
        writer.writerow([cell(value) if guard else value for value, guard in zip(values, guards, strict=True)])
    text.detach()
    out.seek(0)


def _convert(table: IO[bytes], out: IO[bytes], kinds: Sequence[str]) -> None:
    try:
        ended = subprocess.run(
            [sys.executable, "-I", str(CHILD), *kinds],
            stdin=table,
            stdout=out,
            stderr=subprocess.PIPE,
            # Nothing of this process's environment.
            env={"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"},
            timeout=WALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        log.error("export.failed", fault="out of time")
        raise ParquetFailed from None
    if ended.returncode:
        log.error("export.failed", exit_code=ended.returncode, fault=ended.stderr.decode(errors="replace")[-2_000:])
        raise ParquetFailed


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    with content:
        while piece := content.read(PIECE):
            yield piece


@contextmanager
def place() -> Iterator[None]:
    """Keep one of the few places in which this process writes exports. Raises TooManyExports."""
    if not _places.acquire(timeout=WAIT_S):
        raise TooManyExports
    try:
        yield
    finally:
        _places.release()
