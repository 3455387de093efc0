"""Which projects an actor sees into.

A restricted project is open to those with a grant in it, and to those who may see every project. A permission that an
actor has in single projects only, opens those.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Value
from django.db.models.expressions import BaseExpression

from tenants.access.actor import Actor
from tenants.access.reader import reader
from tenants.access.rights import VIEW_ALL
from tenants.errors import NotFound, PermissionDenied
from tenants.isolation.scoping import TenantModel
from tenants.models import Project

#: Those who settle the organisation's money see the sums and the names of all projects, and nothing inside.
SEE_SUMS = "invoices.view"

NO_PROJECT = "There is no such project."
UNSEEN = "You do not see into this project. Ask an owner, an admin, or somebody with a role in it."

M = TypeVar("M", bound=TenantModel)


def hidden_projects(actor: Actor, permission: str) -> QuerySet[Project] | None:
    """Return the projects in which an actor sees nothing that needs a permission; None if it sees into all."""
    if actor.kind == "system":
        return None
    everywhere = sees_everywhere(actor, permission)
    if everywhere and (not actor.restricts or actor.can(VIEW_ALL)):
        return None
    single = actor.can_somewhere(permission) and not everywhere
    own = [project for project, allowed in actor.in_projects.items() if not single or permission in allowed]
    rows = Project.objects.filter(restricted=True) if everywhere else Project.objects.get_queryset()
    return rows.exclude(id__in=own) if own else rows


def sees_everywhere(actor: Actor, permission: str) -> bool:
    """Return whether an actor sees what needs a permission in every project that is not restricted.

    A key that launches jobs reads datasets without the scope to list them: who has the permission in no project came here by
    another one, which was required where it counts.
    """
    return actor.can(permission) or (not actor.can_somewhere(permission) and bool(actor.permissions))


def in_sight(actor: Actor, permission: str, path: str = "project_id") -> Q:
    """Return the condition of rows whose project an actor sees into; it joins the statement that lists them.

    It hides projects: a row without one is in sight.
    """
    hidden = hidden_projects(actor, permission)
    return Q() if hidden is None else ~Q(**{f"{path}__in": hidden.values("id")})


def in_sight_of(actor: Actor, project_id: UUID) -> bool:
    """Return whether an actor sees into a project."""
    return Project.objects.filter(in_sight(actor, "projects.view", "id"), id=project_id).exists()


def check_sight(actor: Actor, project_id: UUID) -> None:
    """Raise unless an actor sees into a project: NotFound for one that it may not even name, else PermissionDenied."""
    if in_sight_of(actor, project_id):
        return
    if Project.objects.filter(named("id", actor), id=project_id).exists():
        raise PermissionDenied(UNSEEN)
    raise NotFound


def closed_to(actor: Actor, project_ids: Iterable[UUID]) -> bool:
    """Return whether one of these projects is restricted and not opened by the actor's rights: nobody opens it to others."""
    if actor.can(VIEW_ALL):
        return False
    beyond = set(project_ids) - set(actor.in_projects)
    return Project.objects.filter(id__in=beyond, restricted=True).exists()


def open_projects(actor: Actor, permission: str) -> QuerySet[Project]:
    """Return the projects in which an actor may start something that needs a permission: seen into, and not archived."""
    rows = Project.objects.filter(in_sight(actor, permission, "id"), archived_at=None)
    return rows


def project_fault(actor: Actor, permission: str, project_id: UUID) -> str:
    """Return why an actor cannot start something in a project; empty if it can. A hidden project is a missing one."""
    if open_projects(actor, permission).filter(id=project_id).exists():
        return ""
    archived = Project.objects.filter(in_sight(actor, permission, "id"), id=project_id, archived_at__isnull=False)
    return "This project is archived. Choose another one, or restore it." if archived.exists() else NO_PROJECT


def unnamed_projects(actor: Actor | None = None) -> QuerySet[Project] | None:
    """Return the projects whose name and sums an actor does not see; None if it sees all. It defaults to the reader."""
    who = actor or reader()
    if who is None or who.can(SEE_SUMS):
        return None
    return hidden_projects(who, "projects.view")


def unnamed_ids(actor: Actor | None = None) -> set[UUID]:
    """Return the ids of `unnamed_projects`."""
    hidden = unnamed_projects(actor)
    return set() if hidden is None else set(hidden.values_list("id", flat=True))


def unnamed(path: str = "project_id") -> BaseExpression:
    """Return, as an expression, whether the reader may not name a row's project."""
    hidden = unnamed_projects()
    return Value(False) if hidden is None else Exists(hidden.filter(id=OuterRef(path)))


def closed_ids(permission: str) -> set[UUID]:
    """Return the ids of the projects in which the reader sees nothing that needs a permission, whatever it may name."""
    who = reader()
    hidden = hidden_projects(who, permission) if who else None
    return set() if hidden is None else set(hidden.values_list("id", flat=True))


def named(path: str = "project_id", actor: Actor | None = None) -> Q:
    """Return the condition of rows of projects that an actor may name, and of rows without a project."""
    hidden = unnamed_projects(actor)
    return Q() if hidden is None else ~Q(**{f"{path}__in": hidden.values("id")})
