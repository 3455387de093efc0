"""Inspect every cell of a text column once and count what it may be; `infer.py` draws the conclusion.

Arrow counts plain numbers. Other distinct words are kept with their counts and first rows; beyond a limit, only their
most frequent forms are counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells, contract, convert, dates, kinds
from models_app.tables.limits import MAX_VALUE_BYTES

WORDS_KEPT = 1_000
WORDS_MORE = 500
LONGEST_FORM = 64
ROWS_NAMED = 5
LIVE_SHARE = 0.5

_THOUSANDS = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
_LONG = r"^[+-]?\d{4,}$"
_DECIMAL = r"[.eE]"
_ALL_DIGITS = r"^[+-]?\d{19,}$"

CONVENTIONAL = pa.array(
    sorted({w for word in cells.CONVENTIONAL for w in (word, word.upper(), word.title())} | {"NaN", "NaT", "-NaN"})
)
"""Common words for missing."""

Form = tuple[str, str]
FORMS: tuple[Form, ...] = (
    *((kinds.NUMERIC, number) for number in contract.NUMBERS),
    *((kinds.DATETIME, order) for order in contract.DATES),
)


@dataclass
class Seen:
    """One word that is not a plain number: its count, and its first rows, counted from 1."""

    count: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass
class ColumnGuess:
    """Evidence from the cells of one column.

    `stored`: text of a typed format; `as_text`: which stays text, `dates_only`: unless all of it is dates. `nameless`:
    its header was empty. `values` counts non-empty cells; `tally` the distinct words while they are few (None beyond).
    """

    name: str
    stored: bool = False
    nameless: bool = False
    as_text: bool = False
    dates_only: bool = False
    rows: int = 0
    values: int = 0
    plain: int = 0
    whole: int = 0
    thousands: int = 0
    long_whole: bool = False
    wide: bool = False
    tally: Counter[str] | None = field(default_factory=Counter)
    words: dict[str, Seen] = field(default_factory=dict)
    live: dict[Form, int] | None = None
    unkept: int = 0

    def see(self, raw: pa.Array) -> None:
        """Count one batch of text. Raises InputError for a value too long to keep."""
        longest = pc.max(pc.binary_length(raw)).as_py()
        if longest is not None and longest > MAX_VALUE_BYTES:
            raise InputError(
                "value_too_long",
                f"A value in column {self.name!r} is longer than {MAX_VALUE_BYTES:,} bytes. Leave out that column, or check for a quotation mark that is never closed.",
            )
        text = convert.trim(raw)
        there = pc.is_valid(text) if self.stored else pc.fill_null(pc.not_equal(text, ""), False)
        first, self.rows = self.rows, self.rows + len(raw)
        known = text.filter(there)
        self.values += len(known)
        self._tally(raw.filter(there) if self.stored else known)
        plain = pc.match_substring_regex(known, convert.PLAIN)
        number = int(pc.sum(plain).as_py() or 0)
        if number:
            self._numbers(known.filter(plain) if number < len(known) else known)
        if number < len(known):
            rest = pc.invert(plain)
            rows = np.flatnonzero(np.asarray(there))[np.flatnonzero(np.asarray(rest))] + first + 1
            self._rest(known.filter(rest), rows)

    def fits(self, form: Form) -> int:
        """Return the number of cells of this form."""
        kind, notation = form
        found = self.live[form] if self.live and form in self.live else 0
        found += sum(seen.count for word, seen in self.words.items() if has(form, word))
        if kind == kinds.NUMERIC:
            group, decimal = cells.notation(notation)
            found += self.plain if decimal == "." else self.whole + (self.thousands if group == "." else 0)
        return found

    def _numbers(self, plain: pa.Array) -> None:
        self.plain += len(plain)
        broken = pc.match_substring_regex(plain, _DECIMAL)
        count = int(pc.sum(broken).as_py() or 0)
        self.whole += len(plain) - count
        if count and self.thousands == self.plain - len(plain) - (self.whole - len(plain) + count):
            # Until now every number with a point could be grouped in thousands.
            self.thousands += int(pc.sum(pc.match_substring_regex(plain, _THOUSANDS)).as_py() or 0)
        if count < len(plain):
            whole = plain if not count else plain.filter(pc.invert(broken))
            if not self.long_whole:
                self.long_whole = bool(pc.any(pc.match_substring_regex(whole, _LONG)).as_py())
            if not self.wide:
                long = whole.filter(pc.match_substring_regex(whole, _ALL_DIGITS)).to_pylist()
                self.wide = any(not -(2**63) <= int(word) < 2**63 for word in long)

    def _tally(self, words: pa.Array) -> None:
        if self.tally is None:
            return
        for one in pc.value_counts(words).to_pylist():
            self.tally[one["values"]] += one["counts"]
        if len(self.tally) > kinds.MAX_CATEGORIES:
            self.tally = None

    def _rest(self, rest: pa.Array, rows: np.ndarray) -> None:
        if self.live is not None:
            if not self.live:
                odd = pc.is_in(rest, CONVENTIONAL)
                self.unkept += len(rest) - int(pc.sum(odd).as_py() or 0)
                self._keep(rest.filter(odd), rows[np.flatnonzero(np.asarray(odd))])
                return
            fitting = pa.array(np.zeros(len(rest), dtype=bool))
            for form in self.live:
                has_form = pc.match_substring_regex(rest, _rough(form))
                self.live[form] += int(pc.sum(has_form).as_py() or 0)
                fitting = pc.or_(fitting, has_form)
            odd = pc.invert(fitting)
            rest, rows = rest.filter(odd), rows[np.flatnonzero(np.asarray(odd))]
        self._keep(rest, rows)

    def _keep(self, rest: pa.Array, rows: np.ndarray) -> None:
        coded = rest.dictionary_encode()
        most = WORDS_KEPT + (WORDS_MORE if self.live is not None else 0)
        indices = np.asarray(coded.indices)
        counts = np.bincount(indices, minlength=len(coded.dictionary))
        order = np.argsort(indices, kind="stable")
        starts = np.cumsum(counts) - counts
        for at, word in enumerate(coded.dictionary.to_pylist()):
            seen = self.words.get(word)
            if seen is None:
                if len(self.words) >= most:
                    if self.live is None:
                        self._turn()
                        most = WORDS_KEPT + WORDS_MORE
                    self.unkept += int(counts[at]) if not self._count_live(word, int(counts[at])) else 0
                    continue
                seen = self.words[word] = Seen()
            seen.count += int(counts[at])
            if len(seen.rows) < ROWS_NAMED:
                first = min(int(counts[at]), ROWS_NAMED - len(seen.rows))
                seen.rows += rows[order[starts[at] : starts[at] + first]].tolist()

    def _count_live(self, word: str, count: int) -> bool:
        found = [form for form in self.live or () if has(form, word)]
        for form in found:
            if self.live is not None:
                self.live[form] += count
        return bool(found)

    def _turn(self) -> None:
        """Switch to counting the most frequent forms, since there are too many words to keep."""
        total = sum(seen.count for word, seen in self.words.items() if word.lower() not in cells.CONVENTIONAL)
        fits = {form: sum(seen.count for word, seen in self.words.items() if has(form, word)) for form in FORMS}
        self.live = {form: 0 for form, count in fits.items() if count and count >= LIVE_SHARE * total}
        if not self.live:  # free text: only its words for missing matter
            lost = {word for word in self.words if word.lower() not in cells.CONVENTIONAL}
            self.unkept += sum(self.words.pop(word).count for word in lost)


def has(form: Form, word: str) -> bool:
    """Return whether a trimmed word has a form."""
    kind, notation = form
    if len(word) > LONGEST_FORM or not any(map(str.isdigit, word)):
        return False
    if kind == kinds.DATETIME:
        return dates.moment(word, notation) is not None
    try:
        cells.number_of(word, notation)
    except cells.Odd:
        return False
    return True


def _rough(form: Form) -> str:
    kind, notation = form
    return dates.rough(notation) if kind == kinds.DATETIME else f"^(?:{cells.dressed(notation)})$"
