"""From what the cells of all columns showed to a contract for each, with the evidence in words.

A column is numbers or dates when nearly all of its cells are. Words for missing are taken as such where the rest of the
column is numbers, dates or yes/no; among words they may be words, so only those that no category is called count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models_app.datasets import cells, contract, kinds
from models_app.datasets.contract import Contract
from models_app.datasets.guess import FORMS, ColumnGuess, Form
from models_app.runner.protocol import InputError

ENOUGH = 10
ODD_SHARE = 0.1
ODD_DIGITS_SHARE = 0.02
FEW_NUMBERS = 12
FEW_ODD = 10
NAMED = 5

MACHINE = frozenset({"nan", "NaN", "NAN", "-nan", "-NaN", "#N/A", "#NA", "<NA>", "NaT", "(null)", "\\N"})
"""Words that programs write where there is nothing; no category is called so."""

WRITTEN = frozenset({"NULL", "null", "n/a", "N/A", "#N/V", "#DIV/0!", "#VALUE!", "#REF!"})
"""Words that people write where there is nothing; but a class of a target may be called so."""


@dataclass(frozen=True)
class Decision:
    """How a column is read. `whole`: all its numbers are whole. `can_be`: how many values fit each type."""

    name: str
    inferred: Contract
    contract: Contract
    whole: bool
    values: int
    can_be: Mapping[str, int]
    evidence: str = ""
    ambiguous: str = ""
    odd: Sequence[Mapping[str, Any]] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    few: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what the version's `reading` keeps of the column."""
        return {
            "name": self.name, "inferred": self.inferred.to_json(), "evidence": self.evidence, "ambiguous": self.ambiguous,
            "values": self.values, "can_be": dict(self.can_be), "odd": list(self.odd), "missing": dict(self.missing),
        }  # fmt: skip


@dataclass
class _Column:
    guess: ColumnGuess
    target: bool
    fits: dict[Form, int]
    gone: Counter[str]
    count: int  # values that are no word for missing

    @property
    def decimals(self) -> bool:
        return self.guess.plain > self.guess.whole


def decide(
    guesses: Sequence[ColumnGuess], *, target: str | None, delimiter: str = "", choices: Mapping[str, Any] | None = None
) -> list[Decision]:
    """Return how to read each column; what a person chose wins. Raises InputError for infinite numbers and impossible choices."""
    found = [_seen(guess, guess.name == target) for guess in guesses]
    comma, month_first = _votes(found)
    sign = "," if comma is True or (comma is None and delimiter == ";") else "."
    order = month_first or ("dmy" if sign == "," else "mdy")
    return [
        _decided(one, _inferred(one, sign, order), (choices or {}).get(one.guess.name, {}), sure=(comma is not None, month_first != ""), delimiter=delimiter)
        for one in found
    ]  # fmt: skip


def _seen(guess: ColumnGuess, target: bool) -> _Column:
    gone = Counter({word: seen.count for word, seen in guess.words.items() if word.lower() in cells.CONVENTIONAL})
    fits = {form: guess.fits(form) for form in FORMS}
    return _Column(guess, target, fits, gone, guess.values - sum(gone.values()))


def _votes(found: Sequence[_Column]) -> tuple[bool | None, str]:
    """Return whether columns that leave no doubt write decimal commas, and their order of dates; None and empty if they say nothing."""
    commas = points = 0
    orders: Counter[str] = Counter()
    for one in found:
        number, doubt = _notation(one, ".")
        best = one.fits[kinds.NUMERIC, number]
        if best and best >= one.count * (1 - ODD_SHARE) and not doubt:
            if cells.notation(number)[1] == ",":
                commas += 1
            elif one.decimals or cells.notation(number)[0]:
                points += 1
        order, doubt = _order(one, "mdy")
        if order != "ymd" and not doubt and one.fits[kinds.DATETIME, order] >= one.count * (1 - ODD_SHARE):
            orders[order] += 1
    comma = None if bool(commas) == bool(points) else commas > 0
    return comma, next(iter(orders)) if len(orders) == 1 else ""


