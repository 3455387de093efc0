"""Queries of the tenants app: all SQL here, frozen dataclasses, keyset pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection, transaction
from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from tenants.access.actor import Actor, InProject
from tenants.access.rights import NO_RIGHTS, Rights
from tenants.audit.differences import NAME
from tenants.errors import NotFound
from tenants.identity import authentication
from tenants.isolation.pages import Texts, as_texts
from tenants.isolation.scoping import current_tenant_id
from tenants.models import ApiKey, Membership, Project, ServiceAccount, Tenant
from tenants.projects.sight import named, open_projects, unnamed
from tenants.rights import held

if TYPE_CHECKING:
    from tenants.grants.key_reasons import KeyReasons


@dataclass(frozen=True)
class TenantRow:
    """An organisation for its member."""

    id: UUID
    slug: str
    name: str


@dataclass(frozen=True)
class MemberRow:
    """A person in this tenant. `role` names the roles in the whole tenant, `rights` is what all grants allow together."""

    user_id: UUID
    email: str
    name: str
    role: str
    since: datetime
    rights: Rights = NO_RIGHTS


@dataclass(frozen=True)
class ProjectRow:
    """A project (cost centre)."""

    id: UUID
    slug: str
    name: str
    restricted: bool
    archived_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class ApiKeyRow:
    """An API key without its secret. `created_by_id` answers for it: of a member's key that member.

    `works`: it is neither revoked nor expired. `holder`, by address or name, has its rights: the member of `user_id`, in
    `groups`, or the service account; empty once that has ended. `access` is why it may do what it may, once asked for
    (`grants/key_reasons`).
    """

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    project_id: UUID | None
    parent_key_id: UUID | None
    service_account_id: UUID | None
    membership_id: UUID | None
    created_by_id: UUID | None
    replaced_by: UUID | None
    project_withheld: bool
    works: bool
    holder: str
    user_id: UUID | None
    groups: list[UUID]
    access: KeyReasons | None = None


PROJECT = tuple(ProjectRow.__dataclass_fields__)


def tenants_of(user_id: UUID, *, bound: UUID | None = None) -> list[TenantRow]:
    """Return the tenants a person belongs to, by name, without those that are closed; needs no open scope.

    For a session that is `bound` to one tenant that is the only one.
    """
    ids = [one for one in authentication.tenant_ids_of(user_id) if bound in (None, one)]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('app.tenants', %s, true)",
                ["{" + ",".join(str(tenant_id) for tenant_id in ids) + "}"],
            )
        return [
            TenantRow(*row)
            for row in Tenant.objects.filter(id__in=ids)
            .exclude(standing="closed")
            .order_by("name")
            .values_list("id", "slug", "name")
        ]


def tenant_by_slug(slug: str) -> Tenant | None:
    """Return a tenant by its short name; only the control role sees tenants outside a scope."""
    return Tenant.objects.filter(slug=slug).first()


def all_tenant_ids(slug: str | None = None) -> list[UUID]:
    """Return every tenant's id, or the one with this short name (control role)."""
    rows = Tenant.objects.order_by("created_at")
    return list((rows.filter(slug=slug) if slug else rows).values_list("id", flat=True))


def members() -> list[MemberRow]:
    """Return the tenant's members by address."""
    names = ("id", held.groups_of(), "user_id", "user__email", "user__name", "created_at")
    rows = list(Membership.objects.order_by("user__email").values_list(*names))
    rights = held.rights_in({member: groups for member, groups, *_ in rows})
    return [
        MemberRow(user_id, email, name, rights[member].role, since, rights[member])
        for member, _, user_id, email, name, since in rows
    ]


def approves_alone() -> bool:
    """Return whether the only member of the open tenant may approve their own requests."""
    return _of_one_person().exists()


def approving_alone() -> Exists:
    """Return `approves_alone` as an expression."""
    return Exists(_of_one_person())


def _of_one_person() -> QuerySet[Tenant]:
    members = Membership.objects.order_by().values("tenant").annotate(number=Count("pk")).values("number")
    return Tenant.objects.alias(members=Subquery(members)).filter(id=current_tenant_id(), self_approval=True, members=1)


def projects() -> list[ProjectRow]:
    """Return the projects that the reader may name, archived ones too, by short name."""
    return [ProjectRow(*row) for row in Project.objects.filter(named("id")).order_by("slug").values_list(*PROJECT)]


def projects_for(actor: Actor, permission: str) -> list[ProjectRow]:
    """Return the projects in which the actor may start something that needs a permission, by short name."""
    rows = open_projects(actor, permission).order_by("slug").values_list(*PROJECT)
    return [project for project in (ProjectRow(*row) for row in rows) if actor.can(permission, InProject(project.id))]


def find_project(text: str) -> ProjectRow | None:
    """Return a project that the reader may name by id or short name, or None."""
    rows = Project.objects.filter(named("id")).values_list(*PROJECT)
    try:
        row = rows.filter(id=UUID(text)).first()
    except ValueError:
        row = rows.filter(slug=text).first()
    return ProjectRow(*row) if row else None


def project(project_id: UUID) -> ProjectRow:
    """Return a project that the reader may name. Raises NotFound."""
    row = Project.objects.filter(named("id"), id=project_id).values_list(*PROJECT).first()
    if row is None:
        raise NotFound
    return ProjectRow(*row)


def api_keys() -> list[ApiKeyRow]:
    """Return the tenant's API keys, newest first, without the projects that the reader may not name."""
    member = Membership.objects.filter(id=OuterRef("membership_id"))
    account = ServiceAccount.objects.filter(id=OuterRef("service_account_id"), disabled_at=None)
    rows = ApiKey.objects.annotate(
        project_withheld=unnamed(),
        works=ExpressionWrapper(held.LIVE & Q(revoked_at=None), BooleanField()),
        holder=Coalesce(Subquery(member.values("user__email")), Subquery(account.values("name")), Value("")),
        user_id=Subquery(member.values("user_id")),
        groups=held.groups_of("membership_id"),
    )
    names = [name for name in ApiKeyRow.__dataclass_fields__ if name != "access"]
    found = rows.order_by("-created_at", "-id").values(*names)
    return [ApiKeyRow(**row | ({"project_id": None} if row["project_withheld"] else {})) for row in found]


def people_and_projects(ids: set[UUID]) -> list[Texts]:
    """Return the reads of the names of those of these ids that are members or projects of the open scope."""
    people, projects = Membership.objects.filter(user_id__in=ids), Project.objects.filter(named("id"), id__in=ids)
    return [as_texts(NAME, people, "user_id", "user__email"), as_texts(NAME, projects, "id", "name")]
