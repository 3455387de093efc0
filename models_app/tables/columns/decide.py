"""Infer a contract for each column from the evidence of all cells, with the evidence in words.

A column is numbers or dates if nearly all of its cells are. In a column of numbers, dates or booleans, words for
missing count as missing. Among words they may be words, so only those that look unlike its categories count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells, contract, kinds
from models_app.tables.columns.contract import Contract
from models_app.tables.columns.evidence import (
    Column,
    almost,
    doubt_of,
    notation_of,
    odd_words,
    order_of,
    tolerated,
    unsure,
)
from models_app.tables.columns.guess import FORMS, ColumnGuess

ENOUGH = 10
ODD_SHARE = 0.1
ODD_DIGITS_SHARE = 0.02
FEW_NUMBERS = 12
FEW_ODD = 10

MACHINE = frozenset({"nan", "NaN", "NAN", "-nan", "-NaN", "#N/A", "#NA", "<NA>", "NaT", "(null)", "\\N"})
"""Words that programs write for missing; no category is called so."""

WRITTEN = frozenset({"NULL", "null", "n/a", "N/A", "#N/V", "#DIV/0!", "#VALUE!", "#REF!"})
"""Words that people write for missing; but a class of a target may be called so."""


@dataclass(frozen=True)
class Decision:
    """How a column is read. `whole`: all its numbers are whole. `can_be`: how many values fit each type.

    `clear`: the notation of its numbers and dates by type, if the file leaves no doubt. `doubt`: its own notation is
    unclear and nobody chose, whether or not a page asks (`ambiguous`). `voted`: types clear by the file's other columns
    alone.
    """

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
    chosen_missing: bool = False
    clear: Mapping[str, str] = field(default_factory=dict)
    doubt: bool = False
    voted: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what the version's `reading` stores of the column."""
        return {
            "name": self.name, "inferred": self.inferred.to_json(), "evidence": self.evidence, "ambiguous": self.ambiguous,
            "values": self.values, "can_be": dict(self.can_be), "odd": list(self.odd), "missing": dict(self.missing),
        }  # fmt: skip


def decide(
    guesses: Sequence[ColumnGuess], *, target: str | None, delimiter: str = "", choices: Mapping[str, Any] | None = None
) -> list[Decision]:
    """Return how to read each column; a choice wins. Raises InputError for infinite numbers, impossible choices."""
    found = [_seen(guess, guess.name == target) for guess in guesses]
    comma, month_first = _votes(found)
    sign = "," if comma is True or (comma is None and delimiter == ";") else "."
    order = month_first or ("dmy" if sign == "," else "mdy")
    sure = (comma is not None, month_first != "")
    made = []
    for one in found:
        choice = (choices or {}).get(one.guess.name, {})
        decided = _decided(one, _inferred(one, sign, order), choice, sure=sure, delimiter=delimiter)
        clear, held = _clear(one, sign, order, sure), decided.contract
        doubt = held.type in (kinds.NUMERIC, kinds.DATETIME) and held.type not in clear and not held.fixed
        voted = tuple(sorted({*clear} - {*_clear(one, sign, order, (False, False))}))
        made.append(replace(decided, clear=clear, doubt=doubt, voted=voted))
    return made


def _seen(guess: ColumnGuess, target: bool) -> Column:
    gone = Counter({word: seen.count for word, seen in guess.words.items() if word.lower() in cells.CONVENTIONAL})
    fits = {form: guess.fits(form) for form in FORMS}
    return Column(guess, target, fits, gone, guess.values - sum(gone.values()))


def _votes(found: Sequence[Column]) -> tuple[bool | None, str]:
    """Return whether unambiguous columns use decimal commas, and their order of dates; None and empty without evidence."""
    commas = points = 0
    orders: Counter[str] = Counter()
    for one in found:
        number, doubt = notation_of(one, ".")
        best = one.fits[kinds.NUMERIC, number]
        if best and best >= one.count * (1 - ODD_SHARE) and not doubt:
            if cells.notation(number)[1] == ",":
                commas += 1
            elif one.decimals or cells.notation(number)[0]:
                points += 1
        order, doubt = order_of(one, "mdy")
        if order != "ymd" and not doubt and one.fits[kinds.DATETIME, order] >= one.count * (1 - ODD_SHARE):
            orders[order] += 1
    comma = None if bool(commas) == bool(points) else commas > 0
    return comma, next(iter(orders)) if len(orders) == 1 else ""


