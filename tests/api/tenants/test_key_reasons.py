"""Why a key may do what it may: on the pages of keys and of service accounts, and by the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.access.actor import Actor
from tenants.access.permissions import PROJECT_PERMISSIONS, ROLE_PERMISSIONS
from tenants.clock import now
from tenants.grants import grants, groups, roles, service_accounts
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Tenant
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("lab")


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, "owner", "olga@example.org"))
    client.get("/t/lab/")
    return client


def access(client: Client, name: str) -> Any:
    """Return why the newest key of this name may do something, by the API."""
    rows = client.get("/api/v1/api-keys/").json()["results"]
    return next(row["access"] for row in rows if row["name"] == name)


def shown(found: Any) -> list[tuple[str, str, str, list[str]]]:
    """Return role, place, reason and what it gives, of each reason."""
    return [(one["role"], one["project"], one["because"], one["permissions"]) for one in found["reasons"]]


def test_a_key_of_a_member_shows_by_which_grants_it_has_its_scopes(tenant: Tenant, owner: Client) -> None:
    actor = factories.actor_for(tenant, "owner")
    nora = factories.actor_for(tenant, "viewer")
    assert nora.id is not None
    team = groups.create_group(actor=actor, name="Research")
    groups.add_member(actor=actor, group_id=team.id, user_id=nora.id)
    makers = roles.create_role(actor=actor, name="Maker", permissions=["apikeys.manage", "apikeys.view", "jobs.launch"])
    grants.give(actor=actor, holder=Holder(group_id=team.id), role=makers.id)
    grants.give(actor=actor, holder=Holder(user_id=nora.id), role="finance", expires_at=now() + timedelta(hours=1))
    browser = Client()
    browser.force_login(factories.User.objects.get(id=nora.id))
    browser.get("/t/lab/")
    body = {"name": "nightly", "scopes": ["jobs.launch", "jobs.view", "budgets.manage"]}
    assert browser.post("/api/v1/api-keys/", body, content_type="application/json").status_code == 201

    found = access(owner, "nightly")
    assert (found["holder"], found["kind"], found["idle_scopes"]) == (nora.label, "person", [])
    assert shown(found) == [
        ("finance", "", f"granted by {actor.label}", ["budgets.manage", "jobs.view", "tenant.view"]),
        ("viewer", "", "granted", ["jobs.view", "tenant.view"]),
        ("Maker", "", f"member of the group Research, granted by {actor.label}", ["jobs.launch", "tenant.view"]),
    ]
    page = text_of(owner.get("/t/lab/api-keys/"))
    assert "Because of 3 grants" in page and ">Research</a>" in page and "Own grant" in page

    with tenant_scope(tenant.id):  # it ends by itself: no operation narrows the key
        Grant.objects.filter(built_in="finance").update(expires_at=now() - timedelta(seconds=1))
    found = access(owner, "nightly")
    assert (found["idle_scopes"], len(found["reasons"])) == (["budgets.manage"], 2)
    assert "Without effect, since no grant that you see gives it: <code>budgets.manage</code>" in text_of(
        owner.get("/t/lab/api-keys/")
    )


def test_the_reasons_add_up_to_what_the_key_may_do(tenant: Tenant, owner: Client) -> None:
    """A service account with a grant in a project, and its keys: one limited to it, one to another project, one to none."""
    actor = factories.actor_for(tenant, "owner")
    here, there = factories.make_project(tenant), factories.make_project(tenant)
    account = service_accounts.create_service_account(actor=actor, name="nightly")
    grants.give(actor=actor, holder=Holder(service_account_id=account.id), role="viewer")
    grants.give(actor=actor, holder=Holder(service_account_id=account.id), role="admin")
    grants.give(actor=actor, holder=Holder(service_account_id=account.id), role="engineer", project_id=here.id)
    limited = sorted(PROJECT_PERMISSIONS & ROLE_PERMISSIONS["admin"])
    for name, scopes, project in (
        ("whole", ["jobs.launch", "audit.view"], None),
        ("here", limited, here.id),
        ("elsewhere", limited, there.id),
    ):
        made = api_keys.create_api_key(
            actor=actor, name=name, scopes=scopes, project_id=project, service_account_id=account.id
        )
        me = Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {made.secret}"}).json()
        may = set(me["scopes"]).union(*me["in_projects"].values())
        found = access(owner, name)
        assert (found["holder"], found["kind"]) == ("nightly", "service account")
        given = set().union(*(one["permissions"] for one in found["reasons"]))
        assert given - {"tenant.view"} == may - {"tenant.view"}, name
        assert {one["project"] for one in found["reasons"]} == ({"", here.name} if name != "elsewhere" else {""})
    account_row = next(iter(owner.get("/api/v1/service-accounts/").json()["results"]))
    assert [one["role"] for one in account_row["reasons"]] == ["admin", "viewer", "engineer"]
    page = text_of(owner.get("/t/lab/access/service-accounts/"))
    assert "Own grant" in page and actor.label.partition("@")[0] in page


def test_keys_that_ended_or_that_the_installation_made_are_shown_as_such(tenant: Tenant, owner: Client) -> None:
    system = Actor.system(tenant.id, "bootstrap")
    secret = api_keys.create_api_key(actor=system, name="first", scopes=["jobs.view"]).secret
    rows = owner.get("/api/v1/api-keys/").json()["results"]
    (row,) = rows
    assert (row["access"]["kind"], row["access"]["reasons"]) == ("installation", [])
    assert "Made by the installation" in text_of(owner.get("/t/lab/api-keys/"))
    api_keys.revoke_api_key(actor=factories.actor_for(tenant, "owner"), key_id=row["id"])
    assert owner.get("/api/v1/api-keys/").json()["results"][0]["access"] is None
    assert Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_who_may_not_see_grants_sees_none_with_the_keys(tenant: Tenant, owner: Client) -> None:
    actor = factories.actor_for(tenant, "owner")
    account = service_accounts.create_service_account(actor=actor, name="nightly")
    grants.give(actor=actor, holder=Holder(service_account_id=account.id), role="viewer")
    seen = api_keys.create_api_key(actor=actor, name="auditor", scopes=["apikeys.view"]).secret
    headers = {"Authorization": f"Bearer {seen}"}
    assert {row["access"] for row in Client().get("/api/v1/api-keys/", headers=headers).json()["results"]} == {None}
    accounts = Client().get("/api/v1/service-accounts/", headers=headers).json()["results"]
    assert [row["reasons"] for row in accounts] == [None]


def test_the_lists_ask_as_often_however_many_keys_and_grants_there_are(tenant: Tenant, owner: Client) -> None:
    actor = factories.actor_for(tenant, "owner")

    def add(number: int) -> None:
        for n in range(number):
            account = service_accounts.create_service_account(actor=actor, name=f"program {number} {n}")
            grants.give(actor=actor, holder=Holder(service_account_id=account.id), role="viewer")
            api_keys.create_api_key(actor=actor, name=f"k{n}", scopes=["jobs.view"], service_account_id=account.id)

    def asked() -> list[int]:
        counts = []
        for path in (
            "/t/lab/api-keys/",
            "/api/v1/api-keys/",
            "/t/lab/access/service-accounts/",
            "/api/v1/service-accounts/",
        ):
            with CaptureQueriesContext(
                connection,
            ) as captured:
                assert owner.get(path).status_code == 200
            counts.append(len(captured))
        return counts

    add(2)
    asked()
    before = asked()
    add(6)
    assert asked() == before