def _notation(one: _Column, sign: str) -> tuple[str, bool]:
    """Return how the numbers are written, and whether that is in doubt; `sign` is the decimal sign where it is."""
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
    return likely[0], False


def _order(one: _Column, order: str) -> tuple[str, bool]:
    fits = {name: one.fits[kinds.DATETIME, name] for name in contract.DATES}
    if fits["ymd"] == max(fits.values()):
        return "ymd", False
    if fits["dmy"] != fits["mdy"]:
        return ("dmy" if fits["dmy"] > fits["mdy"] else "mdy"), False
    if all("." in word for word in one.guess.words if word not in one.gone):
        return "dmy", False
    return order, True


@dataclass(frozen=True)
class _Found:
    contract: Contract
    whole: bool = False
    doubt: bool = False
    said: str = ""


def _inferred(one: _Column, sign: str, order: str) -> _Found:
    guess = one.guess
    base = Contract(kinds.TEXT, stored=guess.stored, role="identifier" if guess.nameless else "feature")
    if one.count == 0:
        return _Found(
            replace(
                base,
                type=kinds.EMPTY if guess.values == 0 or not guess.stored else kinds.CATEGORICAL,
                missing=tuple(sorted(one.gone)),
            )
        )
    infinite = sum(seen.count for word, seen in guess.words.items() if word.lower() in cells.INFINITE)
    number, doubt = _notation(one, sign)
    best = one.fits[kinds.NUMERIC, number]
    # Of a format with types only columns of mixed cells come here as text with numbers among it.
    if best and not guess.wide and _nearly(one, best + infinite, number=True):
        if infinite:
            words = "1 infinite value" if infinite == 1 else f"{infinite:,} infinite values"
            raise InputError(
                "infinite_value",
                f"Column {guess.name!r} holds {words}. Replace what is infinite by empty cells or real numbers.",
            )
        odd = _odd(one, (kinds.NUMERIC, number))
        whole = guess.plain == guess.whole and best == guess.whole
        made = replace(base, type=kinds.NUMERIC, number=number, missing=tuple(sorted({*one.gone, *odd})))
        return _Found(made, whole=whole, doubt=doubt, said=_tolerated(one, best, odd, "numbers"))
    day, unclear = _order(one, order)
    best = one.fits[kinds.DATETIME, day]
    if best and _nearly(one, best, number=False):
        odd = _odd(one, (kinds.DATETIME, day))
        made = replace(base, type=kinds.DATETIME, date=day, missing=tuple(sorted({*one.gone, *odd})))
        return _Found(made, doubt=unclear, said=_tolerated(one, best, odd, "dates"))
    spelling = None if guess.stored or (one.target and one.gone) else _yes_no(one)
    if spelling is not None:
        return _Found(replace(base, type=kinds.BOOLEAN, spelling=spelling, missing=tuple(sorted(one.gone))))
    missing = () if guess.stored else tuple(sorted(word for word in one.gone if _means_nothing(one, word)))
    return _Found(replace(base, type=_text_kind(one, missing), missing=missing), said=_almost(one, number))


def _nearly(one: _Column, fitting: int, *, number: bool) -> bool:
    """Whether so nearly all cells fit that the others are slips or words for missing, and not values of their own."""
    odd = one.count - fitting
    if odd <= 0:
        return True
    if fitting < ENOUGH or one.guess.unkept or odd > ODD_SHARE * one.count:
        return False
    form = (kinds.NUMERIC, _notation(one, ".")[0]) if number else (kinds.DATETIME, _order(one, "mdy")[0])
    words = _odd(one, form)
    digits = sum(one.guess.words[word].count for word in words if any(map(str.isdigit, word)))
    few = number and one.guess.tally is not None and len(one.guess.tally) - len(words) - len(one.gone) <= FEW_NUMBERS
    return len(words) <= FEW_ODD and digits <= max(1, ODD_DIGITS_SHARE * one.count) and not few


def _odd(one: _Column, form: Form) -> list[str]:
    from models_app.datasets.guess import has

    return [word for word in one.guess.words if word not in one.gone and not has(form, word)]


