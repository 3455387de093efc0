"""Parsers of client input: each refuses what would fail later, and reports what to send."""

import math
import re
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

from tenants.errors import Invalid

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
#: Of each field of a day. Its end lies before LATEST in every zone, so that months and deadlines can be counted from it.
FIRST_DAY, LAST_DAY = EARLIEST.date(), (LATEST - timedelta(days=2)).date()
MOST_DIGITS = 18
MOST_DEPTH = 32
MOST_VALUES = 100_000
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"')
NUL = "\x00"


class TooLarge(APIException):
    """The body is too long for any JSON request here."""

    status_code = 413
    default_detail = "The body is larger than 2 MiB."


class StrictJSONParser(JSONParser):
    """JSON without NaN, infinity or NUL, nested no deeper than MOST_DEPTH."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the value; raise `ParseError` for invalid JSON."""
        try:
            data = super().parse(BytesIO(_bounded(stream)), media_type, parser_context)
        except RecursionError:
            raise ParseError("it is nested too deep") from None
        if fault := fault_of(data):
            raise ParseError(fault)
        return data


def _bounded(stream: Any) -> bytes:
    """Return the body; raise `TooLarge` for a longer one, `ParseError` for too many values."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body: bytes = stream.read(most + 1)
    if len(body) > most:
        raise TooLarge
    if body.count(b"[") + body.count(b"{") > MOST_VALUES:
        bare = TEXT.sub(b"", body)
        if bare.count(b"[") + bare.count(b"{") > MOST_VALUES:
            raise ParseError(f"it holds more than {MOST_VALUES} values")
    return body


def fault_of(value: Any) -> str:
    """Return why a JSON value is refused, else empty: checked level by level, up to MOST_VALUES."""
    level, left = [value], MOST_VALUES
    for _ in range(MOST_DEPTH + 1):
        left -= len(level)
        if left < 0:
            return f"it holds more than {MOST_VALUES} values"
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.keys()
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str) and not storable(one):
                return "the character NUL cannot be stored"
            elif isinstance(one, float) and not math.isfinite(one):
                return "a number is too large"  # Python parses 1e999 as infinity, which no column accepts
        if not inner:
            return ""
        level = inner
    return f"lists and objects lie in each other more than {MOST_DEPTH} deep"


def storable(text: str) -> bool:
    """Return whether a text contains neither NUL nor a lone surrogate: PostgreSQL stores neither."""
    try:
        return NUL not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def too_deep(value: Any, most: int = MOST_DEPTH) -> bool:
    """Return whether lists and objects of a JSON value nest deeper than `most`; without recursion."""
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def holds_nul(value: Any) -> bool:
    """Return whether any text inside a JSON value contains a NUL or a lone surrogate: PostgreSQL stores neither."""
    if isinstance(value, str):
        return not storable(value)
    if isinstance(value, dict):
        return any(holds_nul(key) or holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(holds_nul(item) for item in value)


def parse_uuid(text: Any, name: str) -> UUID:
    """Return a UUID; raise `Invalid` naming the field for anything else."""
    try:
        return UUID(str(text))
    except ValueError:
        raise Invalid(fields={name: ["Give an id, such as 0192f0c1-7e4a-7c1e-8f00-3f1f4b8c2d11."]}) from None


def parse_moment(text: str, name: str) -> datetime:
    """Return a time in UTC; raise `Invalid` unless it is an RFC 3339 time with an offset, from 1970 to 9000."""
    try:
        # An unescaped plus of an offset arrives as a blank.
        moment = parse_datetime(text.replace(" ", "+"))
        aware = moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        aware = None
    if aware is None or not EARLIEST <= aware < LATEST:
        raise Invalid(fields={name: ["Use an RFC 3339 time, such as 2026-11-01T00:00:00Z."]})
    return aware


def parse_whole(text: str, name: str, message: str, *, least: int = 0, most: int = 10**MOST_DIGITS) -> int:
    """Return a whole number from `least` to `most`; raise `Invalid` with `message` for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS and least <= int(text) <= most):
        raise Invalid(fields={name: [message]})
    return int(text)


def parse_choice(text: str, name: str, known: Collection[str]) -> str:
    """Return a text that is empty or one of the known; raise `Invalid` naming the field for any other."""
    if text and text not in known:
        raise Invalid(fields={name: [f"Use one of {', '.join(known)}."]})
    return text


def uuid_in(text: str | None) -> UUID | None:
    """Return the UUID in a page's URL; None for any other text: a page is lenient where the API is not."""
    try:
        return UUID(text or "")
    except ValueError:
        return None


def parse_month(text: str, name: str = "period") -> date | None:
    """Parse a month from 1970-01 to 8999-12, written as 2026-11 or as its first day; None for empty text."""
    if not text:
        return None
    try:
        day = date.fromisoformat(f"{text}-01" if len(text) == len("2026-11") else text)
    except ValueError:
        day = None
    if day is None or day.day != 1:
        raise Invalid(fields={name: ["Give a month such as 2026-11."]})
    if not FIRST_DAY <= day <= LAST_DAY:
        raise Invalid(fields={name: [f"Give a month from {FIRST_DAY:%Y-%m} to {LAST_DAY:%Y-%m}."]})
    return day


def parse_day(text: str, name: str) -> date | None:
    """Parse a day from FIRST_DAY to LAST_DAY, written as 2026-11-30; None for empty text. Raises Invalid."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None:
        raise Invalid(fields={name: ["Give a day such as 2026-11-30."]})
    if not FIRST_DAY <= day <= LAST_DAY:
        raise Invalid(fields={name: [f"Give a day from {FIRST_DAY} to {LAST_DAY}."]})
    return day
