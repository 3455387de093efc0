"""Infer the contract of one column from the evidence of all its cells, with the evidence in words.

A column is numbers or dates if nearly all of its cells are. In a column of numbers, dates or booleans, words for
missing count as missing. Among words they may be words, so only those that look unlike its categories count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells, kinds
from models_app.tables.columns.contract import Contract
from models_app.tables.columns.evidence import Column, almost, notation_of, odd_words, order_of, tolerated

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
class Inferred:
    """The contract that the cells suggest. `whole`: all numbers are whole. `doubt`: the notation is not clear."""

    contract: Contract
    whole: bool = False
    doubt: bool = False
    evidence: str = ""


def inferred(one: Column, sign: str, order: str) -> Inferred:
    """Return what a column is, with this decimal sign and order of dates where its own cells leave both open.

    Raises InputError for infinite numbers.
    """
    guess = one.guess
    base = Contract(
        kinds.TEXT,
        stored=guess.stored,
        role="identifier"
        if guess.nameless and (guess.tally is None or len(guess.tally) == guess.values)
        else "feature",
    )
    if guess.values == 0 or (one.count == 0 and not guess.stored):
        return Inferred(replace(base, type=kinds.EMPTY, missing=tuple(sorted(one.gone))))
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
        return Inferred(made, whole=whole, doubt=doubt, evidence=tolerated(one, best, odd, "numbers"))
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
        return Inferred(made, doubt=unclear, evidence=tolerated(one, best, odd, "dates"))
    spelling = None if guess.stored or (one.target and one.gone) else _yes_no(one)
    if spelling is not None:
        return Inferred(replace(base, type=kinds.BOOLEAN, spelling=spelling, missing=tuple(sorted(one.gone))))
    missing = () if guess.stored else tuple(sorted(word for word in one.gone if means_nothing(one, word)))
    return Inferred(replace(base, type=_text_kind(one, missing), missing=missing), evidence=almost(one, number))


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
    spelling = {cells.to_boolean(word): word for word in words}
    if len(spelling) != len(words):
        return None
    return spelling.get(False, "false"), spelling.get(True, "true")


def means_nothing(one: Column, word: str) -> bool:
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
