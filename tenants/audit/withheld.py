"""Redaction: entries about objects hidden from a reader stay in the log and the chain, without their texts.

Upper apps register at start which of their objects an actor may see; what belongs to a project that the actor may not
name is hidden with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from tenants.access.actor import Actor
from tenants.isolation.pages import Texts, as_texts, read_together
from tenants.models import Approval, Project, Quota
from tenants.parsing import uuid_in
from tenants.projects.sight import unnamed_projects

LABEL = "(not shared with you)"
#: Objects of the whole tenant whose entries may name a project: of a grant, or of a limited key.
MENTION = ("member", "group", "service_account", "apikey")
Objects = Callable[[Actor, set[UUID]], QuerySet[Any] | None]
Words = Callable[[Actor, set[str], str], Iterable[Texts]]
#: By the type of object, with whether these are the hidden ones.
_objects: dict[str, tuple[Objects, bool]] = {}
#: By the type of object, with what the reads are called.
_words: dict[str, tuple[Words, str]] = {}


def register(target_type: str, seen: Objects, words: Words | None = None) -> None:
    """Redact entries about this type of object unless `seen(actor, ids)` has them; None has all.

    For a visible object, an entry's changes are redacted if they name something else that the actor may not see: one of the
    texts in `words(actor, texts, what)`, reads as `what`.
    """
    _objects[target_type] = seen, False
    if words is not None:
        _words[target_type] = words, f"words of {target_type}"


def register_of_project(target_type: str, model: type[Any], path: str = "project_id") -> None:
    """Redact entries about rows of a table whose project, by its path, a reader may not name."""

    def closed(actor: Actor, ids: set[UUID]) -> QuerySet[Any] | None:
        hidden = unnamed_projects(actor)
        found = model.objects.filter(id__in=ids)
        return None if hidden is None else found.filter(**{f"{path}__in": hidden.values("id")})

    _objects[target_type] = closed, True


def register_own() -> None:
    """Register what this app records."""
    register_of_project("project", Project, "id")
    register_of_project("quota", Quota)
    register_of_project("approval", Approval)
    for target_type in MENTION:
        _words[target_type] = _naming, "words of project"


class Redaction:
    """What a reader may not see of some entries. Its `reads` find it out, together with other reads."""

    def __init__(self, actor: Actor | None, rows: Iterable[Mapping[str, Any]]) -> None:
        self.reads: list[Texts] = []
        self._asked: dict[str, set[UUID]] = {}
        if actor is None or actor.kind == "system":
            return
        objects: dict[str, set[UUID]] = {}
        texts: dict[tuple[Words, str], set[str]] = {}
        for row in rows:
            kind = row["target_type"]
            if kind in _objects and (found := uuid_in(row["target_id"])) is not None:
                objects.setdefault(kind, set()).add(found)
            if kind in _words:
                texts.setdefault(_words[kind], set()).update(_texts(row["changes"]))
        for kind, ids in objects.items():
            if (found_rows := _objects[kind][0](actor, ids)) is not None:
                self._asked[kind] = ids
                self.reads.append(as_texts(kind, found_rows, "pk"))
        for (words, what), said in texts.items():
            self.reads += words(actor, said, what)

    def of(self, rows: list[dict[str, Any]], found: Mapping[str, list[tuple[str, str]]]) -> list[dict[str, Any]]:
        """Return the entries with hidden objects removed, by what the reads found.

        Entries about hidden objects lose label, changes and reason; those that mention hidden ones lose the latter two.
        """
        hidden: set[tuple[str, str]] = set()
        for kind, ids in self._asked.items():
            named, asked = {one for one, _ in found.get(kind, ())}, set(map(str, ids))
            hidden |= {(kind, one) for one in (named if _objects[kind][1] else asked - named)}
        words = {
            kind: {word for row in found.get(what, ()) for word in row if word} for kind, (_, what) in _words.items()
        }
        shown = [_without_words(row) if (row["target_type"], row["target_id"]) in hidden else row for row in rows]
        return [
            {**row, "changes": {}, "reason": ""} if _mentions(row, words.get(row["target_type"])) else row
            for row in shown
        ]


def withhold(actor: Actor | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries as `Redaction` does, in one statement."""
    redaction = Redaction(actor, rows)
    return redaction.of(rows, read_together(redaction.reads))


def _naming(actor: Actor, texts: set[str], what: str) -> Iterable[Texts]:
    """Return the reads of the ids, short names and names of projects that an actor may not name."""
    hidden = unnamed_projects(actor)
    if hidden is None or not texts:
        return []
    return [as_texts(what, hidden, "id", "slug"), as_texts(what, hidden, "name")]


def _mentions(row: Mapping[str, Any], words: set[str] | None) -> bool:
    """Return whether an entry's changes name one of these, also at the end of a text: `engineer in NAME`."""
    if not words:
        return False
    texts = _texts(row["changes"])
    return any(text in words or any(text.endswith(f" in {word}") for word in words) for text in texts)


def _texts(value: Any) -> set[str]:
    """Return the texts in an entry's changes."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*(_texts(one) for one in value))
    return {value} if isinstance(value, str) else set()


def _without_words(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "target_label": LABEL, "changes": {}, "reason": ""}
