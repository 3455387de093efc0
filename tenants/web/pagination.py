"""Shared parts of lists, of pages and of the API: cursors, the links of a keyset pager, CSV exports safe for spreadsheets."""

import base64
import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from io import StringIO
from itertools import chain
from typing import Any, TypeVar

from django.forms import Form
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter

from tenants.access.reader import reader
from tenants.errors import Invalid
from tenants.identity import audited_access
from tenants.parsing import MOST_DIGITS, storable

T = TypeVar("T")
CURSOR = OpenApiParameter("cursor", str, description="From `next` of the page before.")
LIMIT = OpenApiParameter("limit", int, description="Rows of a page, 1 to 200; 50 unless given.")
PAGE = [CURSOR, LIMIT]
LONGEST_CURSOR = 2_000
NOT_A_CURSOR = "This cursor is not valid for this list. Start again without it."
FORMULA = ("=", "+", "-", "@", "\t", "\r")
EXPORT_LIMIT = 50_000
#: Of a page whose list is read whole.
MOST_LINES = 200


def cell(value: Any) -> Any:
    """Return a value as a CSV cell.

    Numbers stay numbers; text that a spreadsheet would execute gets a leading apostrophe.
    """
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


def wants_csv(request: HttpRequest, *known: str, form: Form | None = None) -> bool:
    """Return whether a page is requested as a file. Raises `Invalid` for a filter that the file would ignore.

    A page shows its filter; a file does not. So an unknown parameter, or a value that the filter does not offer, is
    refused.
    """
    if request.GET.get("export") != "csv":
        return False
    refuse_unknown(request, "export", "cursor", *known, *(form.fields if form else ()))
    if form is not None and not form.is_valid():
        raise Invalid(fields={name: [str(text) for text in texts] for name, texts in form.errors.items()})
    return True


def refuse_unknown(request: HttpRequest, *known: str) -> None:
    """Raise `Invalid` for parameters of a file's URL that are unknown or repeated; tracking parameters are ignored."""
    given = {name: values for name, values in request.GET.lists() if not name.startswith("utm_")}
    offered = f" Use {', '.join(known)}." if known else ""
    unknown = f"There is no such parameter here.{offered}"
    faults = {name: [unknown] for name in sorted(given) if name not in known}
    faults |= {name: ["Use it once."] for name, values in given.items() if name in known and len(values) > 1}
    if faults:
        raise Invalid(" ".join(f"{name}: {words}" for name, (words,) in faults.items()), fields=faults)


def csv_response(request: HttpRequest, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """Return a CSV attachment, quoted throughout, UTF-8. The download, not a HEAD, is recorded in the audit log."""
    out = StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([cell(name) for name in header])
    writer.writerows([cell(value) for value in row] for row in rows)
    return HttpResponse(
        out.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers=_headers_of(request, name),
    )


def csv_stream(
    request: HttpRequest, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> StreamingHttpResponse:
    """Stream the same attachment row by row: memory stays constant however long the list is."""

    def lines() -> Iterator[str]:
        for row in chain([header], rows):
            out = StringIO()
            csv.writer(out, quoting=csv.QUOTE_NONNUMERIC).writerow([cell(value) for value in row])
            yield out.getvalue()

    return StreamingHttpResponse(
        lines(),
        content_type="text/csv; charset=utf-8",
        headers=_headers_of(request, name),
    )


def jsonl_stream(request: HttpRequest, name: str, lines: Iterable[str]) -> StreamingHttpResponse:
    """Stream lines of JSON as an attachment, recorded as a CSV is."""
    headers = _headers_of(request, f"{name}.jsonl", f"{name}.jsonl")
    return StreamingHttpResponse((f"{line}\n" for line in lines), content_type="application/jsonl", headers=headers)


def _headers_of(request: HttpRequest, name: str, file: str = "") -> dict[str, str]:
    # Operators read the platform's own lists, which belong to no organisation's log.
    if request.method != "HEAD" and (actor := reader()):
        audited_access.export(actor=actor, name=name)
    file = file or f"{name}.csv"
    return {"Content-Disposition": f'attachment; filename="{file}"', "X-Content-Type-Options": "nosniff"}


def encode_cursor(*keys: Any) -> str:
    """Return an opaque text of the sort keys of a page's last row."""
    return base64.urlsafe_b64encode(json.dumps([str(key) for key in keys]).encode()).decode().rstrip("=")


def decode_cursor(text: str, *kinds: Callable[[str], Any]) -> tuple[Any, ...]:
    """Return the keys of a cursor, each read by its kind; raise `Invalid` if it is not one of ours.

    A kind reads a text and raises ValueError for one that is not of it: `UUID`, `whole`, `date.fromisoformat`.
    """
    try:
        keys = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if len(text) < LONGEST_CURSOR else 0
        return tuple(kind(_text(key)) for kind, key in zip(kinds, _listed(keys), strict=True))
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise Invalid(fields={"cursor": [NOT_A_CURSOR]}) from None


def _listed(keys: Any) -> list[Any]:
    if not isinstance(keys, list):
        raise ValueError(keys)
    return keys


def _text(key: Any) -> str:
    if not isinstance(key, str) or not storable(key):
        raise ValueError(key)
    return key


def whole(text: str) -> int:
    """Read a key that is a whole number from 0."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise ValueError(text)
    return int(text)


def after(request: HttpRequest, *kinds: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """Return the keys of a page's `?cursor=`; None on the first page, which any text that is no cursor of it leads to."""
    try:
        text = request.GET.get("cursor")
        return decode_cursor(text, *kinds) if text else None
    except Invalid:
        return None


def before(request: HttpRequest, kind: Callable[[str], T]) -> T | None:
    """Return the one key of a page's `?cursor=`, as `after` does."""
    keys = after(request, kind)
    return keys[0] if keys else None


def paged(
    request: HttpRequest, rows: Sequence[T], size: int, key: Callable[[T], Sequence[Any]]
) -> tuple[Sequence[T], dict[str, str]]:
    """Return a page's rows and its pager's links. `rows` holds up to `size` + 1: the extra one says that there is more."""
    following = encode_cursor(*key(rows[size - 1])) if len(rows) > size else None
    return rows[:size], pager(request, following)


def sliced(request: HttpRequest, rows: Sequence[T]) -> tuple[Sequence[T], dict[str, Any]]:
    """Return a page of a list that was read whole, and its pager's links. The cursor is where the page begins."""
    start = before(request, whole) or 0
    following = encode_cursor(start + MOST_LINES) if len(rows) > start + MOST_LINES else None
    return rows[start : start + MOST_LINES], {**pager(request, following), "total": len(rows)}


def pager(request: HttpRequest, next_cursor: str | None) -> dict[str, str]:
    """Return the pager's links: older rows by cursor, and back to the newest."""
    parameters = request.GET.copy()
    here = parameters.pop("cursor", None)
    links = {"first_url": f"?{parameters.urlencode()}" if here else "", "next_url": ""}
    if next_cursor:
        parameters["cursor"] = next_cursor
        links["next_url"] = f"?{parameters.urlencode()}"
    return links


def heading(name: str, label: str, end: bool, sort: str, *, down_first: Collection[str] = ()) -> dict[str, object]:
    """Return a sortable heading of a table: by it, then reversed, then unsorted."""
    first, second = ("-" + name, name) if name in down_first else (name, "-" + name)
    following = {first: second, second: ""}.get(sort, first)
    shown = "" if sort.removeprefix("-") != name else "descending" if sort.startswith("-") else "ascending"
    return {"name": name, "label": label, "end": end, "next": following, "sorted": shown}