def _clear(one: Column, sign: str, order: str, sure: tuple[bool, bool]) -> dict[str, str]:
    """Return by type the notation that the column itself, or the other columns (`sure`: numbers, dates), make certain."""
    number, numbers_open = notation_of(one, sign)
    date, dates_open = order_of(one, order)
    found = {kinds.NUMERIC: (number, numbers_open and not sure[0]), kinds.DATETIME: (date, dates_open and not sure[1])}
    return {kind: said for kind, (said, doubt) in found.items() if one.fits[kind, said] and not doubt}


@dataclass(frozen=True)
class _Found:
    contract: Contract
    whole: bool = False
    doubt: bool = False
    said: str = ""


def _inferred(one: Column, sign: str, order: str) -> _Found:
    guess = one.guess
    base = Contract(
        kinds.TEXT,
        stored=guess.stored,
        role="identifier"
        if guess.nameless and (guess.tally is None or len(guess.tally) == guess.values)
        else "feature",
    )
    if guess.values == 0 or (one.count == 0 and not guess.stored):
        return _Found(replace(base, type=kinds.EMPTY, missing=tuple(sorted(one.gone))))
    infinite = sum(seen.count for word, seen in guess.words.items() if word.lower() in cells.INFINITE)
    number, doubt = notation_of(one, sign)
    best = one.fits[kinds.NUMERIC, number]
    # From a typed format only columns of mixed cells arrive here as text that includes numbers.
    if best and not (guess.wide or guess.as_text or guess.dates_only) and _nearly(one, best + infinite, number=True):
        if infinite:
            words = "1 infinite value" if infinite == 1 else f"{infinite:,} infinite values"
            raise InputError(
                "infinite_value",
                f"Column {guess.name!r} holds {words}. Use empty cells or finite numbers instead.",
            )
        odd = odd_words(one, (kinds.NUMERIC, number))
        whole = guess.plain == guess.whole and best == guess.whole
        made = replace(base, type=kinds.NUMERIC, number=number, missing=tuple(sorted({*one.gone, *odd})))
        return _Found(made, whole=whole, doubt=doubt, said=tolerated(one, best, odd, "numbers"))
    day, unclear = order_of(one, order)
    best = one.fits[kinds.DATETIME, day]
    if (
        best
        and not guess.as_text
        and ((best == one.guess.values and day == "ymd") or not guess.dates_only)
        and _nearly(one, best, number=False)
    ):
        odd = odd_words(one, (kinds.DATETIME, day))
        made = replace(base, type=kinds.DATETIME, date=day, missing=tuple(sorted({*one.gone, *odd})))
        return _Found(made, doubt=unclear, said=tolerated(one, best, odd, "dates"))
    spelling = None if guess.stored or (one.target and one.gone) else _yes_no(one)
    if spelling is not None:
        return _Found(replace(base, type=kinds.BOOLEAN, spelling=spelling, missing=tuple(sorted(one.gone))))
    missing = () if guess.stored else tuple(sorted(word for word in one.gone if _means_nothing(one, word)))
    return _Found(replace(base, type=_text_kind(one, missing), missing=missing), said=almost(one, number))


def _nearly(one: Column, fitting: int, *, number: bool) -> bool:
    """Return whether so nearly all cells fit that the others are slips or words for missing, not values."""
    odd = one.count - fitting
    if odd <= 0:
        return True
    if fitting < ENOUGH or one.guess.unkept or odd > ODD_SHARE * one.count:
        return False
    form = (kinds.NUMERIC, notation_of(one, ".")[0]) if number else (kinds.DATETIME, order_of(one, "mdy")[0])
    words = odd_words(one, form)
    digits = sum(one.guess.words[word].count for word in words if any(map(str.isdigit, word)))
    few = number and one.guess.tally is not None and len(one.guess.tally) - len(words) - len(one.gone) <= FEW_NUMBERS
    return len(words) <= FEW_ODD and digits <= max(1, ODD_DIGITS_SHARE * one.count) and not few


