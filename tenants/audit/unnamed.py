"""Entries about projects that a reader may not name, and about what belongs to them: they stay, without their texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from tenants.access.actor import Actor
from tenants.audit import withheld
from tenants.models import Approval, Project, Quota
from tenants.projects.sight import unnamed_projects

#: Objects of the whole tenant whose entries may name a project: of a grant, or of a limited key.
MENTION = ("member", "group", "service_account", "apikey")


def register(target_type: str, model: type[Any], path: str = "project_id") -> None:
    """Redact entries about rows of a table whose project, by its path, a reader may not name."""

    def seen(actor: Actor, ids: set[UUID]) -> Iterable[UUID]:
        hidden = unnamed_projects(actor)
        if hidden is None:
            return ids
        rows = model.objects.filter(id__in=ids).filter(**{f"{path}__in": hidden.values("id")})
        return ids - set(rows.values_list("id", flat=True))

    withheld.register(target_type, seen)


def register_all() -> None:
    """Register what this app records."""
    register("project", Project, "id")
    register("quota", Quota)
    register("approval", Approval)
    for target_type in MENTION:
        withheld.register(target_type, lambda actor, ids: ids, _naming)


def _naming(actor: Actor, texts: set[str]) -> set[str]:
    """Return which of these texts name a project, by its id, name or short name, that an actor may not."""
    hidden = unnamed_projects(actor)
    rows = [] if hidden is None else hidden.values_list("id", "slug", "name")
    words = {str(word) for row in rows for word in row}
    return {text for text in texts if text in words or text.partition(" in ")[2] in words}
