"""A person who loses sight of a restricted project: the dialog shows it, and their credentials for it end."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from models_app.endpoints import endpoint_keys
from models_app.models import EndpointKey
from tenants.access.actor import Actor
from tenants.events import outbox
from tenants.grants import grants, groups, roles
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.identity.authentication import actor_today
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Grant, Project, Tenant, User
from tests.support import factories
from tests.support.endpoints import make_endpoint
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def today(tenant: Tenant, user: User) -> Actor:
    with tenant_scope(tenant.id):
        return actor_today(tenant.id, user.id)


def owner_of(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    return client


@pytest.fixture
def lab() -> tuple[Tenant, User, User, Any]:
    """An endpoint in an open project, with a key of each of two engineers, one of whom has a role in the project too."""
    tenant = factories.make_tenant("lab")
    endpoint = make_endpoint(tenant)
    inside, outside = (factories.make_member(tenant, "engineer", f"{name}@lab.example") for name in ("nora", "otto"))
    owner = factories.actor_for(tenant)
    grants.give(actor=owner, holder=Holder(user_id=inside.id), role="viewer", project_id=endpoint.project_id)
    for person in (inside, outside):
        endpoint_keys.create(actor=today(tenant, person), endpoint_id=endpoint.id, name=f"key of {person.email}")
    return tenant, inside, outside, endpoint


def live(tenant: Tenant) -> set[str]:
    with tenant_scope(tenant.id):
        return set(EndpointKey.objects.filter(revoked_at=None).values_list("name", flat=True))


def restrict(tenant: Tenant, client: Client, as_control: Any) -> None:
    with tenant_scope(tenant.id):
        project = Project.objects.get()
    changed = client.patch(
        f"/api/v1/projects/{project.id}/", {"restricted": True}, "application/json",
        headers={"X-Exchequer-Tenant": "lab"},
    )  # fmt: skip
    assert changed.status_code == 200, changed.content
    with as_control():
        outbox.drain(tenant.id)


def test_restricting_a_project_ends_the_credentials_of_those_who_lose_sight_of_it(
    lab: tuple[Tenant, User, User, Any], as_control: Any
) -> None:
    tenant, inside, outside, _ = lab
    assert live(tenant) == {f"key of {inside.email}", f"key of {outside.email}"}
    restrict(tenant, owner_of(tenant), as_control)
    assert live(tenant) == {f"key of {inside.email}"}
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.project.credentials_ended").count() == 1


def test_the_dialog_shows_what_is_no_longer_seen_and_which_keys_end(
    lab: tuple[Tenant, User, User, Any], as_control: Any
) -> None:
    tenant, inside, _, endpoint = lab
    client = owner_of(tenant)
    restrict(tenant, client, as_control)
    with tenant_scope(tenant.id):
        grant, project = Grant.objects.get(project_id=endpoint.project_id), Project.objects.get()
    asked = text_of(client.get(f"/t/lab/access/?withdraw={grant.id}"))
    assert f"no longer sees what the restricted project {project.name} holds" in asked
    assert f"loses for ever the endpoint key key of {inside.email} of churn" in asked
    assert "keeps all rights" not in asked
    assert client.post(f"/t/lab/access/grants/{grant.id}/withdraw/").status_code == 302
    assert live(tenant) == set()


def test_who_still_sees_by_another_grant_loses_nothing(lab: tuple[Tenant, User, User, Any], as_control: Any) -> None:
    tenant, inside, _, endpoint = lab
    client, owner = owner_of(tenant), factories.actor_for(tenant)
    team = groups.create_group(actor=owner, name="Team")
    groups.add_member(actor=owner, group_id=team.id, user_id=inside.id)
    grants.give(actor=owner, holder=Holder(group_id=team.id), role="viewer", project_id=endpoint.project_id)
    restrict(tenant, client, as_control)
    with tenant_scope(tenant.id):
        grant = Grant.objects.get(project_id=endpoint.project_id, group=None)
    assert "keeps all rights, by other grants" in text_of(client.get(f"/t/lab/access/?withdraw={grant.id}"))
    client.post(f"/t/lab/access/grants/{grant.id}/withdraw/")
    assert live(tenant) == {f"key of {inside.email}"}
    assert "no longer sees what the restricted project" in text_of(client.get(f"/t/lab/access/groups/{team.id}/"))


def test_a_key_that_is_limited_to_the_project_ends_too(lab: tuple[Tenant, User, User, Any], as_control: Any) -> None:
    tenant, _, _, endpoint = lab
    helper, owner = factories.make_member(tenant, "viewer", "helper@lab.example"), factories.actor_for(tenant)

    keys = roles.create_role(actor=owner, name="Keys", permissions=["apikeys.manage", "apikeys.view"])
    grants.give(actor=owner, holder=Holder(user_id=helper.id), role=keys.id)
    inside = grants.give(actor=owner, holder=Holder(user_id=helper.id), role="viewer", project_id=endpoint.project_id)
    client = owner_of(tenant)
    restrict(tenant, client, as_control)
    made = api_keys.create_api_key(
        actor=today(tenant, helper), name="narrow", scopes=["tenant.view", "jobs.view"], project_id=endpoint.project_id
    )
    reads = Client(headers={"Authorization": f"Bearer {made.secret}"})
    assert reads.get("/api/v1/jobs/").status_code == 200
    client.post(f"/t/lab/access/grants/{inside.id}/withdraw/")
    assert reads.get("/api/v1/jobs/").status_code == 401
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get(name="narrow").revoked_at is not None