def _yes_no(one: Column) -> tuple[str, str] | None:
    """Return the spelling of false and true; None unless the column is boolean in one spelling."""
    words = [word for word in one.guess.tally or () if word not in one.gone]
    if (
        not words
        or len(words) > 2
        or any(word.lower() not in (cells.TRUE | cells.FALSE) - {"0", "1"} for word in words)
    ):
        return None
    said = {cells.to_boolean(word): word for word in words}
    if len(said) != len(words):
        return None
    return said.get(False, "false"), said.get(True, "true")


def _means_nothing(one: Column, word: str) -> bool:
    """Return whether a word means missing: not if other words look like it, and never a class of the target."""
    if word in MACHINE or (word in WRITTEN and not one.target):
        return True
    if one.target or one.guess.tally is None:
        return word in ("NA", "?") and not one.target
    others = [other for other in one.guess.tally if other not in one.gone]
    if word in ("NA", "na", "n.a.", "k.A.", "k.a."):
        return any(len(other) > 3 for other in others) and not all(
            other.isupper() and len(other) <= 5 for other in others
        )
    if not any(map(str.isalnum, word)):
        return all(any(map(str.isalnum, other)) for other in others)
    return False


def _text_kind(one: Column, missing: Sequence[str]) -> str:
    tally = one.guess.tally
    values = one.guess.values - sum(one.gone[word] for word in missing)
    return text_kind(kinds.MAX_CATEGORIES + 1 if tally is None else len(tally) - len(missing), values)


def text_kind(distinct: int, values: int) -> str:
    """Return whether text with so many distinct values is categories or free text."""
    few = distinct <= kinds.MAX_CATEGORIES and (distinct <= 20 or distinct * 2 <= values)
    return kinds.CATEGORICAL if few else kinds.TEXT


def _decided(
    one: Column, found: _Found, choice: Mapping[str, Any], *, sure: tuple[bool, bool], delimiter: str
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
        notation = {kinds.NUMERIC: "number", kinds.DATETIME: "date"}.get(held.type, "")
        held = replace(held, fixed=choice.get(notation) is not None)
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
    if guess.rows > guess.values:
        missing = {"": guess.rows - guess.values, **missing}
    form = {kinds.NUMERIC: (kinds.NUMERIC, held.number), kinds.DATETIME: (kinds.DATETIME, held.date)}.get(held.type)
    odd = sorted(odd_words(one, form), key=lambda word: -guess.words[word].count) if form else []
    return Decision(
        name=guess.name, inferred=found.contract, contract=held, whole=whole, values=guess.values, can_be=can_be,
        evidence=found.said or unsure(one, held), ambiguous="" if choice else doubt_of(found.contract, sure, delimiter) if found.doubt else "",
        odd=[{"value": word[:200], "count": guess.words[word].count, "rows": guess.words[word].rows} for word in odd[:20]],
        missing=missing, few=guess.tally is not None, chosen_missing=choice.get("missing") is not None,
    )  # fmt: skip


def _settled(one: Column, held: Contract, choice: Mapping[str, Any]) -> Contract:
    """Complete a choice: the most frequent notation, the spelling, the words for missing."""
    if "number" not in choice and held.type == kinds.NUMERIC and one.fits[kinds.NUMERIC, held.number] == 0:
        held = replace(held, number=notation_of(one, ".")[0])
    if "date" not in choice and held.type == kinds.DATETIME and one.fits[kinds.DATETIME, held.date] == 0:
        held = replace(held, date=order_of(one, "mdy")[0])
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
            odd = odd_words(one, form) if held.type != kinds.BOOLEAN else []
            held = replace(held, missing=tuple(sorted({*one.gone, *odd}))[: contract.MOST_WORDS])
    return held
