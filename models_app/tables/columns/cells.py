"""Read one cell by its column's contract: the only cleaning, shared by training, batch and online predictions.

Pure Python. `convert.py` does the same for whole columns and calls this for values that are not plain.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from models_app.tables.columns import dates, kinds
from models_app.tables.columns.contract import Contract

BLANKS = "".join(chr(at) for at in range(0x3001) if chr(at).isspace()) + "\u200b\u2060\ufeff"
"""Trimmed characters: every Unicode blank, and zero-width characters."""

CONVENTIONAL = frozenset(
    {
        "", "na", "n/a", "n.a.", "n. a.", "nan", "-nan", "+nan", "null", "none", "nil", "?", "??", "#n/a", "#na", "<na>", "nat",
        "-", "--", "---", "–", "—", ".", "..", "...", "#n/v", "k.a.", "k. a.", "#div/0!", "#value!", "#wert!", "#ref!", "#null!", "(null)",
        r"\n",
    }
)  # fmt: skip
"""Words for missing, in lower case: never a number, date or boolean, so among those they mean missing."""

TRUE = frozenset({"true", "yes", "t", "y", "1"})
FALSE = frozenset({"false", "no", "f", "n", "0"})
INFINITE = frozenset(sign + word for sign in ("", "+", "-") for word in ("inf", "infinity"))

PLAIN = r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
"""A number as programs write it, without leading zeros and digit groups with underscores."""

_PLAIN = re.compile(PLAIN, re.ASCII)
GROUPS = {"": "", ",": ",", ".": r"\.", " ": "[ \u00a0\u2007\u2009\u202f]", "'": "['’]"}
_SIGN = "[+−-]?"
_UNIT = r"(?:[$€£¥₹₽₩]|EUR|USD|CHF|GBP|JPY|SEK|NOK|DKK|PLN|CZK|CAD|AUD|US\$|Fr\.)"
_GAP = "[ \u00a0\u202f]?"


class Odd(ValueError):
    """A cell is of another type than its column."""


def plain_name(name: str) -> str:
    """Return a column's name in the form in which names are compared.

    It has single plain blanks and no zero-width characters.
    """
    return " ".join(re.sub("[\u200b\u2060\ufeff]", "", name).strip(BLANKS).split())


def notation(number: str) -> tuple[str, str]:
    """Return (thousands separator, decimal separator) of one of NUMBERS."""
    return (number[1] if not number[1].isdigit() else ""), number[-2]


def body(number: str) -> str:
    """Return the pattern of a bare number of a notation, valid in both `re` and RE2."""
    group, decimal = notation(number)
    whole = r"0|[1-9]\d*"
    if group:
        whole = rf"[1-9]\d{{0,2}}(?:{GROUPS[group]}\d{{3}})+|{whole}"
    if group == ",":
        whole = rf"[1-9]\d?(?:,\d{{2}})+,\d{{3}}|{whole}"
    point = GROUPS[decimal]
    return rf"{_SIGN}(?:(?:{whole})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"


_WHOLE: dict[str, re.Pattern[str]] = {}


def dressed(number: str) -> str:
    """Return the pattern of a number with its decoration: currency, per cent, brackets for negative amounts."""
    bare = body(number)
    inside = rf"{_SIGN}{_GAP}(?:{_UNIT}{_GAP})?{bare}{_GAP}(?:%|‰|{_UNIT})?"
    return rf"(?:{inside}|\({_GAP}{inside}{_GAP}\)|{bare}-)"


def number_of(text: str, number: str) -> int | float:
    """Parse a trimmed text as a number in a notation; `12 %` is 12. Raises Odd."""
    pattern = _WHOLE.get(number)
    if pattern is None:
        pattern = _WHOLE[number] = re.compile(dressed(number), re.ASCII)
    if not pattern.fullmatch(text):
        raise Odd(text)
    group, decimal = notation(number)
    loss = text.startswith("(") or text.endswith("-")
    bare = re.sub(r"[A-Z]{3}|US\$|Fr\.|[$€£¥₹₽₩%‰()]", "", text).strip(BLANKS).rstrip("-").replace("−", "-")
    bare = re.sub(rf"{GROUPS[group]}", "", bare) if group else bare
    bare = re.sub(r"\s", "", bare.replace(decimal, "."))
    if bare.count("-") + bare.count("+") - len(re.findall(r"[eE][+-]", bare)) > 1:
        raise Odd(text)
    value: int | float = float(bare) if re.search(r"[.eE]", bare) else int(bare)
    return -value if loss else value


def absent(text: str, contract: Contract) -> bool:
    """Return whether a trimmed text means missing in a column of this contract."""
    if text in contract.missing:
        return True
    if contract.type in (kinds.CATEGORICAL, kinds.TEXT):
        return text == "" and not contract.stored
    return text.lower() in CONVENTIONAL


def clean(value: Any, contract: Contract) -> str | int | float | bool | None:
    """Return the value of one raw cell, text or typed; None if missing.

    Numbers as int or float, dates as seconds since 1970, categories and text as str. Raises Odd for a cell of another
    type.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if contract.type in (kinds.CATEGORICAL, kinds.TEXT):
        text = word(value)
        text = text if contract.stored else text.strip(BLANKS)
        return None if absent(text, contract) else text
    if isinstance(value, str):
        text = value.strip(BLANKS)
        if absent(text, contract):
            return None
        return _parsed(text, contract)
    if not isinstance(value, bool | int | float):
        raise Odd(value)
    flag = contract.type == kinds.BOOLEAN and isinstance(value, bool)  # a typed false is not the word `0`
    if not flag and _gone(value, contract):
        return None
    if contract.type == kinds.BOOLEAN:
        if value not in (0, 1):
            raise Odd(value)
        return bool(value)
    if math.isinf(value):
        raise Odd(value)
    return value


