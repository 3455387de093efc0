"""Decide how to read each column of a file: by inference, by the other columns, and by a person's choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells, contract, kinds
from models_app.tables.columns.contract import Contract
from models_app.tables.columns.evidence import Column, doubt_of, notation_of, odd_words, order_of, unsure
from models_app.tables.columns.guess import FORMS, ColumnGuess
from models_app.tables.columns.infer import ODD_SHARE, Inferred, inferred, means_nothing


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
        decided = _decided(one, inferred(one, sign, order), choice, sure=sure, delimiter=delimiter)
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
    return {kind: notation for kind, (notation, doubt) in found.items() if one.fits[kind, notation] and not doubt}


def _decided(
    one: Column, found: Inferred, choice: Mapping[str, Any], *, sure: tuple[bool, bool], delimiter: str
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
        evidence=found.evidence or unsure(one, held), ambiguous="" if choice else doubt_of(found.contract, sure, delimiter) if found.doubt else "",
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
                else tuple(sorted(word for word in one.gone if means_nothing(one, word))),
            )
        else:
            form = (kinds.NUMERIC, held.number) if held.type == kinds.NUMERIC else (kinds.DATETIME, held.date)
            odd = odd_words(one, form) if held.type != kinds.BOOLEAN else []
            held = replace(held, missing=tuple(sorted({*one.gone, *odd}))[: contract.MOST_WORDS])
    return held
