"""Evidence from the cells of one column, and its wording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from models_app.tables.columns import contract, kinds
from models_app.tables.columns.contract import Contract
from models_app.tables.columns.guess import ColumnGuess, Form, has

NAMED = 5


@dataclass
class Column:
    """One inspected column. `gone`: its words for missing; `count`: the number of other values."""

    guess: ColumnGuess
    target: bool
    fits: dict[Form, int]
    gone: Counter[str]
    count: int

    @property
    def decimals(self) -> bool:
        """Return whether plain numbers contain a point."""
        return self.guess.plain > self.guess.whole


def notation_of(one: Column, sign: str) -> tuple[str, bool]:
    """Return the notation of the numbers, and whether it is in doubt; `sign` is the decimal separator in that case."""
    best = max(one.fits[kinds.NUMERIC, number] for number in contract.NUMBERS)
    likely = [number for number in contract.NUMBERS if best and one.fits[kinds.NUMERIC, number] == best]
    if not likely:
        return contract.NUMBERS[0], False
    guess = one.guess
    dots = "1.234,5" in likely and guess.thousands and guess.thousands == guess.plain - guess.whole
    if likely[0] == "1234.5" and dots and not guess.long_whole:
        return ("1.234,5" if sign == "," else "1234.5"), True
    if "1234,5" in likely and "1,234.5" in likely and "1234.5" not in likely:
        return ("1234,5" if sign == "," else "1,234.5"), True
    if "1,234.5" in likely and "1.234,5" in likely and "1234.5" not in likely:  # both, three digits after each
        return ("1.234,5" if sign == "," else "1,234.5"), True
    return likely[0], False


def order_of(one: Column, order: str) -> tuple[str, bool]:
    """Return the order of day, month and year, and whether it is in doubt; `order` is the result in that case."""
    fits = {name: one.fits[kinds.DATETIME, name] for name in contract.DATES}
    if fits["ymd"] == max(fits.values()):
        return "ymd", False
    if fits["dmy"] != fits["mdy"]:
        return ("dmy" if fits["dmy"] > fits["mdy"] else "mdy"), False
    if all("." in word for word in one.guess.words if word not in one.gone):
        return "dmy", False
    return order, True


def odd_words(one: Column, form: Form) -> list[str]:
    """Return the words that neither have a form nor mean missing."""
    return [word for word in one.guess.words if word not in one.gone and not has(form, word)]


def tolerated(one: Column, fitting: int, odd: Sequence[str], what: str) -> str:
    """Return a sentence about the few cells unlike the others; empty without any."""
    words = [*sorted(odd, key=lambda word: -one.guess.words[word].count), *one.gone]
    if not words:
        return ""
    return f"{fitting:,} of {one.guess.values:,} values are {what}; {places(one, words)} taken as missing."


def places(one: Column, words: Sequence[str]) -> str:
    """Return in which rows words occur, with the verb that follows."""
    listed = []
    for word in words[:NAMED]:
        seen = one.guess.words[word]
        rows = ", ".join(f"{row:,}" for row in seen.rows)
        more = f" and {seen.count - len(seen.rows):,} more" if seen.count > len(seen.rows) else ""
        listed.append(f"{word[:40]!r} in row{'s' if seen.count > 1 else ''} {rows}{more}")
    more = f" and {len(words) - NAMED:,} other words" if len(words) > NAMED else ""
    return f"{', '.join(listed)}{more} {'is' if len(words) == 1 and one.guess.words[words[0]].count == 1 else 'are'}"


def almost(one: Column, number: str) -> str:
    """Return a sentence about a column of words that would mostly be numbers or dates, so that the person may choose."""
    for what, form in (("numbers", (kinds.NUMERIC, number)), ("dates", (kinds.DATETIME, order_of(one, "mdy")[0]))):
        best = one.fits[form]
        if best and best >= one.count / 2 and not one.guess.wide:
            odd = sorted(odd_words(one, form), key=lambda word: -one.guess.words[word].count)
            rest = f"; {places(one, odd)} not" if odd else ""
            return f"{best:,} of {one.guess.values:,} values are {what}{rest}. Read as text; change the type if that is wrong."
    return ""


def unsure(one: Column, held: Contract) -> str:
    """Return a sentence about which words of a column of words were, or were not, read as missing."""
    kept = [word for word in one.gone if word not in held.missing]
    if held.type in (kinds.CATEGORICAL, kinds.TEXT) and kept and not one.guess.stored:
        why = "a class of the target" if one.target else "a value, as the others look like it"
        return f"{places(one, kept)} taken as {why}. If it means a missing value, add it to the words for missing."
    if held.type in (kinds.CATEGORICAL, kinds.TEXT) and held.missing and one.gone:
        return f"{places(one, [word for word in one.gone if word in held.missing])} taken as missing."
    return ""


def doubt_of(read_as: Contract, sure: tuple[bool, bool], delimiter: str) -> str:
    """Return what the column leaves open; empty if other columns (`sure`: numbers, dates) or the delimiter settle it."""
    if read_as.type == kinds.DATETIME:
        if sure[1]:
            return ""
        read = {"dmy": "day first", "mdy": "month first"}[read_as.date]
        return f"No date shows whether the day or the month comes first. Read {read}; change it if that is wrong."
    number = read_as.number
    if sure[0] or (number == "1234.5" and delimiter != ";"):
        return ""
    words = {"1.234,5": "a point as the thousands separator", "1234.5": "a point as the decimal separator", "1234,5": "a comma as the decimal separator", "1,234.5": "a comma as the thousands separator"}  # fmt: skip
    return f"Numbers such as {number[:1]}{'.' if '.' in number[:2] or number == '1234.5' else ','}234 can be read in two ways. Read with {words[number]}; change it if that is wrong."
