"""What list pages share: CSV exports that no spreadsheet runs, and the links of a keyset pager."""

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from io import StringIO
from typing import Any

from django.http import HttpRequest, HttpResponse

FORMULA = ("=", "+", "-", "@", "\t", "\r")
EXPORT_LIMIT = 50_000


def cell(value: Any) -> Any:
    """Return a value as a CSV cell: numbers stay numbers; text that a spreadsheet would run gets a leading apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_response(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """Answer a CSV attachment, quoted throughout, UTF-8."""
    out = StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([cell(name) for name in header])
    writer.writerows([cell(value) for value in row] for row in rows)
    return HttpResponse(
        out.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def pager(request: HttpRequest, next_cursor: str | None) -> dict[str, str]:
    """Return the pager's links: older rows by cursor, and back to the newest."""
    parameters = request.GET.copy()
    here = parameters.pop("cursor", None)
    links = {"first_url": f"?{parameters.urlencode()}" if here else "", "next_url": ""}
    if next_cursor:
        parameters["cursor"] = next_cursor
        links["next_url"] = f"?{parameters.urlencode()}"
    return links
