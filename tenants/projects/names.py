"""Names of projects, which nobody mistakes for another."""

from __future__ import annotations

from uuid import UUID

from tenants.errors import Invalid
from tenants.lookalikes import imitates
from tenants.models import Project


def free_name(name: str, but: UUID | None = None) -> str:
    """Return a name that no project of the open tenant has, other than `but`, nor one that looks like it. Raises Invalid.

    Two who ask at once may both get it: a lock for it would hold up, or deadlock with, operations in long transactions.
    Short names are unique in any case.
    """
    others = Project.objects.all() if but is None else Project.objects.exclude(id=but)
    if imitates(name, others.values_list("name", flat=True)):
        raise Invalid(fields={"name": ["Another project has this name, or one that looks like it."]})
    return name
