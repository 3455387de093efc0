"""Answers with a file: an attachment that no cache keeps and no browser guesses the type of."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

from tenants.web.pagination import cell

ROWS_AT_ONCE = 200


def pdf_file(filename: str, content: bytes | None = None) -> HttpResponse:
    """Return an answer with a PDF; without content, its headers alone."""
    return HttpResponse(content or b"", headers=_headers(filename, "application/pdf"))


def csv_file(filename: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """Stream a CSV in portions: quoted throughout, UTF-8, with cells that no spreadsheet executes."""
    return StreamingHttpResponse(
        _portions(chain([header], rows)), headers=_headers(filename, "text/csv; charset=utf-8")
    )


def _portions(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    out = StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    for n, row in enumerate(rows, start=1):
        writer.writerow([cell(value) for value in row])
        if n % ROWS_AT_ONCE == 0:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def _headers(filename: str, kind: str) -> dict[str, str]:
    return {
        "Content-Type": kind,
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
