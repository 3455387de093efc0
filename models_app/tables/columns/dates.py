"""Parse dates as people write them, with arithmetic for years 0 to 9999, which Python's datetime lacks.

Microseconds since 1970-01-01 UTC; a time without a zone is taken as UTC.
"""

from __future__ import annotations

import re

_TIME = (
    r"(?:(?:[Tt]|,? +)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2}))?)?"
)
_DAY_NAME = r"(?:[A-Za-z]{2,9}\.?,? +)?"
_FORMS = (
    rf"(?P<y>\d{{4}})(?P<sep>[-/.])(?P<m>\d{{1,2}})(?P=sep)(?P<d>\d{{1,2}}){_TIME}",
    rf"(?P<a>\d{{1,2}})(?P<sep>[-/.])(?P<b>\d{{1,2}})(?P=sep)(?P<y>\d{{4}}|\d{{2}}){_TIME}",
    (
        rf"{_DAY_NAME}(?P<d>\d{{1,2}})(?:\.|st|nd|rd|th)?(?:-| +)(?P<name>[A-Za-zä]{{3,9}})\.?(?:-|,? +)(?P<y>\d{{4}}|\d{{2}}){_TIME}"
    ),
    (rf"{_DAY_NAME}(?P<name>[A-Za-zä]{{3,9}})\.? +(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? +(?P<y>\d{{4}}){_TIME}"),
    r"(?P<y>\d{4})-(?P<m>\d{2})",
)
_PATTERNS = tuple(re.compile(form, re.ASCII) for form in _FORMS)
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:\d{4}|\d{2})"
_ROUGH = {"dmy": rf"{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}{_TIME}", "mdy": rf"{_MONTH}[-/.]{_DAY}[-/.]{_YEAR}{_TIME}"}
_NAMES = {
    name: at
    for at, names in enumerate(
        (
            "jan january januar", "feb february februar", "mar march mär märz", "apr april", "may mai", "jun june juni",
            "jul july juli", "aug august", "sep sept september", "oct october okt oktober", "nov november", "dec december dez dezember",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SECOND = 1_000_000


def moment(text: str, order: str) -> int | None:
    """Parse a trimmed text as a moment, None if it is none. `order`: ymd, dmy or mdy for all-digit dates."""
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found:
            break
    else:
        return None
    parts = found.groupdict()
    if "a" in parts:
        if order not in ("dmy", "mdy"):
            return None
        day, month = (parts["a"], parts["b"]) if order == "dmy" else (parts["b"], parts["a"])
    else:
        day, month = parts.get("d") or "1", parts.get("m") or str(_NAMES.get((parts.get("name") or "").lower(), 0))
    days = _days(_year(parts["y"]), int(month), int(day))
    seconds = _time(parts)
    return None if days is None or seconds is None else days * 86_400 * _SECOND + seconds


def orders(text: str) -> frozenset[str]:
    """Return the orders in which a trimmed text is a valid date."""
    return frozenset(order for order in ("ymd", "dmy", "mdy") if moment(text, order) is not None)


def rough(order: str) -> str:
    """Return an RE2 pattern of possible dates in this order: for counting, where parsing each cell takes too long."""
    year_first = rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}{_TIME}"
    forms = [year_first, *_FORMS[2:], *([_ROUGH[order]] if order in _ROUGH else [])]
    return f"^(?:{'|'.join(re.sub(r'[?]P<[a-z]+>', '?:', form) for form in forms)})$"


def _year(text: str) -> int:
    """Expand two digits to a year from 1970 to 2069, as most programs do."""
    year = int(text)
    return year if len(text) == 4 else year + (2000 if year < 70 else 1900)


def _days(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970-01-01 of a Gregorian date; None if the day does not exist.

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1]:
        return None
    if month == 2 and day == 29 and (year % 4 or (year % 100 == 0 and year % 400)):
        return None
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _time(parts: dict[str, str | None]) -> int | None:
    if parts.get("hour") is None:
        return 0
    hour, minute, second = int(parts["hour"] or 0), int(parts["minute"] or 0), int(parts["second"] or 0)
    half = (parts["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    part = int((parts["part"] or "").ljust(6, "0")[:6])
    return ((hour * 60 + minute) * 60 + second) * _SECOND + part - _zone(parts["zone"] or "") * _SECOND


def _zone(text: str) -> int:
    """Return the UTC offset of a zone in seconds."""
    if text[:1] not in ("+", "-"):
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if text[0] == "-" else seconds