@functools.lru_cache(maxsize=1024)
def missing_numbers(contract: Contract) -> frozenset[float]:
    """Return the numbers among the words for missing: -999 is missing in any spelling. Dates as seconds."""
    found = set()
    for text in contract.missing:
        if contract.type == kinds.DATETIME:
            moment = dates.moment(text, contract.date)
            found |= set() if moment is None else {moment / 1_000_000}
            continue
        try:
            found.add(float(number_of(text, contract.number)))
        except (Odd, OverflowError):
            continue
    return frozenset(found)


def _gone(value: float, contract: Contract) -> bool:
    """Return whether a number means missing, compared as float64, as in whole columns."""
    if not contract.missing:
        return False
    try:
        return float(value) in missing_numbers(contract)
    except OverflowError:
        return False


def word(value: Any) -> str:
    """Return a value as the word of its category."""
    return value if type(value) is str else ("true" if value else "false") if isinstance(value, bool) else str(value)


def to_boolean(text: str) -> bool:
    """Parse a trimmed word for true or false. Raises Odd."""
    lowered = text.lower()
    if lowered in TRUE:
        return True
    if lowered in FALSE:
        return False
    raise Odd(text)


def twins(words: Iterable[str]) -> Mapping[Decimal, str]:
    """Return number -> word for words unique for their number: `1.0` in a later file means their `1`."""
    found: dict[Decimal, list[str]] = {}
    for text in words:
        number = _exact(text)
        if number is not None:
            found.setdefault(number, []).append(text)
    return {number: same[0] for number, same in found.items() if len(same) == 1}


def twin(text: str, of: Mapping[Decimal, str]) -> str | None:
    """Return the word with the same number as `text`, or None."""
    number = _exact(text) if of else None
    return None if number is None else of.get(number)


def _exact(text: str) -> Decimal | None:
    """Parse a word as an exact number: float64 would merge neighbouring long ids."""
    try:
        return Decimal(text) if _PLAIN.fullmatch(text) else None
    except InvalidOperation:  # an exponent beyond all bounds
        return None


def spelled(label: Any, classes: Iterable[str]) -> str | None:
    """Return the class that a label names, as the classes spell it; None if it names no class."""
    known = list(classes)
    text = word(label)
    if text in known:
        return text
    text = text.strip(BLANKS)
    if text in known:
        return text
    same = twin(text, twins(known))
    if same is not None:
        return same
    alike = [one for one in known if one.casefold() == text.casefold()]
    if not alike and {one.lower() for one in known} <= TRUE | FALSE and text.lower() in TRUE | FALSE:
        alike = [one for one in known if to_boolean(one) == to_boolean(text)]
    return alike[0] if len(alike) == 1 else None


def _parsed(text: str, contract: Contract) -> int | float | bool | None:
    if contract.type == kinds.NUMERIC:
        found = number_of(text, contract.number)
        if isinstance(found, float) and math.isinf(found):
            raise Odd(text)
        return None if _gone(found, contract) else found
    if contract.type == kinds.BOOLEAN:
        return to_boolean(text)
    if contract.type == kinds.DATETIME:
        moment = dates.moment(text, contract.date)
        if moment is None:
            raise Odd(text)
        return None if _gone(moment / 1_000_000, contract) else moment / 1_000_000
    raise Odd(text)
