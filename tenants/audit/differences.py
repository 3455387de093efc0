"""The changes of an entry, in sentences: `limit changed from 2 to 4`, with names in place of ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from tenants.audit.words import field_words
from tenants.currencies import exact_text
from tenants.isolation.pages import Texts

Namer = Callable[[set[UUID]], Iterable[Texts]]
NAME = "name"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SUBJECT = re.compile(rf"(?:\b[a-z]+:)?(?P<id>{_UUID.pattern})")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)")
_AMOUNT = re.compile(r"-?\d{1,20}(?:\.\d{1,12})?")
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_MOST = 200
_namers: list[Namer] = []


def register(namer: Namer) -> None:
    """Register an app's names for ids of the open scope that the reader may see: reads of id and name, as `NAME`."""
    _namers.append(namer)


def names_of(texts: Iterable[Any]) -> Iterator[Texts]:
    """Yield the reads of names of the ids in these changes and labels, to be read together."""
    wanted = {UUID(found) for text in texts for found in _UUID.findall(str(text))}
    for namer in _namers if wanted else ():
        yield from namer(wanted)


def named(text: str, names: Mapping[str, str]) -> str:
    """Return a text with names in place of ids, and of such as `endpoint:ID`."""
    return _SUBJECT.sub(lambda found: names.get(found["id"], found[0]), text)


def sentences(changes: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each field that changed."""
    return tuple(_sentence(field_words(str(field)), value, names) for field, value in changes.items())


def _sentence(field: str, value: Any, names: Mapping[str, str]) -> str:
    if not isinstance(value, list) or len(value) != 2:
        return f"{field}: {_said(value, names)}"
    old, new = value
    if old == new:
        return f"{field}: {_said(new, names)}"
    if old in _NOTHING:
        return f"{field} set to {_said(new, names)}"
    if new in _NOTHING:
        return f"{field} removed, it was {_said(old, names)}"
    if isinstance(old, list) and isinstance(new, list):
        parts = [("added", [one for one in new if one not in old]), ("removed", [one for one in old if one not in new])]
        return f"{field}: " + ("; ".join(f"{word} {_said(some, names)}" for word, some in parts if some) or "reordered")
    return f"{field} changed from {_said(old, names)} to {_said(new, names)}"


def _said(value: Any, names: Mapping[str, str]) -> str:
    """Return a value as text."""
    if value in _NOTHING:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        if set(value) == {"amount", "currency"}:
            return _amount(str(value["amount"]), str(value["currency"]))
        text = ", ".join(f"{str(name).replace('_', ' ')} {_said(one, names)}" for name, one in value.items())
    elif isinstance(value, list):
        nested = any(isinstance(one, list | dict) for one in value)
        text = ("; " if nested else ", ").join(_said(one, names) for one in value)
    else:
        text = _MOMENT.sub(r"\1 \2 UTC", named(str(value), names))
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def _amount(text: str, currency: str) -> str:
    """Format an amount exactly. Two tags may have these names too: text that is not an amount stays unchanged."""
    return exact_text(Decimal(text), currency) if _AMOUNT.fullmatch(text) else f"{text} {currency}"
