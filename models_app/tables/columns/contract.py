"""The contract of a column: how each of its cells is read. Pure: training, batch and online predictions share it.

Contracts are inferred from the file; a person's choice wins. Imports no Django, NumPy or Arrow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from models_app.tables.columns import kinds

NUMBERS = ("1234.5", "1234,5", "1,234.5", "1.234,5", "1 234.5", "1 234,5", "1'234.5", "1'234,5")
"""Notations of numbers, each by an example. Apostrophe and space include their variants (’, no-break space)."""

DATES = ("ymd", "dmy", "mdy")
"""The order of day, month and year. A leading four-digit year is read in every order."""

ROLES = ("feature", "identifier", "target")
TYPES = (kinds.NUMERIC, kinds.BOOLEAN, kinds.DATETIME, kinds.CATEGORICAL, kinds.TEXT)
KEYS = frozenset({"type", "role", "missing", "number", "date"})
MOST_WORDS = 100
LONGEST_WORD = 200


@dataclass(frozen=True)
class Contract:
    """How to read one column.

    `missing`: words for missing values, as written. `number` is one of NUMBERS, `date` one of DATES. `stored`: the
    values come from a typed format, so text is kept exactly, blanks included. `spelling`: how false and true are
    written. `fixed`: a person chose the notation of numbers or dates, so the evidence of later files is ignored.
    """

    type: str
    missing: tuple[str, ...] = ()
    number: str = NUMBERS[0]
    date: str = DATES[0]
    stored: bool = False
    spelling: tuple[str, str] = ("false", "true")
    role: str = ROLES[0]
    fixed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the contract as JSON values."""
        return {**asdict(self), "missing": list(self.missing), "spelling": list(self.spelling)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contract:
        """Parse the output of `to_json`; keys of a later format are ignored."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        for name in ("missing", "spelling"):
            if name in known:
                known[name] = tuple(known[name])
        return cls(**known)

    def chosen(self, choice: Mapping[str, Any]) -> Contract:
        """Return the contract with a person's choices in place of inferred values."""
        known = {name: value for name, value in choice.items() if name in KEYS and value is not None}
        if "missing" in known:
            known["missing"] = tuple(known["missing"])
        return replace(self, **known)


def digest(choices: Mapping[str, Any], writing: Mapping[str, Any]) -> str:
    """Return the sha256 of a person's choices for columns and file; empty without any."""
    if not choices and not writing:
        return ""
    chosen = {"columns": choices, "file": writing} if writing else choices
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def faults(choice: Any, can_be: Mapping[str, int] | None) -> list[str]:
    """Return the faults of the choices for one column; `can_be`: how many of its values fit each type, None if unknown."""
    if not isinstance(choice, Mapping):
        return [f"Send an object with any of {', '.join(sorted(KEYS))}."]
    found = [f"{str(name)[:40]!r} is none of {', '.join(sorted(KEYS))}." for name in choice if name not in KEYS]
    for name, options in (("type", TYPES), ("role", ROLES), ("number", NUMBERS), ("date", DATES)):
        if choice.get(name) is not None and choice[name] not in options:
            found.append(f"{name} is one of {', '.join(options)}.")
    words = choice.get("missing")
    if words is not None and (
        not isinstance(words, list)
        or len(words) > MOST_WORDS
        or not all(isinstance(word, str) and len(word) <= LONGEST_WORD and "\0" not in word for word in words)
    ):
        found.append(f"missing is a list of at most {MOST_WORDS} words of up to {LONGEST_WORD} letters.")
    kind = str(choice.get("type"))
    if not found and can_be is not None and kind in can_be and not can_be[kind]:
        found.append(f"No value of this column can be read as {kind}.")
    return found
