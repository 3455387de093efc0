"""Redaction: entries about objects hidden from a reader stay in the log and the chain, without their texts.

Upper apps register at start which of their objects an actor may see; what belongs to a project that the actor may not
name is hidden with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from tenants.access.actor import Actor
from tenants.models import Approval, Project, Quota
from tenants.parsing import uuid_in
from tenants.projects.sight import unnamed_projects

LABEL = "(not shared with you)"
#: Objects of the whole tenant whose entries may name a project: of a grant, or of a limited key.
MENTION = ("member", "group", "service_account", "apikey")
Seen = Callable[[Actor, set[UUID]], Iterable[UUID]]
Hidden = Callable[[Actor, set[str]], Iterable[str]]
_seen: dict[str, Seen] = {}
_hidden: dict[str, Hidden] = {}


def register(target_type: str, seen: Seen, hidden: Hidden | None = None) -> None:
    """Redact entries about this type of object unless `seen(actor, ids)` contains them; one statement per call.

    For a visible object, an entry's changes are redacted if `hidden(actor, texts)` contains one of their texts: they
    mention something else that the actor may not see.
    """
    _seen[target_type] = seen
    if hidden is not None:
        _hidden[target_type] = hidden


def register_of_project(target_type: str, model: type[Any], path: str = "project_id") -> None:
    """Redact entries about rows of a table whose project, by its path, a reader may not name."""

    def seen(actor: Actor, ids: set[UUID]) -> Iterable[UUID]:
        hidden = unnamed_projects(actor)
        if hidden is None:
            return ids
        rows = model.objects.filter(id__in=ids).filter(**{f"{path}__in": hidden.values("id")})
        return ids - set(rows.values_list("id", flat=True))

    register(target_type, seen)


def register_own() -> None:
    """Register what this app records."""
    register_of_project("project", Project, "id")
    register_of_project("quota", Quota)
    register_of_project("approval", Approval)
    for target_type in MENTION:
        register(target_type, lambda actor, ids: ids, _naming)


def withhold(actor: Actor | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries with hidden objects removed.

    Entries about hidden objects lose label, changes and reason; those that mention hidden ones lose the latter two.
    """
    if actor is None or actor.kind == "system":
        return rows
    named: dict[str, set[UUID]] = {}
    for row in rows:
        if row["target_type"] in _seen and (found := uuid_in(row["target_id"])) is not None:
            named.setdefault(row["target_type"], set()).add(found)
    hidden = {(kind, str(one)) for kind, ids in named.items() for one in ids - set(_seen[kind](actor, ids))}
    shown = [_without_words(row) if (row["target_type"], row["target_id"]) in hidden else row for row in rows]
    for kind, find in _hidden.items():
        said = {id(row): _texts(row["changes"]) for row in shown if row["target_type"] == kind}
        names = set(find(actor, set().union(*said.values()))) if said else set()
        shown = [{**row, "changes": {}, "reason": ""} if names & said.get(id(row), set()) else row for row in shown]
    return shown


def _naming(actor: Actor, texts: set[str]) -> set[str]:
    """Return which of these texts name a project, by its id, name or short name, that an actor may not."""
    hidden = unnamed_projects(actor)
    rows = [] if hidden is None else hidden.values_list("id", "slug", "name")
    words = {str(word) for row in rows for word in row}
    return {text for text in texts if text in words or any(text.endswith(f" in {word}") for word in words)}


def _texts(value: Any) -> set[str]:
    """Return the texts in an entry's changes."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*(_texts(one) for one in value))
    return {value} if isinstance(value, str) else set()


def _without_words(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "target_label": LABEL, "changes": {}, "reason": ""}
