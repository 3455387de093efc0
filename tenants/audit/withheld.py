"""Entries about objects that a reader may not see: they stay in the log and in the chain, without their words.

Upper rooms say when Django starts which of their objects an actor may see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from tenants.actor import Actor
from tenants.parsing import uuid_in

LABEL = "(not shared with you)"
Seen = Callable[[Actor, set[UUID]], Iterable[UUID]]
_seen: dict[str, Seen] = {}


def register(target_type: str, seen: Seen) -> None:
    """Have entries about this type of object withheld unless `seen(actor, ids)` names them; one statement a call."""
    _seen[target_type] = seen


def withhold(actor: Actor | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries, those about hidden objects without label, differences and reason."""
    if actor is None or actor.kind == "system":
        return rows
    named: dict[str, set[UUID]] = {}
    for row in rows:
        if row["target_type"] in _seen and (found := uuid_in(row["target_id"])) is not None:
            named.setdefault(row["target_type"], set()).add(found)
    hidden = {(kind, str(one)) for kind, ids in named.items() for one in ids - set(_seen[kind](actor, ids))}
    return [_without_words(row) if (row["target_type"], row["target_id"]) in hidden else row for row in rows]


def _without_words(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "target_label": LABEL, "changes": {}, "reason": ""}