def _tolerated(one: _Column, fitting: int, odd: Sequence[str], what: str) -> str:
    words = [*sorted(odd, key=lambda word: -one.guess.words[word].count), *one.gone]
    if not words:
        return ""
    return f"{fitting:,} of {one.guess.values:,} values are {what}; {_places(one, words)} taken as missing."


def _places(one: _Column, words: Sequence[str]) -> str:
    told = []
    for word in words[:NAMED]:
        seen = one.guess.words[word]
        rows = ", ".join(f"{row:,}" for row in seen.rows)
        more = f" and {seen.count - len(seen.rows):,} more" if seen.count > len(seen.rows) else ""
        told.append(f"{word[:40]!r} in row{'s' if seen.count > 1 else ''} {rows}{more}")
    more = f" and {len(words) - NAMED:,} other words" if len(words) > NAMED else ""
    return f"{', '.join(told)}{more} {'is' if len(words) == 1 and one.guess.words[words[0]].count == 1 else 'are'}"


def _almost(one: _Column, number: str) -> str:
    """Say of a column of words that most of it would be numbers or dates, so that the person may choose."""
    for what, form in (("numbers", (kinds.NUMERIC, number)), ("dates", (kinds.DATETIME, _order(one, "mdy")[0]))):
        best = one.fits[form]
        if best and best >= one.count / 2 and not one.guess.wide:
            odd = sorted(_odd(one, form), key=lambda word: -one.guess.words[word].count)
            rest = f"; {_places(one, odd)} not" if odd else ""
            return f"{best:,} of {one.guess.values:,} values are {what}{rest}. Read as words; choose otherwise if that is wrong."
    return ""


def _yes_no(one: _Column) -> tuple[str, str] | None:
    """Return how false and true are spelled, None for a column that is not yes/no in one spelling."""
    words = [word for word in one.guess.tally or () if word not in one.gone]
    if (
        not words
        or len(words) > 2
        or any(word.lower() not in (cells.TRUE | cells.FALSE) - {"0", "1"} for word in words)
    ):
        return None
    said = {cells.truth(word): word for word in words}
    if len(said) != len(words):
        return None
    return said.get(False, "false"), said.get(True, "true")


def _means_nothing(one: _Column, word: str) -> bool:
    """Whether a word among words stands for no value: not where the others look like it, and never a class of the target."""
    if word in MACHINE or (word in WRITTEN and not one.target):
        return True
    if one.target or one.guess.tally is None:
        return word in ("NA", "?") and not one.target
    others = [other for other in one.guess.tally if other not in one.gone]
    if word in ("NA", "na", "n.a.", "k.A.", "k.a."):
        return any(len(other) > 3 for other in others) and not all(other.isupper() for other in others)
    if not any(map(str.isalnum, word)):
        return all(any(map(str.isalnum, other)) for other in others)
    return False


def _text_kind(one: _Column, missing: Sequence[str]) -> str:
    tally = one.guess.tally
    values = one.guess.values - sum(one.gone[word] for word in missing)
    return text_kind(kinds.MAX_CATEGORIES + 1 if tally is None else len(tally) - len(missing), values)


def text_kind(distinct: int, values: int) -> str:
    """Return whether text with so many different values is categories or free text."""
    few = distinct <= kinds.MAX_CATEGORIES and (distinct <= 20 or distinct * 2 <= values)
    return kinds.CATEGORICAL if few else kinds.TEXT


