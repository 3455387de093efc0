"""Typed factories of test objects, through the real operations where one exists."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from tenants import operations
from tenants.access.actor import Actor
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, Project, Tenant, User
from tenants.rights import held
from tests.support import selling

_count = itertools.count(1)
PASSWORD = "correct horse battery staple"


def make_user(email: str = "", *, password: str = PASSWORD) -> User:
    """Return a person who belongs to no tenant yet."""
    return User.objects.create_user(email or f"person{next(_count)}@example.org", password)


def make_tenant(
    slug: str = "", *, timezone: str = "UTC", currency: str = "EUR", owner: str = "", contract: bool = True
) -> Tenant:
    """Return a tenant with a project `default`, an owner and a contract, created by `create_tenant`.

    The contract is the one that the ops worker opens, without its event and its entry in the log.
    """
    number = next(_count)
    # The web's role makes no tenant.
    with selling.as_control():
        made = operations.create_tenant(
            name=(slug or f"tenant-{number}").title(),
            slug=slug or f"tenant-{number}",
            email=owner or f"owner{number}@example.org",
            password=PASSWORD,
            timezone=timezone,
            currency=currency,
        )
    if contract:
        selling.open_contract(made)
    return made


def make_member(tenant: Tenant, role: str, email: str = "") -> User:
    """Return a new person with a role in a tenant."""
    user = make_user(email)
    with tenant_scope(tenant.id):
        held.give(Membership.objects.create(user=user), role)
    return user


def make_project(tenant: Tenant, slug: str = "") -> Project:
    """Return a new project of a tenant."""
    with tenant_scope(tenant.id):
        return Project.objects.create(slug=slug or f"project-{next(_count)}", name="A project")


def default_project_id(tenant: Tenant) -> UUID:
    """Return the project that every tenant starts with."""
    with tenant_scope(tenant.id):
        return Project.objects.get(slug="default").id


def actor_for(tenant: Tenant, role: str = "owner") -> Actor:
    """Return a person with a role in a tenant, as an actor."""
    user = make_member(tenant, role)
    return Actor.member(tenant_id=tenant.id, user_id=user.id, email=user.email, role=role)


def make_api_key(tenant: Tenant, scopes: list[str] | None = None) -> str:
    """Return the secret of a new API key, with all scopes unless given."""
    actor = actor_for(tenant)
    return api_keys.create_api_key(actor=actor, name="test key", scopes=scopes or sorted(actor.permissions)).secret


@contextmanager
def in_tenant(tenant: Tenant) -> Iterator[Actor]:
    """Open a tenant's scope and yield an owner of it."""
    actor = actor_for(tenant)
    with tenant_scope(tenant.id):
        yield actor
