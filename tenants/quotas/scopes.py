"""What a limit applies to: the organisation, a project, or a person."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from tenants.access.actor import Actor
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Membership, Project, User
from tenants.parsing import uuid_in
from tenants.projects.sight import named
from tenants.rows import prepared_cursor

TENANT, PROJECT, PERSON = "tenant", "project", "person"
BEHIND = """
SELECT m.user_id FROM tenants_membership m
WHERE m.tenant_id = %(tenant)s AND (m.user_id = %(asker)s
  OR m.id = (SELECT k.membership_id FROM tenants_apikey k WHERE k.tenant_id = %(tenant)s AND k.id = %(asker)s))
ORDER BY m.id LIMIT 1
"""


@dataclass(frozen=True)
class Scope:
    """The organisation (both empty), a project, or a person by the id of their account."""

    project_id: UUID | None = None
    person: UUID | None = None

    @property
    def kind(self) -> str:
        """Return `tenant`, `project` or `person`."""
        return PROJECT if self.project_id else PERSON if self.person else TENANT

    @property
    def id(self) -> UUID | None:
        """Return the id of the project or of the account; None for the organisation."""
        return self.project_id or self.person

    @property
    def text(self) -> str:
        """Return it as a parameter: `tenant`, `project:<id>`, `person:<id>`."""
        return f"{self.kind}:{self.id}" if self.id else TENANT


ORGANISATION = Scope()


def parse(text: str) -> Scope:
    """Return a scope from its text; a project also by its short name, a person by their address.

    Raises Invalid if there is none such in the open scope.
    """
    kind, _, key = text.strip().partition(":")
    if kind in ("", TENANT) and not key:
        return ORGANISATION
    found: UUID | None
    if kind == PROJECT and key:
        projects = Project.objects.filter(named("id"), Q(slug=key) | Q(id=uuid_in(key)))
        if found := projects.values_list("id", flat=True).first():
            return Scope(project_id=found)
    if kind == PERSON and key:
        members = Membership.objects.filter(Q(user__email=key.lower()) | Q(user_id=uuid_in(key)))
        if found := members.values_list("user_id", flat=True).first():
            return Scope(person=found)
    raise Invalid(fields={"scope": ["Use tenant, project:<id or short name>, or person:<id or address> of a member."]})


def names(scopes: Collection[Scope]) -> dict[Scope, str]:
    """Return each scope as a sentence names it: `the organisation`, `project Vision`, `ann@example.org`."""
    projects = {one.project_id for one in scopes if one.project_id}
    people = {one.person for one in scopes if one.person}
    titles = dict(Project.objects.filter(id__in=projects).values_list("id", "name")) if projects else {}
    addresses = dict(User.objects.filter(id__in=people).values_list("id", "email")) if people else {}
    return {one: _name(one, titles, addresses) for one in scopes}


def person_of(actor: Actor) -> UUID | None:
    """Return the member who counts for what an actor uses: themselves, or the one whose key it is; else None."""
    if actor.kind == "user":
        return actor.id
    return person_behind(actor.id) if actor.kind == "api_key" else None


def person_behind(asker: UUID | None) -> UUID | None:
    """Return the member with this id, or the one whose key has it; else None."""
    if asker is None:
        return None
    with prepared_cursor() as cursor:  # each request with reported usage asks
        cursor.execute(BEHIND, {"tenant": current_tenant_id(), "asker": asker})
        row = cursor.fetchone()
    return row[0] if row else None


def _name(scope: Scope, titles: dict[UUID, str], addresses: dict[UUID, str]) -> str:
    if scope.project_id:
        return f"project {titles.get(scope.project_id, scope.project_id)}"
    if scope.person:
        return addresses.get(scope.person, "a former member")
    return "the organisation"