def _decided(
    one: _Column, found: _Found, choice: Mapping[str, Any], *, sure: tuple[bool, bool], delimiter: str
) -> Decision:
    guess = one.guess
    held = found.contract.chosen(choice)
    can_be = {
        kinds.NUMERIC: max(one.fits[kinds.NUMERIC, number] for number in contract.NUMBERS),
        kinds.DATETIME: max(one.fits[kinds.DATETIME, order] for order in contract.DATES),
        kinds.BOOLEAN: sum(count for word, count in (guess.tally or {}).items() if word.strip(cells.BLANKS).lower() in cells.TRUE | cells.FALSE),
        kinds.CATEGORICAL: guess.values,
        kinds.TEXT: guess.values,
    }  # fmt: skip
    whole = found.whole
    if choice:
        held = _settled(one, held, choice)
        if held.type in can_be and not can_be[held.type] and guess.values:
            raise InputError(
                "column_unfit", f"No value of column {guess.name!r} can be read as {held.type}. Choose another type."
            )
        whole = (
            held.type == kinds.NUMERIC
            and guess.plain == guess.whole
            and guess.whole == one.fits[kinds.NUMERIC, held.number]
            and not guess.wide
        )
    inside = set(held.missing)
    if held.type in (kinds.NUMERIC, kinds.DATETIME, kinds.BOOLEAN):
        inside |= set(one.gone)
    missing = {word: guess.words[word].count for word in sorted(inside) if word in guess.words}
    if guess.tally is not None:
        missing |= {word: guess.tally[word] for word in inside if word in guess.tally}
    if not guess.stored and guess.rows > guess.values:
        missing = {"": guess.rows - guess.values, **missing}
    form = {kinds.NUMERIC: (kinds.NUMERIC, held.number), kinds.DATETIME: (kinds.DATETIME, held.date)}.get(held.type)
    odd = sorted(_odd(one, form), key=lambda word: -guess.words[word].count) if form else []
    return Decision(
        name=guess.name, inferred=found.contract, contract=held, whole=whole, values=guess.values, can_be=can_be,
        evidence=found.said or _unsure(one, held), ambiguous="" if choice else _doubt(one, found, sure, delimiter),
        odd=[{"value": word[:200], "count": guess.words[word].count, "rows": guess.words[word].rows} for word in odd[:20]],
        missing=missing, few=guess.tally is not None,
    )  # fmt: skip


def _settled(one: _Column, held: Contract, choice: Mapping[str, Any]) -> Contract:
    """Fill in what a choice leaves open: the notation that most cells have, the spelling, the words for missing."""
    if "number" not in choice and held.type == kinds.NUMERIC and one.fits[kinds.NUMERIC, held.number] == 0:
        held = replace(held, number=_notation(one, ".")[0])
    if "date" not in choice and held.type == kinds.DATETIME and one.fits[kinds.DATETIME, held.date] == 0:
        held = replace(held, date=_order(one, "mdy")[0])
    if "type" in choice and "missing" not in choice:
        if held.type in (kinds.CATEGORICAL, kinds.TEXT):
            held = replace(
                held,
                missing=()
                if one.guess.stored
                else tuple(sorted(word for word in one.gone if _means_nothing(one, word))),
            )
        else:
            form = (kinds.NUMERIC, held.number) if held.type == kinds.NUMERIC else (kinds.DATETIME, held.date)
            odd = _odd(one, form) if held.type != kinds.BOOLEAN else []
            held = replace(held, missing=tuple(sorted({*one.gone, *odd}))[: contract.MOST_WORDS])
    return held


def _unsure(one: _Column, held: Contract) -> str:
    kept = [word for word in one.gone if word not in held.missing]
    if held.type in (kinds.CATEGORICAL, kinds.TEXT) and kept and not one.guess.stored:
        return f"{_places(one, kept)} taken as a value, as the others look like it. If it means that nothing is known, choose it as a word for missing."
    if held.type in (kinds.CATEGORICAL, kinds.TEXT) and held.missing and one.gone:
        return f"{_places(one, [word for word in one.gone if word in held.missing])} taken as missing."
    return ""


def _doubt(one: _Column, found: _Found, sure: tuple[bool, bool], delimiter: str) -> str:
    if not found.doubt:
        return ""
    if found.contract.type == kinds.DATETIME:
        if sure[1]:
            return ""
        read = {"dmy": "day first", "mdy": "month first"}[found.contract.date]
        return f"No date tells whether day or month comes first. Read {read}; choose otherwise if that is wrong."
    number = found.contract.number
    if sure[0] or (number == "1234.5" and delimiter != ";"):
        return ""
    words = {"1.234,5": "a point as the sign between thousands", "1234.5": "a point as the decimal sign", "1234,5": "a comma as the decimal sign", "1,234.5": "a comma as the sign between thousands"}  # fmt: skip
    return f"Numbers such as {number[:1]}{'.' if '.' in number[:2] or number == '1234.5' else ','}234 can be read in two ways. Read with {words[number]}; choose otherwise if that is wrong."
